"""What every system of the table gets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secagg.bench.measure import Row


class Inputs:
    """What every system gets: one update per client, and who vanishes after it shared its keys.

    Args:
        clients: number of clients.
        dim: coordinates.
        dropped: clients that vanish before they send their update.
    """

    def __init__(self, clients: int, dim: int, dropped: int) -> None:
        self.clients, self.dim, self.dropped = clients, dim, dropped
        self.gone = set(range(1, dropped + 1))

    def update(self, client: int) -> NDArray[np.float32]:
        """Return the update of one client, float32 in [-1, 1], the same at every call."""
        return np.random.default_rng([self.dim, client]).uniform(-1, 1, self.dim).astype(np.float32)

    def missing(self, system: str, note: str = "") -> Row:
        """Return the row of a system before its figures are known, or of one that could not be run and why."""
        figures = dict.fromkeys(("client_seconds", "server_seconds", "uplink_bytes", "exact"))
        row: Row = {"system": system, "clients": self.clients, "dim": self.dim, "dropped": self.dropped, **figures}
        return {**row, **({"note": note} if note else {})}

    def mean(self, present: list[int]) -> NDArray[np.float64]:
        """Return the plain mean over ``present``."""
        total = np.zeros(self.dim)
        for client in present:
            total += self.update(client)
        return total / len(present)
