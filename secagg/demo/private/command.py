"""``secagg demo --epsilon``: train with patient-level privacy, compare, and report."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Mapping
from pathlib import Path

from secagg import theme
from secagg.demo.output import check_writable, staged, write_whole
from secagg.demo.private.setting import PrivateConfig
from secagg.errors import UsageError
from secagg.privacy import PrivacyInputError
from secagg.transcript.chain import Transcript

TRANSCRIPT = "transcript.jsonl"

WITHHELD = {
    "--range": "the range follows from clip and grid",
    "--scheme": "noise has to fit the grid, so the grid rotates and rounds as the accountant counted",
    "--updates": "every patient's gradient is clipped by itself",
    "--downlink-bits": "the model is small",
    "--error-feedback": "a residual carries a patient into later rounds, where no clip bounds it",
    "--adaptive-clip": "how many norms lie inside of a clip tells of patients; the clip is fixed",
    "--adaptive-bits": "every round is planned alike",
    "--scenario": "mixed precision has no bound on norms",
    "--coarser": "mixed precision has no bound on norms",
    "--drift": "a patient who moves to another site would spend twice",
    "--processes": "it runs in one process",
}
"""Options of the plain demo that private training does not have, and why."""


def check_options(given: Mapping[str, bool], unit: str | None) -> None:
    """Refuse options that private training does not have.

    Args:
        given: option to whether it was given.
        unit: whose data are to be hidden, if it was said.

    Raises:
        UsageError: naming the first of them, and why.
    """
    for option, said in given.items():
        if said:
            raise UsageError(f"with --epsilon there is no {option}: {WITHHELD[option]}")
    if unit not in (None, "patient"):
        raise UsageError(
            f"the demo protects single patients (--unit patient), not {unit!r}: a handful of whole sites cannot hide; "
            "secagg plan --epsilon 1 --unit site says what that would cost"
        )


def check_sweep(axis: str, epsilon: float | None, dropout: float | None) -> None:
    """Refuse what does not go with a sweep over epsilon, and other sweeps with privacy.

    Raises:
        UsageError: saying which option to leave out.
    """
    if axis != "epsilon":
        raise UsageError(f"with --epsilon there is no sweep over {axis!r}: --sweep epsilon is the private one")
    if epsilon is not None or dropout is not None:
        raise UsageError("--sweep epsilon chooses epsilon and drop-outs itself: leave --epsilon and --dropout out")


def configured(**choices: object) -> PrivateConfig:
    """Build the configuration from what was given; ``None`` for the default.

    Raises:
        UsageError: a choice that cannot work.
    """
    try:
        return PrivateConfig(**{key: value for key, value in choices.items() if value is not None})  # type: ignore[arg-type]
    except PrivacyInputError as error:
        raise UsageError(str(error)) from error


def private_command(config: PrivateConfig, folder: Path | None, *, json: bool) -> None:
    """Run, write, print.

    Args:
        config: what to run.
        folder: where result.json, accuracy.png and the transcript go; ``None`` for nowhere.
        json: print one JSON object and nothing else.
    """
    if folder is not None:
        check_writable(folder)
    from secagg.demo.private.display import show_result, watching
    from secagg.demo.private.figures import accuracy_png
    from secagg.demo.private.result import to_json
    from secagg.demo.private.runner import run

    with staged(folder, TRANSCRIPT) as path, watching(config, quiet=json) as progress:
        if path is None:
            result = run(config, progress)
        else:
            with Transcript(path) as transcript:
                result = run(config, progress, transcript)
    found = to_json(result)
    if folder is not None:
        text = jsonlib.dumps(found, indent=2) + "\n"
        write_whole(folder, {"result.json": text, "accuracy.png": accuracy_png(result)})
    if json:
        sys.stdout.write(jsonlib.dumps(found) + "\n")
        return
    console = theme.output()
    show_result(result, console)
    if folder is not None:
        console.print(f"next: open {folder}/accuracy.png; an auditor checks with secagg audit {folder}/{TRANSCRIPT}")
