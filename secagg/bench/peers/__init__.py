"""Ours against what other stacks ship: the same inputs, the same machine, one run; peers that are missing are said so.

Timed is computation only, no transport: what one client computes in a round from keys to the last answer, putting its
update on the grid included (median over clients), and what the server computes, taking the masks off included.
"""

from __future__ import annotations

from secagg.bench.measure import Effort, Row
from secagg.bench.peers import elsewhere, ours
from secagg.bench.peers.inputs import Inputs


def bench(effort: Effort) -> list[Row]:
    """Rows with ``system, clients, dim, dropped, client_seconds, server_seconds, uplink_bytes, exact``.

    ``exact`` means that the sum of what clients put on their grids came out without any error; ``max_error`` is that of
    the mean, rounding included. ``times_...`` are the row's figures over those of the first row of the same size, ours.
    """
    clients, dim, dropped = (20, 20_000, 2) if effort.quick else (100, 1_000_000, 10)
    if effort.brief and not effort.quick:
        clients, dropped = 50, 5  # reconstruction in a peer takes minutes at a hundred
    inputs = Inputs(clients, dim, dropped)
    few = Inputs(5, dim, 0)
    rows: list[Row] = []
    for bits in (8, 22):
        rows += ours.round_of(inputs, effort, bits, workers=1)
    rows += ours.round_of(inputs, effort, 8, workers=2)
    rows += elsewhere.round_of("FLOWER", inputs, effort)
    for bits in (8, 22):
        rows += ours.round_of(few, effort, bits, workers=1)
    rows += elsewhere.round_of("TENSEAL", few, effort)
    rows += elsewhere.round_of("FEDBIOMED", few, effort)
    return [_with_ratios(row, rows) for row in rows]


def _with_ratios(row: Row, rows: list[Row]) -> Row:
    """Add how many times more than our 8-bit round of the same size a peer takes."""
    first = next(other for other in rows if (other["clients"], other["dim"]) == (row["clients"], row["dim"]))
    ratios = {}
    for key in ("client_seconds", "server_seconds", "uplink_bytes"):
        ratios[f"times_{key}"] = row[key] / first[key] if row.get(key) and first.get(key) else None
    return {**row, **ratios}
