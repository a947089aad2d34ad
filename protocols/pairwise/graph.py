"""Who shares keys and masks with whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from protocols.primitives.prg import AesCtrStream


class NeighbourGraph(Protocol):
    """An undirected graph without loops over client ids."""

    def neighbours(self, client: int) -> tuple[int, ...]:
        """Return the neighbours of ``client``, ascending, without ``client`` itself."""
        ...


class CompleteGraph:
    """Everybody with everybody (Bonawitz et al. 2017)."""

    def __init__(self, clients: Iterable[int]) -> None:
        self._clients = tuple(clients)

    def neighbours(self, client: int) -> tuple[int, ...]:
        """Return all other clients."""
        return tuple(other for other in self._clients if other != client)


class HararyGraph:
    """A ring in random order where everybody knows its k/2 nearest on both sides (Bell et al. 2020, section 3).

    The order sorts the clients by 128-bit keys drawn from the seed: two equal keys, the only thing that could make one
    order likelier than another, have a probability below n^2 / 2^129. Looking up neighbours takes O(k) steps.

    Args:
        clients: ids, ascending.
        degree: k, even, at least 2 and below the number of clients.
        seed: 32 bytes that nobody could choose.
    """

    def __init__(self, clients: Iterable[int], degree: int, seed: bytes) -> None:
        ids = np.fromiter(clients, dtype=np.int64)
        if degree % 2 or not 2 <= degree < ids.size:
            raise ValueError(f"a Harary graph on {ids.size} clients has an even degree from 2 to {ids.size - 1}")
        raw = np.empty(16 * ids.size, dtype=np.uint8)
        AesCtrStream(seed).fill(raw)
        keys = raw.view("<u8").reshape(-1, 2)
        self._ring: list[int] = ids[np.lexsort((keys[:, 0], keys[:, 1]))].tolist()
        self._place = {client: place for place, client in enumerate(self._ring)}
        self._reach = degree // 2

    def neighbours(self, client: int) -> tuple[int, ...]:
        """Return the k clients next to ``client`` on the ring, ascending."""
        place, size = self._place[client], len(self._ring)
        steps = range(1, self._reach + 1)
        return tuple(sorted({self._ring[(place + sign * step) % size] for step in steps for sign in (-1, 1)}))
