"""Where masked inputs are added up.

The protocol decides which bytes belong to the sum; an accumulator holds them. Chunks of a client are kept apart until
its input is complete, so a client that vanishes half-way leaves no trace in the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.pairwise.params import VectorSpec
from protocols.primitives import bitpack, prg, residues


class Accumulator(Protocol):
    """Keeps the chunks of incomplete inputs and the running totals of complete ones."""

    def store(self, client: int, vector: int, offset: int, payload: bytes) -> None:
        """Keep one checked chunk of ``client``."""
        ...

    def commit(self, client: int) -> None:
        """Add the complete input of ``client`` to the totals."""
        ...

    def totals(self) -> list[NDArray[np.uint64]]:
        """Return the sums of the committed inputs, one array per vector, modulo 2^64 for a power of two."""
        ...


def add_chunk(total: NDArray[np.uint64], spec: VectorSpec, offset: int, payload: bytes) -> None:
    """Add one packed chunk of a vector to its total, in place."""
    for start, values in bitpack.unpack_slices(payload, spec.chunk_end(offset) - offset, spec.bits):
        first = offset + start
        residues.add(total[first : first + values.size], values, spec.modulus)


class MemoryAccumulator:
    """Totals in memory; a client's chunks are added and forgotten as soon as its input is complete."""

    def __init__(self, vectors: Sequence[VectorSpec]) -> None:
        self._vectors = tuple(vectors)
        self._totals = [prg.aligned_words(spec.length) for spec in self._vectors]
        self._pending: dict[int, list[tuple[int, int, bytes]]] = {}

    def store(self, client: int, vector: int, offset: int, payload: bytes) -> None:
        """Keep one checked chunk of ``client``."""
        self._pending.setdefault(client, []).append((vector, offset, payload))

    def commit(self, client: int) -> None:
        """Add the complete input of ``client`` to the totals."""
        for vector, offset, payload in self._pending.pop(client):
            add_chunk(self._totals[vector], self._vectors[vector], offset, payload)

    def totals(self) -> list[NDArray[np.uint64]]:
        """Return the totals themselves, not copies: unmasking works on them in place."""
        return self._totals
