"""What ``secagg simulate`` shows on a terminal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from secagg import theme
from secagg.record import RoundRecord, View
from secagg.simulate.run import Simulated

SHOWN = 12


def show(done: Simulated, console: Console) -> None:
    """Print the round as a table: who was there, bytes and seconds by phase, and whether the sum is exact."""
    simulation, record = done.simulation, done.record
    who = f"{len(done.opened.included)} of {simulation.clients} clients in the sum"
    console.print(
        f"{simulation.protocol}, {simulation.adversary} server: {who}, threshold {record.threshold}, "
        f"{simulation.dim:,} coordinates of {simulation.bits} bits in fields of {record.field_bits}"
    )
    rows = theme.table("", "phase", "clients", "sent by one", "received", "its time", "server time")
    medians = record.median_client_seconds()
    for phase in simulation.phases:
        sent, received = record.uplink_bytes.get(phase, {}), record.downlink_bytes.get(phase, {})
        rows.add_row(
            phase,
            str(len(sent)),
            theme.human_bytes(max(sent.values(), default=0)),
            theme.human_bytes(max(received.values(), default=0)),
            theme.human_seconds(medians.get(phase, 0.0)),
            theme.human_seconds(record.server_seconds.get(phase, 0.0)),
        )
    rows.add_row("open the sum", "", "", "", "", theme.human_seconds(record.server_seconds["open"]))
    console.print(rows)
    _show_bytes(done, record, console)
    if record.monitoring is not None:
        console.print(f"monitoring: {record.monitoring.line()}")
        for warning in record.monitoring.warnings():
            console.print(f"warning: {warning}", style="bold")
    if record.view is not None:
        show_view(record.view, record.field_bits, console)
    verdict = "equals" if record.exact else "DIFFERS FROM"
    console.print(f"the opened sum {verdict} the sum of the included clients' integers")


def show_shards(figures: dict[str, Any], console: Console) -> None:
    """Print the figures of a sharded simulation."""
    refused = f", {figures['refused']} of them without a sum" if figures["refused"] else ""
    console.print(
        f"{figures['protocol']}: {figures['survivors']} of {figures['clients']} clients in the sums of "
        f"{figures['shards']} shards{refused}; the smallest sum has {figures['smallest_sum']} clients"
    )
    console.print(
        f"{theme.human_seconds(figures['seconds'])} in all, {theme.human_seconds(figures['seconds_per_shard'])} the "
        f"slowest shard, {theme.human_seconds(figures['client_seconds'])} a client; a client sends "
        f"{theme.human_bytes(figures['uplink_bytes_per_client'])}; peak memory of a worker "
        f"{theme.human_bytes(figures['peak_rss_bytes'])}"
    )
    verdict = "equal" if figures["exact"] else "DIFFER FROM"
    console.print(f"the opened sums {verdict} the sums of the included clients' integers")


def _show_bytes(done: Simulated, record: RoundRecord, console: Console) -> None:
    client = done.opened.included[0]
    sent, plain = record.uplink_total(client), 4 * done.simulation.dim
    console.print(
        f"everything a client sends: {theme.human_bytes(sent)}, {sent / plain:.2f} of its float32 update; "
        f"peak memory {theme.human_bytes(done.peak_rss_bytes)}"
    )


def show_view(view: View, field_bits: int, console: Console) -> None:
    """Print one client's integers as they were, as they left it, and the sum, side by side."""
    rows = theme.table(f"client {view.client}", "coordinate", "true integer", "what left it", "the sum")
    for i in range(min(SHOWN, view.true.size)):
        rows.add_row(str(i), str(view.true[i]), str(view.sent[i]), str(view.total[i]))
    console.print(rows)
    top = (1 << field_bits) - 1
    levels = max(int(view.true.max()), 1)
    totals = max(int(view.total.max()), 1)
    console.print(f"true integers   0 {histogram(view.true, levels)} {levels}")
    console.print(f"what left it    0 {histogram(view.sent, top)} {top}")
    console.print(f"the sum         0 {histogram(view.total, totals)} {totals}")


def histogram(values: NDArray[np.int64] | NDArray[np.uint64], top: int, bins: int = 40) -> str:
    """Draw the distribution of integers from 0 to ``top`` as one line of block characters."""
    counts, _ = np.histogram(values.astype(np.float64), bins=bins, range=(0, top))
    blocks = " ▁▂▃▄▅▆▇█"
    return "".join(blocks[round(8 * count / max(counts.max(), 1))] for count in counts)
