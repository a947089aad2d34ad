"""Our own round, for the table of peers."""

from __future__ import annotations

import statistics
import time

import quant
from secagg.bench.measure import Effort, Row
from secagg.bench.peers.inputs import Inputs
from secagg.config import RoundConfig
from secagg.contribution import Contribution
from secagg.inprocess import InProcessRound
from secagg.session import ClientSession


def round_of(inputs: Inputs, effort: Effort, bits: int, *, workers: int) -> list[Row]:
    """Run one round over the complete graph, against a curious server."""
    system = f"secagg, {bits} bits" + (f", {workers} server threads" if workers > 1 else "")
    effort.tick(f"{system}: {inputs.clients} clients, dim {inputs.dim:,}")
    config = RoundConfig(
        clients=tuple(range(1, inputs.clients + 1)),
        layout=quant.Layout.of(inputs.update(1)),
        quantization={"bits": bits, "range": 1.0},
        study="bench peers",
    )
    gone = dict.fromkeys(inputs.gone, "masked-input")
    running = InProcessRound(config, bytes(32), dropouts=gone, workers=workers)
    encoding: dict[int, float] = {}

    def contribute(client: int, session: ClientSession) -> Contribution:
        update = inputs.update(client)
        started = time.perf_counter()
        contribution = session.prepare(update)
        encoding[client] = time.perf_counter() - started
        return contribution

    opened = running.run(contribute)
    record = running.record
    spent = [
        encoding[client] + sum(times.get(client, 0.0) for times in record.client_seconds.values())
        for client in opened.included
    ]
    return [
        {
            "system": system,
            "clients": inputs.clients,
            "dim": inputs.dim,
            "dropped": inputs.dropped,
            "client_seconds": statistics.median(spent),
            "server_seconds": sum(record.server_seconds.values()),
            "uplink_bytes": max(record.uplink_total(client) for client in opened.included),
            "exact": record.exact,
            "max_error": float(abs(opened.mean - inputs.mean(list(opened.included))).max()),
        }
    ]
