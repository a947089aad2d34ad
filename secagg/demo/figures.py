"""The report's three pictures, as inline SVG text.

Drawn with Figure objects, not pyplot, so that no global state changes. Series differ in line style and lie beside
labels, never in colour alone.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from secagg import theme
from secagg.demo.result import DemoResult
from secagg.plots import drawing, svg

BINS = 48


def accuracy_curve(result: DemoResult) -> str:
    """Draw test accuracy by round, through secure aggregation and in plain floats."""
    with drawing():
        figure = Figure(figsize=(7.4, 3.2), layout="constrained")
        axes = figure.subplots()
        rounds = [outcome.round_index + 1 for outcome in result.rounds]
        axes.plot(
            rounds, [o.accuracy for o in result.rounds], color=theme.BLUE, linewidth=2.2, label="secure aggregation"
        )
        axes.plot(
            rounds,
            [o.accuracy_plain for o in result.rounds],
            color=theme.VERMILION,
            linewidth=1.6,
            linestyle=(0, (4, 3)),
            marker="o",
            markersize=3,
            label="plain float FedAvg",
        )
        axes.set(xlabel="round", ylabel="accuracy on the test set", xlim=(0.5, len(rounds) + 0.5))
        # A frame no narrower than ten points: one test patient must not look like a landslide.
        axes.set_ylim(min(0.9, axes.get_ylim()[0]), 1.0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.legend(loc="lower right")
        return svg(figure, "accuracy by round")


def bytes_bar(result: DemoResult) -> str:
    """Draw what one site sends per round, by phase, beside the float32 update of plain FedAvg."""
    with drawing():
        figure = Figure(figsize=(7.4, 2.5), layout="constrained")
        axes = figure.subplots()
        left, plain = 0.0, result.float32_bytes / 1000
        colours = (theme.ORANGE, theme.GREEN, theme.BLUE, theme.VERMILION, theme.SKY, theme.GREY)  # phases: 6 at most
        for number, (phase, count) in enumerate(result.uplink_by_phase.items()):
            label = f"{phase} {theme.human_bytes(count)}"
            axes.barh(1, count / 1000, left=left, height=0.6, color=colours[number], edgecolor="white", label=label)
            left += count / 1000
        axes.barh(0, plain, height=0.6, color="#bbbbbb", edgecolor="white")
        gap = plain / 80
        axes.text(
            left + gap, 1, f"{theme.human_bytes(result.uplink_bytes)}, {left / plain:.2f} of float32", va="center"
        )
        axes.text(plain - gap, 0, theme.human_bytes(result.float32_bytes), va="center", ha="right")
        axes.set_yticks([0, 1], ["plain FedAvg", "secagg"])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("kB that a site sends in a round")
        axes.set_xlim(0, max(left * 1.6, plain * 1.02))
        figure.legend(loc="outside upper left", ncols=2, fontsize=10)
        return svg(figure, "bytes that a site sends per round")


def server_view(result: DemoResult) -> str:
    """Draw three histograms: one site's update on the grid, what left it, and the sum."""
    view, top = result.view, 2**result.field_bits - 1
    with drawing():
        figure = Figure(figsize=(7.4, 2.7), layout="constrained")
        first, second, third = figure.subplots(1, 3)
        _histogram(first, view.true, theme.GREEN, f"site {view.client}'s update\n(never left the site)")
        _histogram(second, view.sent, theme.GREY, "what the server received\nfrom that site", (0, top))
        _histogram(
            third, view.total, theme.BLUE, f"the sum of {len(result.rounds[-1].included)} sites\n(what it opened)"
        )
        first.set_ylabel("coordinates")
        return svg(figure, "one site's update, what the server received from it, and the sum")


def _histogram(axes: Axes, values: NDArray[Any], colour: str, title: str, reach: tuple[int, int] | None = None) -> None:
    low, high = reach or (int(values.min()), int(values.max()))
    # Bins as wide as a whole number of integers, or some would hold more of them than their neighbours.
    width = (high - low) // BINS + 1
    axes.hist(values.astype(np.float64), bins=np.arange(low - 0.5, high + width + 0.5, width).tolist(), color=colour)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("integer on the grid")
    axes.set_ylim(bottom=0)
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
