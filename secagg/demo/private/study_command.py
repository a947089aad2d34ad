"""What ``secagg demo --sweep epsilon`` prints and writes."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path

from secagg import theme
from secagg.demo.display import percent
from secagg.demo.output import check_writable, write_whole
from secagg.demo.private.setting import CLIP, PrivateConfig


def study_command(config: PrivateConfig, repeats: int, folder: Path | None, *, json: bool) -> None:
    """Run a study with a progress bar; write its figures and picture, and print them.

    Args:
        config: what all cells share.
        repeats: seeds, from the config's on.
        folder: where sweep-epsilon-DATASET.json and .png go; ``None`` for nowhere.
        json: print one JSON object and nothing else.
    """
    if folder is not None:
        check_writable(folder)
    from secagg.demo.private.study import REDRAWN, Study, count_runs, possible, run_study
    from secagg.demo.private.study_figure import study_png

    seeds = range(config.seed, config.seed + repeats)
    with theme.progress(shown=theme.notes().is_terminal and not json) as bar:
        task = bar.add_task("loading", total=count_runs(config, seeds))
        study: Study = run_study(
            config,
            seeds,
            lambda what: bar.update(task, advance=1, description=what),
            dropouts=possible(config),
        )
    name = f"sweep-epsilon-{config.dataset}"
    if folder is not None:
        text = jsonlib.dumps(study.to_json(), indent=2) + "\n"
        write_whole(folder, {f"{name}.json": text, f"{name}.png": study_png(study)})
    if json:
        sys.stdout.write(jsonlib.dumps(study.to_json()) + "\n")
        return
    console = theme.output()
    console.print(
        f"{config.dataset}: {config.sites} sites (threshold {config.threshold}, {config.colluders} colluding), "
        f"{config.rounds} rounds, {config.bits} bits, clip {CLIP:g}, delta {config.delta:g}, {repeats} seeds; unit "
        "patient, neighbours: add or remove"
    )
    columns = ("lost", "epsilon", "secagg", "trusted", "local", "no noise", "secagg - trusted", "secagg - local")
    rows = theme.table("", *columns, "noise", "1 point")
    for cell in study.cells:
        rows.add_row(
            f"{cell.dropouts} of {config.sites}",
            f"{cell.epsilon:g}",
            *(percent(cell.accuracy[arm]) for arm in ("distributed", "trusted", "local", "open")),
            *(f"{100 * gap.mean:+.2f} ± {100 * gap.error:.2f}" for gap in (cell.against_trusted, cell.against_local)),
            f"x {cell.noise:.3f}",
            "yes" if cell.within else "NO",
        )
    console.print(rows)
    exact = "every sum exact" if all(cell.exact for cell in study.cells) else "SOME SUMS NOT EXACT"
    console.print(
        f"masked: true (every run of secagg went through the protocol, {exact}); differences are paired by seed, with "
        f"standard errors, baselines averaged over {REDRAWN} draws of noise; {study.seconds:.0f} s"
    )
    if folder is not None:
        console.print(f"next: open {folder}/{name}.png")
