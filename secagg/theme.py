"""One look for terminal, reports, page and notebooks: colours that colour-blind people tell apart (Okabe and Ito).

Lines of a plot differ in style as well as in colour, so that they survive a grey printer.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
SKY = "#56B4E9"
GREY = "#666666"
PALE = "#dddddd"

STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
"""Line styles that go with ``COLOURS``, in this order."""

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, GREY, SKY)

PLOTS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be selected, searched and read aloud
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": f"cycler(color={list(COLOURS)}, linestyle={list(STYLES)})",
    "grid.color": PALE,
    "image.cmap": "cividis",
    "legend.frameon": False,
    "lines.linewidth": 2,
    "lines.markersize": 5,
    "figure.figsize": (7.4, 3.4),
    "figure.constrained_layout.use": True,
}
"""Settings of matplotlib for every plot: ``plt.rcParams.update(theme.PLOTS)`` in a notebook."""

PAGE_STYLE = """\
  body { font: 16px/1.5 Helvetica, Arial, "Liberation Sans", sans-serif; color: #222; background: #fff;
         max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
  h2 { font-size: 1.2rem; margin: 2.2rem 0 .3rem; }
  p { margin: .3rem 0 .8rem; }
  .quiet { color: #555; font-size: .9rem; }
  .tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: .8rem; margin: 1.3rem 0; }
  .tile { border-top: 3px solid BLUE; padding-top: .4rem; }
  .tile b { display: block; font-size: 1.5rem; line-height: 1.2; }
  .tile span { color: #555; font-size: .85rem; line-height: 1.3; display: block; }
  svg { width: 100%; height: auto; display: block; }
  table { border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }
  th, td { text-align: right; padding: .25rem .5rem; border-bottom: 1px solid #ddd; vertical-align: top;
           white-space: nowrap; }
  th { border-bottom: 2px solid #666; vertical-align: bottom; }
  td.text, th.text, table.text td, table.text th { text-align: left; white-space: normal; }
  td.text span { white-space: nowrap; }
  table.text td.end { white-space: nowrap; font-weight: bold; }
  dt { font-weight: bold; margin-top: .7rem; }
  dd { margin: 0; }
  thead { display: table-header-group; }
  section, tr { break-inside: avoid; }
  section.long { break-inside: auto; }
  .scroll { overflow-x: auto; }
  @media (max-width: 34rem) {
    h1 { font-size: 1.35rem; }
    .tiles { grid-template-columns: repeat(2, 1fr); }
    section { overflow-x: auto; }
    table.text, table.text tbody, table.text tr, table.text td { display: block; }
    table.text thead { display: none; }
    table.text tr { position: relative; padding: .3rem 0 .3rem 2.2rem; border-bottom: 1px solid #ddd; }
    table.text td { padding: 0; border: 0; }
    table.text td:first-child { position: absolute; left: 0; }
  }
  @media print { body { margin: 0; max-width: none; font-size: 11pt; } }
""".replace("BLUE", BLUE)
"""Style sheet of every page that is written as one file: it prints, and needs nothing from elsewhere."""

PIPE_WIDTH = 120
"""Columns of output that goes into a pipe or a file, where no terminal says how wide it is."""


_NOT_FOR_TERMINALS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return ``text`` without what a terminal would obey: control characters, and those that turn the reading order."""
    return _NOT_FOR_TERMINALS.sub("\N{REPLACEMENT CHARACTER}", text)


class PlainConsole(Console):
    """Shows text as it is: names and reasons come from others, and must neither hide nor colour a line."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a string."""
        return super().render_str(plain(text), **options)


def output() -> Console:
    """Return the console for results (standard output)."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return PlainConsole(highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)


def notes() -> Console:
    """Return the console for progress and errors (standard error), so that results can be piped."""
    return PlainConsole(stderr=True, highlight=False, markup=False, emoji=False)


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


def share_done(*, shown: bool) -> Progress:
    """Return a progress bar on standard error for one task of total 1.0, with the share done and the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(complete_style=BLUE, finished_style=GREEN),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
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


def fitted(made: Table, console: Console) -> Table:
    """Take the frame off a table that is wider than ``console``, and wrap its texts: cut-off figures tell nothing."""
    wide = console.options.update(max_width=10 * PIPE_WIDTH)
    if made.__rich_measure__(console, wide).maximum > console.width:
        made.box, made.padding, made.pad_edge = SIMPLE, (0, 0), False
        for column in made.columns:
            column.no_wrap = False
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
