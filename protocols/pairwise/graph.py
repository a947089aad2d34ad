"""Who shares keys and masks with whom."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache

import msgspec
import numpy as np

from protocols.primitives.prg import AesCtrStream


class CompleteGraph:
    """Everybody with everybody (Bonawitz et al. 2017)."""

    def __init__(self, clients: Iterable[int]) -> None:
        self._clients = tuple(clients)

    def neighbours(self, client: int) -> tuple[int, ...]:
        """Return all other clients."""
        return tuple(other for other in self._clients if other != client)

    def holders(self, client: int) -> tuple[int, ...]:
        """Return who holds shares of ``client``: everybody, ascending."""
        del client
        return self._clients


class HararyGraph:
    """A ring in random order where everybody knows its k/2 nearest on both sides (Bell et al. 2020, section 3).

    The order sorts the clients by 128-bit keys, little-endian and drawn from the seed in ascending order of their ids
    (AES-256-CTR, so the seed is the stream key): two equal keys, the only thing that could make one
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
        self._holders: dict[int, tuple[int, ...]] = {}

    def neighbours(self, client: int) -> tuple[int, ...]:
        """Return the k clients next to ``client`` on the ring, ascending."""
        place, size = self._place[client], len(self._ring)
        steps = range(1, self._reach + 1)
        return tuple(sorted({self._ring[(place + sign * step) % size] for step in steps for sign in (-1, 1)}))

    def holders(self, client: int) -> tuple[int, ...]:
        """Return who holds shares of ``client``: its neighbours and itself, ascending."""
        if client not in self._holders:
            self._holders[client] = tuple(sorted((*self.neighbours(client), client)))
        return self._holders[client]

    def fewest_in_a_run(self, present: Collection[int]) -> int:
        """Return the least number of ``present`` clients among any k/2 clients in a row on the ring.

        If it exceeds the corrupt ones that any such run can hold, every run holds an honest present client; then
        neighbouring honest ones on the ring are at most k/2 apart, hence neighbours: the honest present are connected.
        """
        here = np.isin(np.array(self._ring), np.fromiter(present, dtype=np.int64))
        runs = np.cumsum(np.concatenate([[0], here, here[: self._reach]]))
        return int((runs[self._reach :] - runs[: -self._reach]).min())


class GraphSpec(msgspec.Struct, frozen=True):
    """The graph of a round as a value: its members (U1, ascending), the degree, and the seed that orders the ring.

    ``degree`` 0, or one that leaves nobody out, is the complete graph; its seed is empty.
    """

    clients: tuple[int, ...]
    degree: int
    seed: bytes

    @property
    def sparse(self) -> bool:
        """Whether somebody is not everybody's neighbour."""
        return 0 < self.degree < len(self.clients) - 1

    def build(self) -> CompleteGraph | HararyGraph:
        """Return the graph itself (the same object for equal values)."""
        return _build(self)


@lru_cache(maxsize=8)
def _build(spec: GraphSpec) -> CompleteGraph | HararyGraph:
    if spec.sparse:
        return HararyGraph(spec.clients, spec.degree, spec.seed)
    return CompleteGraph(spec.clients)
