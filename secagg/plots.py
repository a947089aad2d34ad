"""Plots of reports, as inline SVG text. Figure objects, not pyplot, so that no global state changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import matplotlib as mpl
from matplotlib.figure import Figure

from secagg import theme


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the one look."""
    with mpl.rc_context(theme.PLOTS):
        yield


def svg(figure: Figure, name: str) -> str:
    """Write ``figure`` as one ``<svg>`` element that names itself and refers to nothing outside."""
    text = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata=nothing)
    element = text.getvalue()
    return element[element.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{name}"', 1)
