"""One look: plain text in a pipe, colours that differ, pages that need nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys

import matplotlib as mpl
import pytest

from secagg import theme
from secagg.plots import drawing, svg

ESCAPES = re.compile(r"\x1b|\r")


@pytest.mark.parametrize(
    "command",
    [
        ("simulate", "--clients", "4", "--dim", "100", "--view"),
        ("bench", "shamir", "--quick"),
        ("plan", "--clients", "10", "--dim", "1000", "--clip", "1.0", "--wire-bits", "8"),
        ("simulate", "--help"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_pipe_gets_plain_text(command: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", "secagg", *command], capture_output=True, timeout=300, check=True)
    assert done.stdout.strip()
    assert not ESCAPES.search(done.stdout.decode() + done.stderr.decode())  # nor a progress bar


def test_series_differ_without_colour() -> None:
    assert len(set(map(str, theme.STYLES))) == len(theme.STYLES) == len(theme.COLOURS) == len(set(theme.COLOURS))


def test_colours_differ_in_grey() -> None:
    """Neighbouring series keep apart on a grey printer, by lightness or by style."""
    grey = [sum(w * int(c[i : i + 2], 16) for w, i in ((0.3, 1), (0.59, 3), (0.11, 5))) for c in theme.COLOURS[:4]]
    assert max(grey) - min(grey) > 60


def test_plots_name_themselves_and_load_nothing() -> None:
    before = mpl.rcParams["axes.grid"]
    with drawing():
        from matplotlib.figure import Figure

        figure = Figure()
        figure.subplots().plot([1, 2])
        drawn = svg(figure, "a line")
    assert 'aria-label="a line"' in drawn
    assert not re.search(r'(?:href|src)="(?!#)', drawn)
    assert mpl.rcParams["axes.grid"] == before


def test_pages_load_nothing() -> None:
    assert "url(" not in theme.PAGE_STYLE
    assert "@import" not in theme.PAGE_STYLE
    assert theme.BLUE in theme.PAGE_STYLE
    assert "@media print" in theme.PAGE_STYLE
