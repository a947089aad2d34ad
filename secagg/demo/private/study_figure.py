"""The picture of an epsilon study, as PNG bytes: accuracy of the arms, and what is lost to a trusted server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from secagg import theme
from secagg.demo.private.figures import LOOKS, png
from secagg.demo.private.result import ARMS
from secagg.demo.private.study import TOLERATED, Cell, Paired, Study


def study_png(study: Study) -> bytes:
    """Draw a column for each number of drop-outs: accuracies above, paired differences to the trusted server below."""
    groups = {
        dropped: [cell for cell in study.cells if cell.dropouts == dropped]
        for dropped in dict.fromkeys(cell.dropouts for cell in study.cells)
    }
    with mpl.rc_context(theme.PLOTS):
        figure = Figure(figsize=(3.6 * len(groups) + 1, 6.4), dpi=150, layout="constrained")
        axes = figure.subplots(2, len(groups), sharey="row", sharex=True, squeeze=False, height_ratios=(3, 2))
        for above, below, (dropped, cells) in zip(axes[0], axes[1], groups.items(), strict=True):
            accuracies(
                above,
                [cell.epsilon for cell in cells],
                {arm: [cell.accuracy[arm] for cell in cells] for arm in ARMS},
            )
            _differences(below, cells)
            above.set_title(f"{dropped} of {study.config.sites} sites dropping", fontsize=11)
            below.set_xlabel("epsilon")
        ends = [100 * (gap.mean + sign * gap.error) for gap in _gaps(study) for sign in (-1, 1)]
        axes[1][0].set_ylim(min(*ends, -1.4) - 0.2, max(*ends, 0.4) + 0.2)
        axes[0][0].set_ylabel("accuracy on the test set")
        axes[1][0].set_ylabel("points against\nthe trusted server")
        config = study.config
        figure.suptitle(
            f"{config.dataset}, delta {config.delta:g}, {config.rounds} rounds, {config.bits} bits, "
            f"{study.cells[0].runs} seeds; unit patient, neighbours: add or remove",
            fontsize=11,
        )
        figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=10)
        return png(figure)


def accuracies(axes: Axes, epsilons: Sequence[float], by_arm: Mapping[str, Sequence[float]]) -> None:
    """Draw the accuracies of all arms (0 to 1) at each epsilon."""
    for arm, what in ARMS.items():
        colour, marker, style, width = LOOKS[arm]
        axes.plot(
            epsilons,
            by_arm[arm],
            color=colour,
            marker=marker,
            markersize=5,
            linestyle=style,
            linewidth=width,
            label=what,
        )
    axes.set_xscale("log")
    axes.set_xticks(epsilons, [f"{epsilon:g}" for epsilon in epsilons])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _differences(axes: Axes, cells: list[Cell]) -> None:
    axes.errorbar(
        [cell.epsilon for cell in cells],
        [100 * cell.against_trusted.mean for cell in cells],
        yerr=[100 * cell.against_trusted.error for cell in cells],
        color=theme.BLUE,
        marker="o",
        linestyle="-",
        capsize=3,
    )
    axes.axhline(0, color=theme.VERMILION, linewidth=1.2, linestyle=(0, (5, 2)))
    axes.axhline(-100 * TOLERATED, color=theme.GREY, linewidth=1, linestyle=(0, (2, 2)))
    axes.text(cells[-1].epsilon, -100 * TOLERATED, "1 point ", va="bottom", ha="right", color=theme.GREY, fontsize=9)


def _gaps(study: Study) -> list[Paired]:
    return [cell.against_trusted for cell in study.cells]
