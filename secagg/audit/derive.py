"""Every hash, statement, graph and mask of a round, computed again from public values and primitives.

This is a second implementation of what ``protocols.pairwise`` computes, on purpose: a mistake there that both sides of
a round share would otherwise be the auditor's mistake too. Formulas are those of ``protocols/README.md``.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocols.pairwise.params import CHUNK_ELEMENTS, RoundParams, VectorSpec
from protocols.primitives import key_agreement, prg, residues
from protocols.suites import CLASSICAL, Context, Suite
from secagg.transcript import records as r


def params_hash(params: RoundParams) -> bytes:
    """Hash the map from name to value of all parameters, vectors as [name, length, modulus in decimals]."""
    described = {name: getattr(params, name) for name in params.__struct_fields__}
    described["vectors"] = [[spec.name, spec.length, str(spec.modulus)] for spec in params.vectors]
    return params.cipher_suite.hash("round-params", msgspec.msgpack.encode(described))


def roster_hash(members: tuple[tuple[int, str], ...]) -> bytes:
    """Hash a roster of (client, hex of its key)."""
    return CLASSICAL.hash("roster", tuple((client, bytes.fromhex(key)) for client, key in members))


def session(cipher: Suite, params: bytes, entries: tuple[r.Keys, ...]) -> bytes:
    """Hash parameters and the complete ordered key list."""
    listed: tuple[Context, ...] = tuple(
        (e.client, *(bytes.fromhex(part) for part in (e.enc_key, e.mask_key, e.commitment, e.signature)))
        for e in entries
    )
    return cipher.hash("session", params, listed)


def keys_statement(params: bytes, entry: r.Keys) -> tuple[Context, ...]:
    """What a client signs with its keys (usage ``advertise-keys``)."""
    return (params, entry.client, *(bytes.fromhex(x) for x in (entry.enc_key, entry.mask_key, entry.commitment)))


def commitment(cipher: Suite, params: bytes, client: int, part: bytes) -> bytes:
    """Hash a client's part of the joint seed."""
    return cipher.hash("joint-commitment", params, client, part)


def joint_seed(cipher: Suite, session_id: bytes, parts: tuple[tuple[int, str], ...]) -> bytes:
    """Hash all parts, ascending by client."""
    return cipher.hash("joint-seed", session_id, tuple((client, bytes.fromhex(part)) for client, part in parts))


def ring(cipher: Suite, seed: bytes, clients: tuple[int, ...]) -> list[int]:
    """Order the clients by 128-bit little-endian keys, drawn from the seed in ascending order of ids."""
    raw = np.empty(16 * len(clients), dtype=np.uint8)
    prg.AesCtrStream(cipher.hash("graph", seed)).fill(raw)
    keys = [int.from_bytes(raw[16 * i : 16 * i + 16].tobytes(), "little") for i in range(len(clients))]
    return [client for _, client in sorted(zip(keys, clients, strict=True))]


def neighbours(order: list[int], degree: int) -> dict[int, tuple[int, ...]]:
    """Give everybody the k/2 nearest on both sides of the ring, ascending."""
    size, reach = len(order), degree // 2
    steps = [step for step in range(-reach, reach + 1) if step]
    return {
        client: tuple(sorted({order[(place + step) % size] for step in steps})) for place, client in enumerate(order)
    }


def fewest_in_a_run(order: list[int], degree: int, present: set[int]) -> int:
    """Return the least number of ``present`` clients among any k/2 in a row on the ring."""
    here = [client in present for client in order]
    reach = degree // 2
    return min(sum(here[(start + step) % len(here)] for step in range(reach)) for start in range(len(here)))


def self_mask_hash(cipher: Suite, session_id: bytes, client: int, seed: bytes) -> bytes:
    """Hash a self-mask seed as its owner published it."""
    return cipher.hash("self-mask-seed", session_id, client, seed)


def noise_commitment(cipher: Suite, session_id: bytes, client: int, first: int, last: int, link: bytes) -> bytes:
    """Walk a client's chain of noise links from number ``first`` to its end, which it published."""
    for number in range(first, last + 1):
        link = cipher.derive(link, "noise-link", session_id, client, number)
    return link


def chunk_plan(params: RoundParams) -> list[tuple[int, int, int]]:
    """Return (vector, first element, element after the last) of every chunk of a complete input, in order."""
    return [
        (vector, start, min(start + CHUNK_ELEMENTS, spec.length))
        for vector, spec in enumerate(params.vectors)
        for start in range(0, spec.length, CHUNK_ELEMENTS)
    ]


def pairwise_seed(cipher: Suite, session_id: bytes, secret: bytes, public: bytes, pair: tuple[int, int]) -> bytes:
    """Derive the seed of two clients (ascending) from one's secret and the other's public mask key."""
    agreed = key_agreement.PrivateKey(secret).agree(public)
    return cipher.derive(agreed, "pairwise-seed", session_id, pair)


def mask(
    cipher: Suite, usage: str, seed: bytes, bound: tuple[bytes, bytes], spec: VectorSpec, clients: tuple[int, ...]
) -> NDArray[np.uint64]:
    """Expand a seed into the mask of one vector: the little-endian 64-bit words of AES-256-CTR, or residues.

    Args:
        cipher: the round's suite.
        usage: ``"self-mask"`` or ``"pairwise-mask"``.
        seed: 32 bytes.
        bound: session id and model hash.
        spec: the vector.
        clients: whose mask it is, ascending.

    Returns:
        ``uint64`` of shape (length,).
    """
    described = (spec.name, spec.length, str(spec.modulus))
    key = cipher.derive(seed, usage, *bound, described, clients)
    if residues.is_power_of_two(spec.modulus):
        raw = np.empty(8 * spec.length, dtype=np.uint8)
        prg.AesCtrStream(key).fill(raw)
        return raw.view("<u8").astype(np.uint64, copy=False)
    blocks = range(-(-spec.length // residues.BLOCK))
    pieces = [
        residues.uniform_block(key, b, min(residues.BLOCK, spec.length - b * residues.BLOCK), spec.modulus)
        for b in blocks
    ]
    return np.concatenate(pieces)
