"""What ``secagg demo --sweep`` prints and writes."""

import json as jsonlib
import sys
from pathlib import Path

from rich.console import Console

from secagg import theme
from secagg.demo.config import DemoConfig
from secagg.demo.output import write_whole
from secagg.errors import UsageError

AXES = ("bits", "skew", "sites", "mixed")
"""As in `secagg.demo.sweep`, which loads PyTorch."""


def check_axis(axis: str) -> None:
    """Refuse an unknown axis before anything is loaded.

    Raises:
        UsageError: with those that there are.
    """
    if axis not in AXES:
        raise UsageError(f"unknown sweep {axis!r}: choose one of {', '.join(AXES)}, epsilon")


def sweep_command(axis: str, config: DemoConfig, repeats: int, folder: Path | None, *, json: bool) -> None:
    """Run a sweep with a progress bar; write its figures and picture, and print them.

    Args:
        axis: one of `AXES`.
        config: what all points share.
        repeats: seeds, from the config's on.
        folder: where sweep-AXIS.json and sweep-AXIS.png go; ``None`` for nowhere.
        json: print one JSON object and nothing else.
    """
    from secagg.demo.sweep import count_runs, run_sweep
    from secagg.demo.sweep_figure import sweep_png

    seeds = range(config.seed, config.seed + repeats)
    with theme.progress(shown=theme.notes().is_terminal and not json) as bar:
        task = bar.add_task("loading", total=count_runs(axis, config, seeds))
        sweep = run_sweep(axis, config, seeds, lambda what: bar.update(task, advance=1, description=what))
    figures = sweep.to_json()
    if folder is not None:
        text = jsonlib.dumps(figures, indent=2) + "\n"
        write_whole(folder, {f"sweep-{axis}.json": text, f"sweep-{axis}.png": sweep_png(sweep)})
    if json:
        sys.stdout.write(jsonlib.dumps(figures) + "\n")
        return
    console = theme.output()
    _show(figures, console)
    if folder is not None:
        console.print(f"next: open {folder}/sweep-{axis}.png")


def _show(figures: dict[str, object], console: Console) -> None:
    """Print the rows, and what they are."""
    axis = [] if figures["sweep"] == "bits" else [str(figures["sweep"])]
    rows = theme.table("", "scheme", *axis, "bits", "secagg", "plain floats", "loss in points")
    found = figures["rows"]
    for row in found if isinstance(found, list) else []:
        loss = f"{100 * row['loss']:+.2f} ± {100 * row['error']:.2f}"
        accuracies = (f"{100 * row['accuracy']:.1f} %", f"{100 * row['accuracy_plain']:.1f} %")
        rows.add_row(row["scheme"], *([row["value"]] if axis else []), str(row["bits"]), *accuracies, loss)
    console.print(rows)
    least = figures["bits_within_one_point"]
    for scheme, bits in least.items() if isinstance(least, dict) else ():
        console.print(f"{scheme}: {'no number of' if bits is None else f'{bits} or more'} bits lose at most one point")
    verdict = "equals" if figures["masked_point_equal_bit_for_bit"] else "DIFFERS FROM"
    console.print(
        "masked: false (integers added in the clear). One point went through the protocol: every sum "
        f"{verdict} the sum in the clear, bit for bit"
    )
