"""The ``secagg plan`` command."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

import quant
from secagg import theme
from secagg.errors import UsageError
from secagg.plan import display
from secagg.plan.goal import Decision, Goal, decide, judge
from secagg.plan.private_command import DEFAULT_DELTA, DEFAULT_ROUNDS, check_options, goal_of, private_plan
from secagg.plan.rehearsal import find_task
from secagg.plan.samples import read_updates
from secagg.plan.study_table import StudyTable, read_table, write_table
from secagg.plan.tuning import Tuned, tune

PRIVACY = "Privacy"


def plan_command(
    clients: Annotated[int | None, typer.Option(help="Size of the cohort; by default the study's sites.")] = None,
    dim: Annotated[int | None, typer.Option(help="Coordinates of an update; by default the sample's.")] = None,
    clip: Annotated[float | None, typer.Option(help="L2 clip. Alone it means: plan for the worst case.")] = None,
    sample: Annotated[
        Path | None, typer.Option(help="Sample updates, public: rows of a .npy matrix, or arrays of a .npz file.")
    ] = None,
    wire_bits: Annotated[int | None, typer.Option(help="Target: bits of one field, which holds the sum.")] = None,
    error: Annotated[
        float | None, typer.Option(help="Target: squared error of the mean over mean |x|^2.  Default: 0.001.")
    ] = None,
    bytes_: Annotated[int | None, typer.Option("--bytes", help="Target: bytes of one masked vector.")] = None,
    sparse: Annotated[bool, typer.Option("--sparse", help="Coordinates may be left out to fit the bytes.")] = False,
    joint_seed: Annotated[
        bool, typer.Option(help="Whether sites make a seed together, as rotation and dither need.")
    ] = True,
    epsilon: Annotated[
        float | None,
        typer.Option(help="Plan for differential privacy: epsilon after all rounds.", rich_help_panel=PRIVACY),
    ] = None,
    delta: Annotated[
        float | None, typer.Option(help=f"Delta of the promise.  Default: {DEFAULT_DELTA:g}.", rich_help_panel=PRIVACY)
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(help=f"Rounds that the promise covers.  Default: {DEFAULT_ROUNDS}.", rich_help_panel=PRIVACY),
    ] = None,
    patients: Annotated[
        int | None, typer.Option(help="Patients expected at all sites, a public figure.", rich_help_panel=PRIVACY)
    ] = None,
    dropouts: Annotated[
        int | None,
        typer.Option(help="Sites that may vanish in a round.  Default: all that can.", rich_help_panel=PRIVACY),
    ] = None,
    colluders: Annotated[
        int, typer.Option(help="Sites assumed to add no noise, at least 1.", rich_help_panel=PRIVACY)
    ] = 1,
    unit: Annotated[
        str, typer.Option(help="Whose presence is hidden: patient or site.", rich_help_panel=PRIVACY)
    ] = "patient",
    law: Annotated[
        str, typer.Option(help="Law of the noise: skellam or discrete-gaussian.", rich_help_panel=PRIVACY)
    ] = "skellam",
    study: Annotated[Path | None, typer.Option(help="Study file to read sites and present settings from.")] = None,
    out: Annotated[Path | None, typer.Option(help="Study file whose [quantization] table is written.")] = None,
    tune_: Annotated[int | None, typer.Option("--tune", help="Try so many settings on a task of your own.")] = None,
    task: Annotated[
        str | None, typer.Option(help="For --tune: package.module:train, a function of a rehearsal; see the README.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="For --tune: lengths of the layers, such as 640,10: bits for each.")
    ] = None,
    seed: Annotated[int, typer.Option(help="For --tune: fixes the search, the task and its rounding.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> int:
    """Choose quantization for a cohort from a goal, and show what every alternative would cost.

    Exit code 1 if no setting reaches the goal; the nearest that is feasible is shown, and nothing is written.

    Example: secagg plan --clients 10 --dim 1000000 --clip 1.0 --wire-bits 8 --out study.toml

    With privacy: secagg plan --epsilon 1 --clients 10 --patients 1500 --dim 650 --clip 1.0
    """
    table = StudyTable(Path()) if study is None else read_table(study)
    if epsilon is not None:
        check_options(
            {
                "--sample": sample is not None,
                "--error": error is not None,
                "--bytes": bytes_ is not None,
                "--sparse": sparse,
                "--no-joint-seed": not joint_seed,
                "--tune": tune_ is not None or task is not None or layers is not None,
                "--out": out is not None,
            }
        )
        goal = goal_of(
            epsilon=epsilon,
            delta=delta,
            rounds=rounds,
            clients=_clients(clients, table),
            dim=dim,
            clip=table.quantization.get("clip") if clip is None else clip,
            patients=patients,
            dropouts=dropouts,
            colluders=colluders,
            unit=unit,
            law=law,
        )
        return private_plan(goal, wire_bits, json=json)
    if delta is not None or rounds is not None or patients is not None or dropouts is not None:
        raise UsageError("--delta, --rounds, --patients and --dropouts belong to a promise: give --epsilon")
    updates = [] if sample is None else read_updates(sample)
    wanted = Goal(
        clients=_clients(clients, table),
        updates=_updates(updates, dim, clip, table),
        wire_bits=wire_bits,
        error=error,
        wire_bytes=bytes_,
        joint_seed=joint_seed,
        sparse=sparse,
    )
    decision = decide(wanted)
    present = judge(wanted, dict(table.quantization)) if table.quantization else None
    tuned = _tune(decision, updates, tune_, task, layers, seed, quiet=json) if decision.plan.feasible else None
    chosen = decision.quantization if tuned is None else tuned.best.quantization
    if out is not None and decision.plan.feasible:
        write_table(out, chosen, _comments(decision, tuned))
    if json:
        report = display.to_json(decision, present) | {"quantization": chosen, "tuned": _tuned_json(tuned)}
        sys.stdout.write(jsonlib.dumps(report) + "\n")
    else:
        _show(decision, present, tuned, out, theme.output())
    return 0 if decision.plan.feasible else 1


def _clients(given: int | None, table: StudyTable) -> int:
    if given is None and not table.sites:
        raise UsageError("give --clients, or a --study that lists its sites")
    return table.sites if given is None else given


def _updates(
    sample: list[NDArray[np.float64]], dim: int | None, clip: float | None, table: StudyTable
) -> quant.Updates:
    """Say what is known of the updates, from the sample, the options and the study's table, in this order."""
    bound = table.quantization.get("clip") if clip is None else clip
    if sample:
        if dim not in (None, sample[0].size):
            raise UsageError(f"--dim {dim} does not go with a sample of {sample[0].size} coordinates: leave it out")
        return quant.Updates.sampled(sample, bound)
    size = table.quantization.get("dim") if dim is None else dim
    if size is None or bound is None:
        raise UsageError("give --sample, or --dim and --clip: without them nothing is known of the updates")
    return quant.Updates.bounded(size, bound)


def _tune(
    decision: Decision,
    sample: list[NDArray[np.float64]],
    trials: int | None,
    task: str | None,
    layers: str | None,
    seed: int,
    *,
    quiet: bool,
) -> Tuned | None:
    if trials is None and task is None:
        return None
    if trials is None or task is None:
        raise UsageError("--tune and --task go together: how many settings to try, and on what")
    lengths = _lengths(layers)
    train = find_task(task)
    with theme.progress(shown=not quiet and sys.stderr.isatty()) as progress:
        bar = progress.add_task("tuning", total=trials + 1)
        return tune(
            decision.goal,
            decision.quantization,
            train,
            trials,
            sample=sample,
            layers=lengths,
            seed=seed,
            tick=lambda: progress.advance(bar),
        )


def _lengths(layers: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(length) for length in layers.split(",")) if layers else ()
    except ValueError:
        raise UsageError(f"--layers are lengths with commas between, such as 640,10, not {layers!r}") from None


def _comments(decision: Decision, tuned: Tuned | None) -> list[str]:
    """Say in the study file where its numbers come from."""
    goal, best = decision.goal, decision.plan.best
    lines = [f"secagg plan: {goal.clients} clients, {goal.updates.dim} coordinates; {goal.target}"]
    if tuned is None:
        return [*lines, f"predicted: error {best.error:.3g}, {best.wire_bytes} bytes per client and round"]
    found = tuned.best
    text = f"accuracy {found.accuracy:.4f} (float: {tuned.plain:.4f}), {found.wire_bytes} bytes per client and round"
    return [*lines, f"tuned in {len(tuned.trials)} trials: {text}"]


def _tuned_json(tuned: Tuned | None) -> dict[str, Any] | None:
    if tuned is None:
        return None
    trials = [
        {
            "codec": trial.codec,
            "wire_bits": list(trial.wire_bits),
            "accuracy": trial.accuracy,
            "bytes": trial.wire_bytes,
            "quantization": trial.quantization,
        }
        for trial in tuned.trials
    ]
    return {"accuracy_plain": tuned.plain, "best": trials[tuned.trials.index(tuned.best)], "trials": trials}


def _show(
    decision: Decision, present: quant.Setting | None, tuned: Tuned | None, out: Path | None, console: Console
) -> None:
    display.show(decision, present, console)
    if tuned is not None:
        display.show_tuned(tuned, console)
    if not decision.plan.feasible:
        console.print("next: secagg plan with the nearest setting's bits, or another target")
    elif out is not None:
        console.print(f"wrote the [quantization] table of {out}".replace("[", "\\["))
        console.print(f"next: the lead sends {out} to all sites, who sign it again")
    else:
        console.print("next: --out study.toml writes these settings; secagg bench quant shows such errors measured")
