"""One look for everything that a terminal shows: colours that colour-blind people tell apart (Okabe and Ito)."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
GREY = "#666666"

PIPE_WIDTH = 120
"""Columns of output that goes into a pipe or a file, where no terminal says how wide it is."""


def output() -> Console:
    """Return the console for results (standard output)."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def notes() -> Console:
    """Return the console for progress and errors (standard error), so that results can be piped."""
    return Console(stderr=True, highlight=False)


def progress(*, shown: bool) -> Progress:
    """Return a progress bar on standard error that disappears when it is done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(complete_style=BLUE, finished_style=GREEN),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=notes(),
        transient=True,
        disable=not shown,
    )


def table(title: str, *columns: str) -> Table:
    """Return an empty table whose columns after the first are right-aligned."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return made


def human_bytes(count: float) -> str:
    """Write a number of bytes for people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def human_seconds(seconds: float) -> str:
    """Write a duration for people."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
