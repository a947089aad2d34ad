"""The picture of the peers, as PNG bytes: seconds of a client, seconds of the server, bytes, a bar each."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from secagg import theme
from secagg.bench.measure import Row

PANELS = (
    ("client_seconds", "seconds of a client"),
    ("server_seconds", "seconds of the server"),
    ("uplink_bytes", "bytes that a client sends"),
)


def draw(rows: Sequence[Row]) -> bytes:
    """Draw one row of panels for each size of round; what is not installed is left out."""
    measured = [row for row in rows if row["client_seconds"] is not None]
    sizes = list(dict.fromkeys((row["clients"], row["dim"]) for row in measured))
    with mpl.rc_context(theme.PLOTS):
        figure = Figure(figsize=(11, 0.6 + 2.4 * len(sizes)), dpi=150, layout="constrained")
        grid = figure.subplots(len(sizes), len(PANELS), squeeze=False)
        for (clients, dim), panels in zip(sizes, grid, strict=True):
            of_size = [row for row in measured if (row["clients"], row["dim"]) == (clients, dim)]
            for axes, (key, label) in zip(panels, PANELS, strict=True):
                _bars(axes, of_size, key, named=key == PANELS[0][0])
                axes.set_xlabel(label)
            panels[0].set_title(f"{clients} clients, {dim:,} coordinates", fontsize=11, loc="left")
        out = BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
        return out.getvalue()


def _bars(axes: Any, rows: Sequence[Row], key: str, *, named: bool) -> None:
    names = [row["system"] for row in rows]
    ours = [name.startswith("secagg") for name in names]
    colours = [theme.BLUE if own else theme.VERMILION for own in ours]
    bars = axes.barh(range(len(rows)), [row[key] for row in rows], color=colours)
    axes.bar_label(bars, [f"{row[key]:.3g}" for row in rows], padding=3, fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.set_yticks(range(len(rows)), names if named else [""] * len(rows))
    axes.invert_yaxis()
