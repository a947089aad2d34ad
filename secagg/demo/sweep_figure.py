"""The picture of a sweep, as PNG bytes: what quantization costs in points of accuracy."""

from io import BytesIO

from matplotlib.figure import Figure

from secagg import theme
from secagg.demo.sweep import Sweep, lines
from secagg.plots import drawing

LOOKS = (
    (theme.BLUE, "o", "-"),
    (theme.VERMILION, "s", "--"),
    (theme.GREEN, "^", "-."),
    (theme.ORANGE, "D", ":"),
    (theme.GREY, "v", "-"),
)
NAMES = {
    "bits": "bits of a coordinate",
    "skew": "how unequal the sites are",
    "sites": "sites in the cohort",
    "mixed": "half of the sites are so many bits coarser",
}


def sweep_png(sweep: Sweep) -> bytes:
    """Draw loss of accuracy against plain floats over the axis, a line for each scheme, with standard errors."""
    with drawing():
        figure = Figure(figsize=(7.4, 4.2), dpi=150, layout="constrained")
        axes = figure.subplots()
        places = list(dict.fromkeys(row.value for row in sweep.rows))
        for (scheme, rows), (colour, marker, style) in zip(lines(sweep), LOOKS, strict=False):
            axes.errorbar(
                [places.index(row.value) for row in rows],
                [100 * row.loss for row in rows],
                yerr=[100 * row.error for row in rows],
                color=colour,
                marker=marker,
                linestyle=style,
                capsize=3,
                label=scheme,
            )
        axes.axhline(1, color=theme.GREY, linewidth=1, linestyle=(0, (2, 2)))
        axes.text(len(places) - 0.6, 1, "1 point", va="bottom", ha="right", color=theme.GREY)
        axes.axhline(0, color=theme.GREY, linewidth=1)
        axes.set_xticks(range(len(places)), places)
        axes.set_xlabel(NAMES[sweep.axis])
        axes.set_ylabel("points of accuracy lost to plain floats")
        # Losses of a grid that is far too coarse would flatten all that matters.
        axes.set_ylim(-1.5, min(max(3.0, 105 * max(row.loss for row in sweep.rows)), 6))
        bits = "" if sweep.axis == "bits" else f", {sweep.config.bits} bits"
        axes.set_title(
            f"{sweep.config.dataset}, {sweep.config.rounds} rounds, {sweep.rows[0].runs} seeds{bits}", fontsize=11
        )
        axes.legend(ncols=2)
        out = BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
        return out.getvalue()
