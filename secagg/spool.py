"""What a server holds of a round, on disk: sums of vectors of any length, and the shares of any number of clients.

Chunks of an incomplete input are appended to a file per client; when the input is complete they are added to totals
that are memory-mapped, and the file is erased. The kernel writes mapped pages back as it needs memory. Sealed shares
are appended to a file per dealer.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.pairwise import VectorSpec
from protocols.pairwise.accumulate import add_chunk
from protocols.primitives import bitpack

_HEADER_BYTES = 16


class SpoolAccumulator:
    """Keeps incomplete inputs in files and totals in memory-mapped files, all below ``directory``.

    Implements ``protocols.pairwise.Accumulator``.

    Args:
        directory: an existing, empty folder on a disk with room for the totals (8 bytes an element) and for the
            packed inputs of the clients that are sending at the same time. The caller removes it after the round.
        vectors: the vectors of the round.
    """

    def __init__(self, directory: Path, vectors: Sequence[VectorSpec]) -> None:
        self._directory = directory
        self._vectors = tuple(vectors)
        self._totals: list[NDArray[np.uint64]] = [
            np.memmap(directory / f"total-{number}", dtype=np.uint64, mode="w+", shape=(spec.length,))
            for number, spec in enumerate(self._vectors)
        ]

    def store(self, client: int, vector: int, offset: int, payload: bytes) -> None:
        """Append one checked chunk to the client's file."""
        with self._input(client).open("ab") as file:
            file.write(vector.to_bytes(8, "little") + offset.to_bytes(8, "little"))
            file.write(payload)

    def commit(self, client: int) -> None:
        """Add the complete input of ``client`` to the totals, chunk by chunk, and erase its file."""
        path = self._input(client)
        with path.open("rb") as file:
            while header := file.read(_HEADER_BYTES):
                vector, offset = (int.from_bytes(part, "little") for part in (header[:8], header[8:]))
                spec = self._vectors[vector]
                length = spec.chunk_end(offset) - offset
                payload = file.read(bitpack.packed_size(length, spec.bits))
                add_chunk(self._totals[vector], spec, offset, payload)
        path.unlink()

    def totals(self) -> list[NDArray[np.uint64]]:
        """Return the mapped totals themselves: unmasking works on them in place."""
        return self._totals

    def _input(self, client: int) -> Path:
        return self._directory / f"input-{client}"


class SpoolRelay:
    """Keeps sealed shares in one file per dealer, below ``directory``, until they were passed on.

    Implements ``protocols.pairwise.Relay``. In memory stays one offset per share.

    Args:
        directory: an existing folder; it may be the accumulator's.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._offsets: dict[int, array[int]] = {}

    def store(self, dealer: int, entries: Sequence[bytes]) -> None:
        """Write a dealer's entries, one behind the other."""
        offsets = array("I", [0])
        with self._shares(dealer).open("wb") as file:
            for entry in entries:
                file.write(entry)
                offsets.append(file.tell())
        self._offsets[dealer] = offsets

    def entry(self, dealer: int, place: int) -> bytes:
        """Read one entry back."""
        start, stop = self._offsets[dealer][place : place + 2]
        with self._shares(dealer).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def close(self) -> None:
        """Erase the files."""
        for dealer in self._offsets:
            self._shares(dealer).unlink()
        self._offsets.clear()

    def _shares(self, dealer: int) -> Path:
        return self._directory / f"shares-{dealer}"
