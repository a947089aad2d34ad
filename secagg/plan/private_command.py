"""What ``secagg plan --epsilon`` reads and shows."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Mapping

from rich.console import Console

from secagg import theme
from secagg.errors import UsageError
from secagg.plan.private import PrivateDecision, PrivateGoal, decide_private
from secagg.privacy import Law, Unit

DEFAULT_DELTA = 1e-5
DEFAULT_ROUNDS = 20


def check_options(given: Mapping[str, bool]) -> None:
    """Refuse options that planning for privacy does not have.

    Raises:
        UsageError: naming the first of them.
    """
    for option, said in given.items():
        if said:
            raise UsageError(
                f"with --epsilon there is no {option}: noise and grid follow from the promise and the clip"
            )


def goal_of(
    *,
    epsilon: float,
    delta: float | None,
    rounds: int | None,
    clients: int,
    dim: int | None,
    clip: float | None,
    patients: int | None,
    dropouts: int | None,
    colluders: int,
    unit: str,
    law: str,
) -> PrivateGoal:
    """Build the goal from the options.

    Raises:
        UsageError: one is missing, or makes no study.
    """
    if dim is None or clip is None:
        raise UsageError("--epsilon needs --dim and --clip: noise is sized for the clip")
    try:
        units, laws = Unit(unit), Law(law.replace("-", " "))
    except ValueError:
        raise UsageError(f"--unit is patient or site, --law is {' or '.join(Law)}, not {unit!r} and {law!r}") from None
    return PrivateGoal(
        epsilon=epsilon,
        delta=DEFAULT_DELTA if delta is None else delta,
        rounds=DEFAULT_ROUNDS if rounds is None else rounds,
        clients=clients,
        dim=dim,
        clip=clip,
        patients=patients or 0,
        dropouts=dropouts,
        colluders=colluders,
        unit=units,
        law=laws,
    )


def private_plan(goal: PrivateGoal, wire_bits: int | None, *, json: bool) -> int:
    """Decide and show; gives the exit code, 1 if nothing keeps the promise."""
    decision = decide_private(goal, wire_bits)
    if json:
        sys.stdout.write(jsonlib.dumps(decision.to_json()) + "\n")
    else:
        _show(decision, theme.output())
    return 0 if decision.chosen is not None else 1


def _show(decision: PrivateDecision, console: Console) -> None:
    goal, chosen = decision.goal, decision.chosen
    of_whom = f"{goal.patients:,} patients of {goal.clients} sites" if goal.patients else f"{goal.clients} sites"
    console.print(
        f"{of_whom}, {goal.dim:,} coordinates, every {goal.unit} clipped to {goal.clip:g}: epsilon {goal.epsilon:g}, "
        f"delta {goal.delta:g} after {goal.rounds} rounds"
    )
    console.print(
        f"survives {goal.most_dropouts} drop-outs a round (threshold {goal.promise.least_survivors}); "
        f"{goal.colluders} colluding add no noise"
    )
    _table(decision, console)
    if chosen is None:
        console.print(f"[{theme.VERMILION}]infeasible[/]: {decision.reason}", markup=True)
        console.print("next: secagg plan with other numbers")
        return
    fitted = chosen.fitted
    console.print(
        f"[{theme.GREEN}]chosen[/]: {fitted.privacy.law} noise of sigma {fitted.sigma:.4g} in the sum "
        f"({fitted.calibration.sigma:,.0f} steps), {chosen.levels:,} levels on +-{fitted.quantization['range']:.4g} in "
        f"fields of {fitted.width} bits",
        markup=True,
    )
    console.print(
        f"the mean of {goal.members:,} {goal.unit}s is off by {chosen.deviation() / goal.members:.3g} per coordinate "
        f"(standard deviation, noise and rounding), {100 * (chosen.ratio() - 1):.1f} % more than the analytic Gaussian "
        f"of a trusted server ({goal.central_sigma / goal.members:.3g}); with {goal.most_dropouts} dropping "
        f"{100 * (chosen.ratio(goal.most_dropouts) - 1):.1f} %"
    )
    console.print(f"claim: {fitted.claim}")
    console.print("for study.toml, which then has no [quantization]:", style="bold", markup=False)
    for line in _toml(decision):
        console.print(line, markup=False)
    console.print("next: secagg demo --epsilon trains with such noise; sites review it before they use data")


def _table(decision: PrivateDecision, console: Console) -> None:
    most = decision.goal.most_dropouts
    rows = theme.table(
        "",
        *("", "wire bits", "levels", "step", "sigma in steps", "sensitivity", "sigma", "error / trusted"),
        f"with {most} dropping",
    )
    for choice in decision.nearby:
        picked = decision.chosen is not None and choice.fitted.width == decision.chosen.fitted.width
        rows.add_row(
            ">" if picked else "",
            str(choice.fitted.width),
            f"{choice.levels:,}",
            f"{choice.fitted.step:.3g}",
            f"{choice.fitted.calibration.sigma:,.1f}",
            f"x {choice.inflation**0.5:.3f}",
            f"{choice.fitted.sigma:.4g}",
            f"{choice.ratio():.3f}",
            f"{choice.ratio(most):.3f}",
            style="bold" if picked else None,
        )
    if decision.nearby:
        console.print(rows)


def _toml(decision: PrivateDecision) -> list[str]:
    tables: dict[str, Mapping[str, object]] = {
        "privacy": decision.privacy_table,
        "protocol": decision.protocol_table,
        "training": {"rounds": decision.goal.rounds},
    }
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    return lines


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else repr(value)
