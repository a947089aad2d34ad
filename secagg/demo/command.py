"""The ``secagg demo`` command. Loads torch, scikit-learn and matplotlib only once the options are known to be good."""

import json as jsonlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from secagg import theme
from secagg.demo.config import DemoConfig
from secagg.demo.datasets import DATASET_NAMES
from secagg.demo.output import check_writable, staged, write_whole
from secagg.demo.result import DemoResult, to_json
from secagg.errors import UsageError
from secagg.transcript.chain import Transcript

DEFAULT_FOLDER = Path("secagg-demo")
DEFAULTS = DemoConfig()
QUICK_ROUNDS = 8
TRANSCRIPT = "transcript.jsonl"


def demo_command(
    dataset: Annotated[str, typer.Option(help=f"Data set: {' or '.join(DATASET_NAMES)}.")] = DEFAULTS.dataset,
    sites: Annotated[int, typer.Option(help="Hospitals in the consortium, 3 or more.")] = DEFAULTS.sites,
    rounds: Annotated[
        int | None, typer.Option(help=f"Rounds of federated averaging.  Default: {DEFAULTS.rounds}.")
    ] = None,
    bits: Annotated[int, typer.Option(help="Bits of one coordinate on the grid, 2 to 24.")] = DEFAULTS.bits,
    range_: Annotated[
        float | None,
        typer.Option(
            "--range",
            help="The grid spans [-range, range].  Default: the most that training can change one.",
        ),
    ] = None,
    dropout: Annotated[
        float | None,
        typer.Option(
            help="Sites that vanish in every round, in changing phases: below 1 a fraction, else a count.  "
            f"Default: {DEFAULTS.dropouts_per_round}, or what few sites can lose."
        ),
    ] = None,
    skew: Annotated[
        str, typer.Option(help="How unequal the sites are: iid, label:ALPHA or quantity:ALPHA.")
    ] = DEFAULTS.skew,
    seed: Annotated[int, typer.Option(help="Fixes data, training and drop-outs; never masks, keys or rounding.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder for report.html, result.json and {TRANSCRIPT}.  Default: {DEFAULT_FOLDER}; none with --json."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help=f"A first look: {QUICK_ROUNDS} rounds.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Train a model in a consortium of in-process hospitals through the real protocol, and measure it.

    Example: secagg demo --dataset digits --sites 12 --dropout 0.25 --bits 10 --out report
    """
    if quick and rounds is not None:
        raise UsageError("--quick and --rounds both choose the number of rounds: give one of them")
    config = DemoConfig(
        dataset=dataset,
        sites=sites,
        rounds=QUICK_ROUNDS if quick else DEFAULTS.rounds if rounds is None else rounds,
        bits=bits,
        range=range_,
        dropout=dropout,
        skew=skew,
        seed=seed,
    )
    folder = out if out is not None or json else DEFAULT_FOLDER
    if folder is not None:
        check_writable(folder)
    _check_installed()
    with staged(folder, TRANSCRIPT) as path:
        result = _run(config, path, quiet=json)
    if folder is not None:
        _write(result, folder)
    if json:
        sys.stdout.write(jsonlib.dumps(to_json(result)) + "\n")
        return
    from secagg.demo.display import show_result

    console = theme.output()
    show_result(result, console)
    where = DEFAULT_FOLDER if folder is None else folder
    console.print(
        f"next: open {where}/report.html in a browser; an auditor checks the study with secagg audit "
        f"{where}/{TRANSCRIPT}; secagg simulate --view shows single numbers"
    )


def _check_installed() -> None:
    missing = [name for name in ("torch", "sklearn", "matplotlib") if find_spec(name) is None]
    if missing:
        raise UsageError(f"secagg demo needs {', '.join(missing)}: pip install 'secagg[demo]'")


def _run(config: DemoConfig, path: Path | None, *, quiet: bool) -> DemoResult:
    from secagg.demo.display import watching

    with watching(config, quiet=quiet) as progress:
        from secagg.demo.runner import run  # takes seconds, for torch: the bar is there meanwhile

        if path is None:
            return run(config, progress)
        with Transcript(path) as transcript:
            return run(config, progress, transcript)


def _write(result: DemoResult, folder: Path) -> None:
    from secagg.demo.report import report_html

    record = jsonlib.dumps(to_json(result), indent=2) + "\n"
    write_whole(folder, {"report.html": report_html(result), "result.json": record})
