"""The ``secagg demo`` command. Loads torch, scikit-learn and matplotlib only once the options are known to be good."""

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from secagg import theme
from secagg.demo.config import DemoConfig
from secagg.demo.datasets import DATASET_NAMES
from secagg.demo.output import check_writable, staged, write_whole
from secagg.demo.private.command import check_options, check_sweep, configured, private_command
from secagg.demo.private.setting import PrivateConfig
from secagg.demo.private.study_command import study_command
from secagg.demo.result import DemoResult, to_json
from secagg.demo.scenarios import SCENARIOS
from secagg.demo.schemes import SCHEMES
from secagg.demo.sweep_command import check_axis, sweep_command
from secagg.errors import UsageError
from secagg.extras import require
from secagg.transcript.chain import Transcript

DEFAULT_FOLDER = Path("secagg-demo")
DEFAULTS = DemoConfig()
PRIVATE = PrivateConfig()
QUANTIZATION = "Quantization"
PRIVACY = "Privacy"
SWEEP = "Sweep"
DEFAULT_REPEATS = 3
QUICK_ROUNDS = 8
TRANSCRIPT = "transcript.jsonl"


def demo_command(
    dataset: Annotated[str, typer.Option(help=f"Data set: {' or '.join(DATASET_NAMES)}.")] = DEFAULTS.dataset,
    sites: Annotated[int, typer.Option(help="Hospitals in the consortium, 3 or more.")] = DEFAULTS.sites,
    rounds: Annotated[
        int | None,
        typer.Option(help=f"Rounds of training.  Default: {DEFAULTS.rounds}; {PRIVATE.rounds} with --epsilon."),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            help="Bits of one coordinate on the grid, 1 to 24.  "
            f"Default: {DEFAULTS.bits}; {PRIVATE.bits} with --epsilon."
        ),
    ] = None,
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
    epsilon: Annotated[
        float | None,
        typer.Option(
            help="Train with differential privacy: epsilon that every patient is promised, such as 1.",
            rich_help_panel=PRIVACY,
        ),
    ] = None,
    delta: Annotated[
        float | None, typer.Option(help=f"Delta of the promise.  Default: {PRIVATE.delta:g}.", rich_help_panel=PRIVACY)
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="Whose presence is hidden: patient.", rich_help_panel=PRIVACY)
    ] = None,
    scheme: Annotated[
        str, typer.Option(help=f"How updates are rounded: {', '.join(SCHEMES)}.", rich_help_panel=QUANTIZATION)
    ] = DEFAULTS.scheme,
    updates: Annotated[
        str,
        typer.Option(
            help="What sites send: delta (of the weights) or gradient (of one step).", rich_help_panel=QUANTIZATION
        ),
    ] = DEFAULTS.updates,
    downlink_bits: Annotated[
        int | None,
        typer.Option(
            help="Bits of one coordinate of the model on its way down, 1 to 24.  Default: float32.",
            rich_help_panel=QUANTIZATION,
        ),
    ] = None,
    error_feedback: Annotated[
        bool,
        typer.Option(
            "--error-feedback",
            help="Sites add what quantization left out to their next update.",
            rich_help_panel=QUANTIZATION,
        ),
    ] = False,
    adaptive_clip: Annotated[
        float | None,
        typer.Option(help="Clip norms at this quantile of them, found round by round.", rich_help_panel=QUANTIZATION),
    ] = None,
    adaptive_bits: Annotated[
        str | None,
        typer.Option(
            help="Bits by stage (0:6,10:8,20:12: from round 0, 10 and 20) or by measured error (error:0.001).",
            rich_help_panel=QUANTIZATION,
        ),
    ] = None,
    monitor: Annotated[
        bool,
        typer.Option(help="Report clipped, cut and error of every round, from sums.", rich_help_panel=QUANTIZATION),
    ] = True,
    scenario: Annotated[
        str,
        typer.Option(
            help=f"Precision, speed and link losses of the sites: {', '.join(SCENARIOS)}.  --dropout overrides losses."
        ),
    ] = DEFAULTS.scenario,
    coarser: Annotated[
        int,
        typer.Option(
            help="Half of the hospitals round so many bits more coarsely, on a sub-grid.", rich_help_panel=QUANTIZATION
        ),
    ] = 0,
    sweep: Annotated[
        str | None,
        typer.Option(
            help="Accuracy over a range instead of one run: bits (by scheme), skew, sites or mixed (precision), sums "
            "without masks and one point checked through the protocol; or epsilon, all of it through the protocol.",
            rich_help_panel=SWEEP,
        ),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option("--repeats", "--seeds", help="Seeds of a sweep, from --seed on.", rich_help_panel=SWEEP, min=1),
    ] = DEFAULT_REPEATS,
    drift: Annotated[
        float, typer.Option(help="Share of a site's examples that move to the next site by the last round, 0 to 1.")
    ] = DEFAULTS.drift,
    seed: Annotated[int, typer.Option(help="Fixes data, training and drop-outs; never masks, keys or rounding.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder for report.html, result.json and {TRANSCRIPT}.  Default: {DEFAULT_FOLDER}; none with --json."
        ),
    ] = None,
    processes: Annotated[
        bool, typer.Option("--processes", help="Run every party as a process of its own, over TLS on this machine.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help=f"A first look: {QUICK_ROUNDS} rounds.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Train a model in a consortium of in-process hospitals through the real protocol, and measure it.

    Example: secagg demo --dataset digits --sites 12 --dropout 0.25 --bits 10 --out report

    With privacy for every patient: secagg demo --dataset digits --epsilon 1 --out private
    """
    if quick and rounds is not None:
        raise UsageError("--quick and --rounds both choose the number of rounds: give one of them")
    if epsilon is not None or sweep == "epsilon":
        if sweep is not None:
            check_sweep(sweep, epsilon, dropout)
        check_options(
            {
                "--range": range_ is not None,
                "--scheme": scheme != DEFAULTS.scheme,
                "--updates": updates != DEFAULTS.updates,
                "--downlink-bits": downlink_bits is not None,
                "--error-feedback": error_feedback,
                "--adaptive-clip": adaptive_clip is not None,
                "--adaptive-bits": adaptive_bits is not None,
                "--scenario": scenario != DEFAULTS.scenario,
                "--coarser": coarser != 0,
                "--drift": drift != DEFAULTS.drift,
                "--processes": processes,
            },
            unit,
        )
        private = configured(
            dataset=dataset,
            sites=sites,
            rounds=QUICK_ROUNDS if quick else rounds,
            bits=bits,
            dropout=dropout,
            skew=skew,
            seed=seed,
            epsilon=epsilon,
            delta=delta,
        )
        require("secagg demo", "demo", "sklearn", "matplotlib")
        folder = out if out is not None or json else DEFAULT_FOLDER
        if sweep is not None:
            study_command(private, repeats, folder, json=json)
        else:
            private_command(private, folder, json=json)
        return
    if delta is not None or unit is not None:
        raise UsageError("--delta and --unit belong to a promise: give --epsilon, such as --epsilon 1")
    config = DemoConfig(
        dataset=dataset,
        sites=sites,
        rounds=QUICK_ROUNDS if quick else DEFAULTS.rounds if rounds is None else rounds,
        bits=DEFAULTS.bits if bits is None else bits,
        range=range_,
        dropout=dropout,
        skew=skew,
        seed=seed,
        scheme=scheme,
        updates=updates,
        downlink_bits=downlink_bits,
        error_feedback=error_feedback,
        adaptive_clip=adaptive_clip,
        adaptive_bits=adaptive_bits,
        scenario=scenario,
        drift=drift,
        monitor=monitor,
        coarser=coarser,
    )
    if processes:
        run_as_processes(config, dropout_given=dropout is not None or out is not None or sweep is not None, json=json)
        return
    if sweep is not None:
        check_axis(sweep)
    folder = out if out is not None or json else DEFAULT_FOLDER
    if folder is not None:
        check_writable(folder)
    require("secagg demo", "demo", "torch", "sklearn", "matplotlib")
    if sweep is not None:
        sweep_command(sweep, config, repeats, folder, json=json)
        return
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


def run_as_processes(config: DemoConfig, *, dropout_given: bool, json: bool) -> None:
    """Run the demo as processes over TLS and report.

    Raises:
        UsageError: options that this form of the demo does not have.
    """
    if dropout_given:
        raise UsageError(
            "with --processes nobody is made to vanish and no report is written: leave out --dropout, --out"
        )
    require("secagg demo", "demo,server", "torch", "sklearn", "starlette", "uvicorn", "safetensors")
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
