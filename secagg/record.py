"""What a round cost and showed: bytes, seconds, who was included, and what the server saw."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from secagg.monitoring import Monitoring

_Key = TypeVar("_Key", int, str)
_Count = TypeVar("_Count", int, float)


@dataclass(frozen=True)
class View:
    """One client's update as it was, as it left, and the sum: the same coordinates three times.

    Attributes:
        client: whose update it is.
        true: grid integers, int64.
        sent: the same coordinates as the server received them, below 2^field width, uint64.
        total: the sum of all included clients' integers, int64.
    """

    client: int
    true: NDArray[np.int64]
    sent: NDArray[np.uint64]
    total: NDArray[np.int64]


@dataclass
class RoundRecord:
    """Measurements of one round, by phase and client.

    Attributes:
        uplink_bytes: phase -> client -> bytes that the client sent.
        downlink_bytes: phase -> client -> bytes that it received.
        client_seconds: phase -> client -> seconds of computation.
        server_seconds: phase -> seconds of computation; ``"open"`` is the removal of the last masks and decoding.
        exact: whether the opened integers equal the sum of the included clients' integers.
        saturated: coordinates that included clients' updates had beyond the grid's range.
        field_bits: bits of one coordinate's sum.
        threshold: least number of clients that had to stay.
        view: one client's update three times, if it was asked for.
        attempts: how often the round was begun; bytes and seconds are those of all attempts.
        monitoring: what the round's sums tell about its quantization, if it monitors.
        model_bytes: client -> bytes of the model that it was sent before the round.
    """

    field_bits: int
    threshold: int
    uplink_bytes: dict[str, dict[int, int]] = field(default_factory=dict)
    downlink_bytes: dict[str, dict[int, int]] = field(default_factory=dict)
    client_seconds: dict[str, dict[int, float]] = field(default_factory=dict)
    server_seconds: dict[str, float] = field(default_factory=dict)
    exact: bool = False
    saturated: int = 0
    view: View | None = None
    attempts: int = 1
    monitoring: Monitoring | None = None
    model_bytes: dict[int, int] = field(default_factory=dict)

    def uplink_total(self, client: int) -> int:
        """Return every byte that ``client`` sent in the round."""
        return sum(by_client.get(client, 0) for by_client in self.uplink_bytes.values())

    def downlink_total(self, client: int) -> int:
        """Return every byte that ``client`` received in the round, the model included."""
        messages = sum(by_client.get(client, 0) for by_client in self.downlink_bytes.values())
        return messages + self.model_bytes.get(client, 0)

    def add(self, other: RoundRecord) -> None:
        """Add the bytes and seconds of another round of the same clients, or of others, to this one's."""
        for mine, theirs in ((self.uplink_bytes, other.uplink_bytes), (self.downlink_bytes, other.downlink_bytes)):
            for phase, counted in theirs.items():
                _add(mine.setdefault(phase, {}), counted)
        for phase, spent in other.client_seconds.items():
            _add(self.client_seconds.setdefault(phase, {}), spent)
        _add(self.server_seconds, other.server_seconds)
        self.exact = self.exact and other.exact
        self.saturated += other.saturated
        self.attempts = max(self.attempts, other.attempts)

    def median_client_seconds(self) -> dict[str, float]:
        """Return the median over clients, by phase."""
        return {phase: statistics.median(times.values()) for phase, times in self.client_seconds.items() if times}


def _add(mine: dict[_Key, _Count], more: Mapping[_Key, _Count]) -> None:
    for key, count in more.items():
        mine[key] = mine.get(key, 0) + count
