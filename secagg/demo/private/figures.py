"""Pictures of private learning, as PNG bytes: accuracy over rounds and over the epsilon spent, one line an arm."""

from __future__ import annotations

from io import BytesIO

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from secagg import theme
from secagg.demo.private.result import ARMS, PrivateResult

LOOKS = {
    "distributed": (theme.BLUE, "o", "-", 2.2),
    "trusted": (theme.VERMILION, "s", (0, (5, 2)), 1.6),
    "local": (theme.ORANGE, "^", (0, (1, 1.5)), 1.6),
    "open": (theme.GREY, "", "-", 1.0),
}
"""Arm to colour, marker, line style and width: told apart without colour too."""


def accuracy_png(result: PrivateResult) -> bytes:
    """Draw accuracy by round, and by epsilon spent so far."""
    with mpl.rc_context(theme.PLOTS):
        figure = Figure(figsize=(9.6, 4.0), dpi=150, layout="constrained")
        by_round, by_epsilon = figure.subplots(1, 2, sharey=True)
        rounds = [float(outcome.round_index + 1) for outcome in result.rounds]
        _arms(by_round, result, rounds, tuple(ARMS))
        _arms(by_epsilon, result, [outcome.epsilon for outcome in result.rounds], ("distributed", "trusted", "local"))
        by_round.set(xlabel="round", ylabel="accuracy on the test set", xlim=(0, len(rounds) + 0.5))
        by_round.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        by_round.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        by_epsilon.set(xlabel=f"epsilon spent so far, at delta {result.config.delta:g}")
        by_epsilon.set_xlim(left=0)
        config = result.config
        figure.suptitle(
            f"{config.dataset}: {config.sites} hospitals, each patient promised epsilon {config.epsilon:g} "
            f"(neighbours: {result.claim.relation} one {result.claim.unit})",
            fontsize=11,
        )
        figure.legend(*by_round.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=10)
        return png(figure)


def _arms(axes: Axes, result: PrivateResult, places: list[float], arms: tuple[str, ...]) -> None:
    for arm in arms:
        colour, marker, style, width = LOOKS[arm]
        axes.plot(
            places,
            [outcome.accuracy[arm] for outcome in result.rounds],
            color=colour,
            marker=marker,
            markersize=4,
            linestyle=style,
            linewidth=width,
            label=ARMS[arm],
        )


def png(figure: Figure) -> bytes:
    """Write a figure as PNG."""
    out = BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
