"""The rows of ``secagg bench quant`` as people read them: bits against schemes, and schemes against data."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from secagg import theme
from secagg.bench.measure import Row


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print one table of bits per data, then one of all schemes."""
    planned = [row for row in rows if row["scheme"].startswith("planned")]
    for data in dict.fromkeys(row["data"] for row in planned):
        _show_bits(console, data, [row for row in rows if row["data"] == data])
    _show_schemes(console, [row for row in rows if "encode_seconds" in row])


def _show_bits(console: Console, data: str, rows: Sequence[Row]) -> None:
    clients, dim = rows[0]["clients"], rows[0]["dim"]
    by_bits = {(row["scheme"], row["wire_bits"]): row for row in rows if "encode_seconds" not in row}
    table = theme.table(
        f"NMSE of the mean, rotated {data} updates, n = {clients}, d = {dim}; EDEN cannot be summed",
        *(
            "bits",
            "dither",
            "predicted",
            "overflows",
            "stochastic",
            "EDEN",
            "planner takes",
            "its error",
            "over best fixed",
        ),
    )
    for bits in sorted({bits for _, bits in by_bits}):
        ours = by_bits.get(("planned rotation + dither", bits))
        rough = by_bits.get(("planned rotation + stochastic", bits))
        chosen = next((row for row in rows if row["wire_bits"] == bits and "over_best_fixed" in row), None)
        table.add_row(
            str(bits),
            *(_figure(ours, "nmse"), _figure(ours, "predicted"), "" if ours is None else str(ours["overflows"])),
            *(_figure(rough, "nmse"), _figure(by_bits.get(("EDEN (not summable)", bits)), "nmse")),
            "" if chosen is None else chosen["scheme"].removeprefix("planned "),
            *(_figure(chosen, "nmse"), "" if chosen is None else f"{chosen['over_best_fixed']:+.1%}"),
        )
    console.print(table)


def _show_schemes(console: Console, rows: Sequence[Row]) -> None:
    data = list(dict.fromkeys(row["data"] for row in rows))
    table = theme.table(
        "every scheme at 8 wire bits: NMSE by data, bytes that one client sends, time to encode 1e6 float32",
        *("scheme", *data, "wire bits", "overflows", "bytes", "encode"),
    )
    for scheme in dict.fromkeys(row["scheme"] for row in rows):
        found = {row["data"]: row for row in rows if row["scheme"] == scheme}
        first = next(iter(found.values()))
        table.add_row(
            scheme,
            *(_figure(found.get(name), "nmse") for name in data),
            str(first["wire_bits"]),
            str(sum(row["overflows"] for row in found.values())),
            f"{first['packed_bytes']:,}",
            theme.human_seconds(first["encode_seconds"]),
        )
    console.print(table)
    labels = ", ".join(sorted({label for row in rows for label in row["shared_state"]}))
    cost = next(row for row in rows if row["shared_state"])
    seconds = theme.human_seconds(max(cost["extra_seconds"], 0.0))
    console.print(
        f"{labels} draw on a joint seed, which costs each client {cost['extra_phases']} more phases, "
        f"{cost['extra_uplink_bytes']} bytes up, {cost['extra_downlink_bytes']} down and {seconds}"
    )


def _figure(row: Row | None, key: str) -> str:
    return "" if row is None else f"{row[key]:.3g}"
