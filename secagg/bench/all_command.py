"""``secagg bench all``: run everything, write what came out, show it, compare it."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from secagg import theme
from secagg.bench.whole import REFERENCE, Bench, Compared, Run, compare, read_run, run_all
from secagg.demo.output import check_writable, write_whole
from secagg.errors import UsageError
from secagg.extras import require

FOLDER = Path("secagg-bench")
WORTH_A_LINE = 0.1
"""What changed by less is not printed."""


def all_command(
    benches: Mapping[str, Bench], *, quick: bool, json: bool, out: Path | None, against: str | None
) -> None:
    """Run all benches; see ``bench_command`` for the options.

    Raises:
        UsageError: a folder or a run that cannot be used; before anything is measured.
    """
    require("secagg bench all", "bench", "matplotlib", "sklearn")
    earlier = None if against is None else read_run(REFERENCE if against == "reference" else Path(against))
    if earlier is not None and earlier["quick"] != quick:
        raise UsageError("a quick run and a full one cannot be compared: their sizes differ")
    folder = out if out is not None or json else FOLDER
    if folder is not None:
        check_writable(folder)
    with theme.share_done(shown=not json and sys.stderr.isatty()) as progress:
        task = progress.add_task("starting", total=1.0)
        run = run_all(benches, lambda what, done: progress.update(task, description=what, completed=done), quick=quick)
    compared = compare(earlier, run) if earlier is not None else []
    if folder is not None:
        from secagg.bench.report import bench_html

        page = bench_html(run, compared, earlier)
        write_whole(folder, {"bench.json": jsonlib.dumps(run, indent=1) + "\n", "report.html": page})
    if json:
        sys.stdout.write(jsonlib.dumps(run) + "\n")
        return
    _show(run, compared, earlier, folder or FOLDER)


def _show(run: Run, compared: Sequence[Compared], earlier: Run | None, folder: Path) -> None:
    console = theme.output()
    table = theme.table("secagg bench all", "bench", "rows", "time")
    for name, part in run["benches"].items():
        table.add_row(name, str(len(part["rows"])), theme.human_seconds(part["seconds"]))
    console.print(table)
    if earlier is not None:
        moved = [row for row in compared if abs(row.better - 1) > WORTH_A_LINE]
        then = (earlier["commit"] or "unknown")[:12]
        changes = theme.table(
            f"moved by more than {WORTH_A_LINE:.0%} since {then}", "figure", "then", "now", "better by"
        )
        for row in moved:
            changes.add_row(
                f"{row.bench}: {row.case}, {row.figure}", f"{row.before:.3g}", f"{row.after:.3g}", f"{row.better:.2f}"
            )
        console.print(changes if moved else f"{len(compared)} figures, none moved by more than {WORTH_A_LINE:.0%}")
        if earlier["machine"] != run["machine"]:
            console.print("that was another machine: seconds and speeds differ, bytes and errors do not")
    console.print(
        f"next: open {folder}/report.html in a browser; --compare {folder}/bench.json compares a later run with it"
    )
