"""Self masks and pairwise masks: what they are derived from, and how they are added over any range of a vector.

y_u = x_u + PRG(b_u) + sum_{v > u} PRG(s_uv) - sum_{v < u} PRG(s_uv)   (Bonawitz et al. 2017, figure 4, round 2)

The stream of a mask is AES-256-CTR under a key bound to the session, the model, the vector and the two clients, so
clients that train different models, or see different directories, hold masks that do not cancel. Streams are seekable:
any range [start, stop) is computed without the rest, which lets callers cut a vector across threads or machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.pairwise.params import VectorSpec
from protocols.primitives import prg, residues
from protocols.secret import Secret
from protocols.suites import Suite

_CHUNK_WORDS = prg.CHUNK_BYTES // 8
_BATCH = 512
"""Cipher contexts kept open at a time (about 1 KiB each)."""


@dataclass(frozen=True)
class MaskTerm:
    """One mask of a sum, and its sign.

    Attributes:
        seed: the self-mask seed or the pairwise seed.
        usage: ``"self-mask"`` or ``"pairwise-mask"``.
        clients: the client of a self mask, or the two of a pairwise mask, ascending.
        negative: subtract instead of add.
    """

    seed: Secret
    usage: str
    clients: tuple[int, ...]
    negative: bool

    def negated(self) -> MaskTerm:
        """Return the term that cancels this one."""
        return MaskTerm(self.seed, self.usage, self.clients, not self.negative)


@dataclass(frozen=True)
class MaskContext:
    """What every mask of one round is bound to (all public)."""

    cipher: Suite
    session: bytes
    model_hash: bytes

    def key(self, term: MaskTerm, spec: VectorSpec) -> bytes:
        """Derive the 32-byte stream key of ``term`` for one vector.

        The context is (session, model hash, (name, length, modulus in decimals), clients). Modulo a power of two,
        element i of the mask is the little-endian 64-bit word i of the stream; otherwise see
        ``residues.uniform_block``.
        """
        return self.cipher.derive(
            term.seed.reveal(), term.usage, self.session, self.model_hash, spec.encode(), tuple(term.clients)
        )


def self_mask(client: int, seed: Secret) -> MaskTerm:
    """Return PRG(b_u), the mask that comes off with the shares of survivors."""
    return MaskTerm(seed, "self-mask", (client,), negative=False)


def pairwise_mask(client: int, other: int, seed: Secret) -> MaskTerm:
    """Return the mask that ``client`` shares with ``other``: added by the lower id, subtracted by the higher."""
    return MaskTerm(seed, "pairwise-mask", (min(client, other), max(client, other)), negative=client > other)


def pairwise_seed(cipher: Suite, session: bytes, agreed: bytes, client: int, other: int) -> Secret:
    """Derive the seed of a pair from its agreed secret; both ends and a reconstructing server get the same."""
    return Secret(cipher.derive(agreed, "pairwise-seed", session, (min(client, other), max(client, other))))


def add_masks(
    values: NDArray[np.uint64], spec: VectorSpec, start: int, terms: Sequence[MaskTerm], context: MaskContext
) -> None:
    """Add the masks of ``terms`` to ``values`` in place, modulo 2^64 or the vector's own odd modulus.

    Args:
        values: elements [start, start + len(values)) of the vector; contiguous.
        spec: the vector.
        start: a multiple of ``residues.BLOCK``.
        terms: masks with their signs.
        context: what the masks are bound to.

    Work is cut so that a chunk of ``values``, of key stream and of the cipher's input share a second-level cache.
    """
    add_streams(values, spec, start, streams_of(terms, spec, context))


Stream = tuple[bytes, bool]
"""The 32-byte key of one mask over one vector (see ``MaskContext.key``), and whether the mask is subtracted."""


def streams_of(terms: Sequence[MaskTerm], spec: VectorSpec, context: MaskContext) -> tuple[Stream, ...]:
    """Derive the streams of masks over one vector."""
    return tuple((context.key(term, spec), term.negative) for term in terms)


def add_streams(values: NDArray[np.uint64], spec: VectorSpec, start: int, streams: Sequence[Stream]) -> None:
    """Add masks by the keys of their streams; see ``add_masks``."""
    if not residues.is_power_of_two(spec.modulus):
        _add_residues(values, spec, start, streams)
        return
    buffer = prg.ChunkBuffer()
    raw = buffer.raw
    for first in range(0, len(streams), _BATCH):
        draws = [
            (prg.encryptor(key, 8 * start).update_into, np.subtract if negative else np.add)
            for key, negative in streams[first : first + _BATCH]
        ]
        for low in range(0, len(values), _CHUNK_WORDS):
            chunk = values[low : low + _CHUNK_WORDS]
            zeros, mask = buffer.stretch(len(chunk))
            for draw, combine in draws:
                draw(zeros, raw)
                combine(chunk, mask, chunk)


def _add_residues(values: NDArray[np.uint64], spec: VectorSpec, start: int, streams: Sequence[Stream]) -> None:
    """Add masks below a modulus that is no power of two, block by block."""
    for key, negative in streams:
        combine = residues.subtract if negative else residues.add
        for low in range(0, len(values), residues.BLOCK):
            chunk = values[low : low + residues.BLOCK]
            mask = residues.uniform_block(key, (start + low) // residues.BLOCK, len(chunk), spec.modulus)
            combine(chunk, mask, spec.modulus)


@dataclass(frozen=True, repr=False)
class UnmaskTask:
    """One stretch of one vector, and the masks to take off it, for a worker in another process or on another machine.

    It holds keys in clear, so that it can be pickled: no seed and no share, but what is derived from a seed for this
    session, model and vector alone, all of which the server is about to take off. Hand it to nobody whom the server
    would not trust with the masked inputs themselves, and over no link that others read.

    Attributes:
        spec: the vector.
        start: the stretch's first element, a multiple of ``residues.BLOCK``.
        values: the masked sums of the stretch, uint64.
        streams: the masks.
    """

    spec: VectorSpec
    start: int
    values: NDArray[np.uint64]
    streams: tuple[Stream, ...]

    def __repr__(self) -> str:
        """Show no key."""
        return f"UnmaskTask({self.spec.name!r}, {self.start}, {len(self.values)} elements, {len(self.streams)} masks)"


def run_unmask_task(task: UnmaskTask) -> NDArray[np.uint64]:
    """Return the stretch without its masks, reduced modulo the vector's modulus; ``task`` stays as it is."""
    values = task.values.copy()  # a worker may have got a view of shared memory
    add_streams(values, task.spec, task.start, task.streams)
    residues.reduce(values, task.spec.modulus)
    return values
