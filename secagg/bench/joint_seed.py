"""What shared randomness costs: the same round with and without a joint seed, every byte and phase counted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

import quant
from secagg.config import RoundConfig
from secagg.inprocess import InProcessRound
from secagg.record import RoundRecord


@dataclass(frozen=True)
class SeedCost:
    """What one client pays in a round for public streams that nobody chose.

    Attributes:
        phases: more phases.
        uplink_bytes: more bytes sent.
        downlink_bytes: more bytes received.
        seconds: more seconds of computation, all clients and the server together, over the number of clients.
    """

    phases: int
    uplink_bytes: int
    downlink_bytes: int
    seconds: float


def measure(clients: int, repeats: int) -> SeedCost:
    """Run small rounds on the complete graph, in turn with a joint seed and without."""
    plain = RoundConfig(
        clients=tuple(range(1, clients + 1)), layout=quant.Layout.of(np.zeros(64)), quantization={"bits": 8}
    )
    seeded = replace(plain, joint_randomness=True)
    pairs = [(_record(seeded), _record(plain)) for _ in range(repeats)]
    one, other = pairs[0]
    return SeedCost(
        len(one.client_seconds) - len(other.client_seconds),
        one.uplink_total(1) - other.uplink_total(1),
        one.downlink_total(1) - other.downlink_total(1),
        float(np.median([_seconds(first) - _seconds(second) for first, second in pairs])) / clients,
    )


def _record(config: RoundConfig) -> RoundRecord:
    attempt = InProcessRound(config, bytes(32))
    attempt.run(lambda _, session: session.prepare(np.zeros(64)))
    return attempt.record


def _seconds(record: RoundRecord) -> float:
    return sum(sum(phase.values()) for phase in record.client_seconds.values()) + sum(record.server_seconds.values())
