"""The ``secagg bench`` command."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from secagg import theme
from secagg.bench import (
    consortium,
    distortion_tables,
    encode,
    engines,
    epsilon,
    masking,
    mechanism,
    memory,
    noise,
    peers,
    quantization,
    scaling,
    shamir,
)
from secagg.bench.all_command import FOLDER, all_command
from secagg.bench.measure import Effort, Row, commit, machine
from secagg.bench.whole import Bench
from secagg.errors import UsageError

BENCHES: dict[str, Bench] = {
    "masking": masking.bench,
    "quant": quantization.bench,
    "encode": encode.bench,
    "shamir": shamir.bench,
    "scaling": scaling.bench,
    "memory": memory.bench,
    "peers": peers.bench,
    "noise": noise.bench,
    "mechanism": mechanism.bench,
    "epsilon": epsilon.bench,
    "consortium": consortium.bench,
}
ALL = "all"

ALONE: dict[str, Bench] = {"engines": engines.bench}
"""Not a part of ``all``: it takes half an hour, and engines that are seldom all installed."""

TABLES: dict[str, Callable[[Console, list[Row]], None]] = {"quant": distortion_tables.show}
"""How the rows of a bench are printed, where one row per line would not be read."""


def bench_command(
    name: Annotated[str, typer.Argument(help=f"What to measure: {', '.join(BENCHES | ALONE)}, or {ALL}.")],
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes: the shape, not the figures.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help=f"Folder for the figures and pictures; with {ALL}, for report.html too.  Default: {FOLDER}."),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help=f"With {ALL}: an earlier bench.json, or reference for the one that is built in.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Measure on this machine, as ratios to its own limits and to peers where they are installed.

    Example: secagg bench all --out report --compare reference
    """
    if name == ALL:
        all_command(BENCHES, quick=quick, json=json, out=out, against=compare)
        return
    measure = (BENCHES | ALONE).get(name)
    if measure is None:
        raise UsageError(f"unknown bench {name!r}; known are {', '.join(BENCHES | ALONE)}, {ALL}")
    if compare is not None:
        raise UsageError(f"--compare goes with secagg bench {ALL}; with {name}, --json prints the figures")
    with theme.progress(shown=not json and sys.stderr.isatty()) as progress:
        task = progress.add_task(name, total=None)
        rows = measure(Effort(quick, lambda what: progress.update(task, description=what, advance=1)))
    report = {"bench": name, "machine": machine(), "commit": commit(), "rows": rows}
    if out is not None:
        _keep(out, report)
    if json:
        sys.stdout.write(jsonlib.dumps(report) + "\n")
    else:
        _show(name, rows)


def _keep(folder: Path, report: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = report["bench"]
    (folder / f"{name}.json").write_text(jsonlib.dumps(report, indent=1) + "\n")
    if name == "peers":
        from secagg.bench.peers import figure

        (folder / f"{name}.png").write_bytes(figure.draw(report["rows"]))


def _show(name: str, rows: list[Row]) -> None:
    console = theme.output()
    (TABLES.get(name) or partial(_show_rows, name))(console, rows)
    console.print("next: --json keeps the figures with the machine and the commit that gave them")


def _show_rows(name: str, console: Console, rows: list[Row]) -> None:
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if any(row.get(key) for row in rows)]
    table = theme.table(f"secagg bench {name}", *columns)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console.print(theme.fitted(table, console))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
