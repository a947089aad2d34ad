"""The ``secagg attack`` command."""

from __future__ import annotations

import json as jsonlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from secagg import theme
from secagg.attack import canaries, epsilon
from secagg.attack.catalogue import run_all
from secagg.attack.outcomes import Outcome, Result
from secagg.attack.report import attack_html, show
from secagg.attack.setting import Setting, read_setting
from secagg.errors import UsageError

LAST = 100
LEAST_RELEASES = 1000
PARTS = ("protocol", "sum", "grid", "epsilon")


def attack_command(
    configuration: Annotated[Path | None, typer.Argument(help="TOML; without it, options and defaults.")] = None,
    clients: Annotated[int | None, typer.Option(help="Number of sites.")] = None,
    threshold: Annotated[int | None, typer.Option(help="Least number of sites that must stay.")] = None,
    adversary: Annotated[str | None, typer.Option(help="The server to withstand: curious or active.")] = None,
    protocol: Annotated[str | None, typer.Option(help="secagg or secagg+.")] = None,
    corrupt: Annotated[int | None, typer.Option(help="Sites that collude with the server.")] = None,
    noise: Annotated[float | None, typer.Option(help="Noise in the sum, over one site's clip.")] = None,
    only: Annotated[str | None, typer.Option(help=f"A part of the catalogue: {', '.join(PARTS)}.")] = None,
    claim: Annotated[float, typer.Option(help="With --only epsilon: what the mechanism is calibrated for.")] = 1.0,
    releases: Annotated[int, typer.Option(help="With --only epsilon: releases of each world.")] = epsilon.RELEASES,
    sigma: Annotated[float, typer.Option(help="With --only epsilon: the noise over the calibrated one.")] = 1.0,
    clip: Annotated[float, typer.Option(help="With --only epsilon: the clip over the agreed one.")] = 1.0,
    html: Annotated[Path | None, typer.Option(help="Write a report with plots here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run the catalogue of attacks against a configuration: stopped by which rule, or possible and what to change.

    Example: secagg attack study.toml --html attack.html
    """
    if only is not None and only not in PARTS:
        raise UsageError(f"the catalogue has no part {only!r}; its parts are {', '.join(PARTS)}")
    told: dict[str, Any] = {
        "clients": clients,
        "threshold": threshold,
        "adversary": adversary,
        "protocol": protocol,
        "colluders": corrupt,
        "noise_multiplier": noise,
    }
    given = {name: value for name, value in told.items() if value is not None}
    setting = Setting(**given) if configuration is None else read_setting(configuration, **given)
    if only == "epsilon":
        if not (claim > 0 and sigma > 0 and clip > 0) or releases < LEAST_RELEASES:
            raise UsageError(f"--claim, --sigma and --clip are above 0, --releases is {LEAST_RELEASES} or more")
        weakness = epsilon.Weakness(sigma, clip)
        results = [
            *epsilon.run_all(setting, claim, releases, weakness),
            *canaries.run_all(setting, claim, weakness),
        ]
    else:
        results = _run(setting, only or "", quiet=json)
    if html is not None:
        try:
            html.write_text(attack_html(setting, results), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {str(html)!r}: {error.strerror or error}") from None
    if json:
        sys.stdout.write(jsonlib.dumps(to_json(setting, results)) + "\n")
        return
    console = theme.output()
    show(setting, results, console)
    console.print("next: change what is possible, then secagg audit checks what a study really did")


def _run(setting: Setting, only: str, *, quiet: bool) -> list[Result]:
    results = []
    with theme.progress(shown=not quiet and sys.stderr.isatty()) as progress:
        task = progress.add_task("attacking", total=None)
        for result in run_all(setting, only):
            results.append(result)
            progress.update(task, advance=1, description=result.name)
    return sorted(results, key=lambda result: result.number or LAST)


def to_json(setting: Setting, results: list[Result]) -> dict[str, Any]:
    """Return the results as plain JSON types."""
    return {
        "setting": {**asdict(setting), "clear": list(setting.clear)},
        "possible": sum(result.outcome is Outcome.POSSIBLE for result in results),
        "attacks": [
            {
                "number": result.number,
                "attack": result.name,
                "outcome": result.outcome.value,
                "by": result.by,
                "change": result.change,
                **({"curve": [list(point) for point in result.curve]} if result.curve else {}),
            }
            for result in results
        ],
    }
