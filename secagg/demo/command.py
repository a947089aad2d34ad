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
from secagg.demo.output import check_writable, write_whole
from secagg.demo.result import DemoResult, to_json
from secagg.errors import UsageError

DEFAULT_FOLDER = Path("secagg-demo")
DEFAULTS = DemoConfig()
QUICK_ROUNDS = 8


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
        typer.Option(help=f"Folder for report.html and result.json.  Default: {DEFAULT_FOLDER}; none with --json."),
    ] = None,
    processes: Annotated[
        bool, typer.Option("--processes", help="Run every party as a process of its own, over TLS on this machine.")
    ] = False,
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
    if processes:
        run_as_processes(config, dropout_given=dropout is not None or out is not None, json=json)
        return
    folder = out if out is not None or json else DEFAULT_FOLDER
    if folder is not None:
        check_writable(folder)
    _check_installed()
    result = _run(config, quiet=json)
    if folder is not None:
        _write(result, folder)
    if json:
        sys.stdout.write(jsonlib.dumps(to_json(result)) + "\n")
        return
    from secagg.demo.display import show_result

    console = theme.output()
    show_result(result, console)
    console.print(
        f"next: open {DEFAULT_FOLDER if folder is None else folder}/report.html in a browser; "
        "secagg simulate --view shows single numbers"
    )


def _check_installed(*names: str, extras: str = "demo") -> None:
    missing = [name for name in names or ("torch", "sklearn", "matplotlib") if find_spec(name) is None]
    if missing:
        raise UsageError(f"secagg demo needs {', '.join(missing)}: pip install 'secagg[{extras}]'")


def run_as_processes(config: DemoConfig, *, dropout_given: bool, json: bool) -> None:
    """Run the demo as processes over TLS and report.

    Raises:
        UsageError: options that this form of the demo does not have.
    """
    if dropout_given:
        raise UsageError(
            "with --processes nobody is made to vanish and no report is written: leave out --dropout, --out"
        )
    _check_installed("torch", "sklearn", "httpx", "starlette", "uvicorn", "safetensors", extras="demo,server")
    with theme.progress(shown=not json) as bar:
        task = bar.add_task("rounds over TLS", total=config.rounds)
        from secagg.demo.processes import run_processes

        result = run_processes(config, lambda done: bar.update(task, completed=done))
    opened = [said for said in result.receipts if said.outcome == "opened"]
    typical = sorted(result.round_seconds)[len(result.round_seconds) // 2] if result.round_seconds else None
    if json:
        facts = {
            "dataset": config.dataset, "sites": config.sites, "rounds": len(opened), "accuracy": result.accuracy,
            "accuracy_plain_fedavg": result.accuracy_plain, "bits": config.bits, "seconds": result.seconds,
            "round_seconds": typical, "processes": config.sites + 1,
        }  # fmt: skip
        sys.stdout.write(jsonlib.dumps(facts) + "\n")
        return
    console = theme.output()
    console.print(f"{config.sites} sites and a coordinator, each a process of its own, finished {len(opened)} rounds")
    console.print(f"accuracy {result.accuracy:.3f}; plain FedAvg in floats {result.accuracy_plain:.3f}")
    if typical is not None:
        console.print(f"{theme.human_seconds(typical)} a round, training included; {result.seconds:.0f} s in all")
    console.print("next: secagg study new DIR begins a study of your own")


def _run(config: DemoConfig, *, quiet: bool) -> DemoResult:
    from secagg.demo.display import watching

    with watching(config, quiet=quiet) as progress:
        from secagg.demo.runner import run  # takes seconds, for torch: the bar is there meanwhile

        return run(config, progress)


def _write(result: DemoResult, folder: Path) -> None:
    from secagg.demo.report import report_html

    record = jsonlib.dumps(to_json(result), indent=2) + "\n"
    write_whole(folder, {"report.html": report_html(result), "result.json": record})
