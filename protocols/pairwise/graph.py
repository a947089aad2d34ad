"""Who shares keys and masks with whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


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
