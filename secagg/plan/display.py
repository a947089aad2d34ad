"""What ``secagg plan`` shows: the alternatives in one field width, and the best of each width."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console

import quant
from secagg import theme
from secagg.plan.goal import Decision
from secagg.plan.tuning import Tuned


def show(decision: Decision, present: quant.Setting | None, console: Console) -> None:
    """Print what was known, what everything would cost, and what was chosen."""
    goal, found = decision.goal, decision.plan
    known = goal.updates
    console.print(
        f"{goal.clients} clients, {known.dim:,} coordinates, updates of norm {known.norm:.4g} that agree by "
        f"{known.agreement:.0%}" + ("" if known.spread else " (the worst case: no sample was given)")
    )
    console.print(f"wanted: {goal.target}")
    _table("in the chosen field, or with coordinates left out", found.alternatives[:12], decision, console)
    _table("the best of other field widths", decision.widths, decision, console)
    if present is not None:
        _table("the study's present setting", [present], decision, console)
    if not found.feasible:
        console.print(f"[{theme.VERMILION}]infeasible[/]: {found.reason}", markup=True)
        console.print("the marked setting is the nearest that is feasible")
    else:
        console.print(
            f"[{theme.GREEN}]chosen[/]: {describe(found.best)}, {_of_float32(found.best, known.dim)}", markup=True
        )


def _table(title: str, settings: Iterable[quant.Setting], decision: Decision, console: Console) -> None:
    columns = (
        "",
        "wire\nbits",
        "levels",
        "range",
        "codec",
        "kept",
        "error",
        "saturated",
        "bytes",
        "of\nfloat32",
    )
    table = theme.table(title, *columns)
    for setting in settings:
        chosen = setting == decision.plan.best
        table.add_row(
            ">" if chosen else "",
            str(setting.width),
            f"{setting.levels:,}",
            f"{setting.range:.4g}",
            codec_name(setting),
            "all" if setting.kept is None else f"{setting.kept:,}",
            f"{setting.error:.3g}",
            f"{setting.saturated:.1e}",
            theme.human_bytes(setting.wire_bytes),
            f"{setting.wire_bytes / (4 * decision.goal.updates.dim):.0%}",
            style="bold" if chosen else None,
        )
    console.print(theme.fitted(table, console))


def codec_name(setting: quant.Setting) -> str:
    """Name the stages that matter."""
    return f"rotation + {setting.rounding}" if setting.rotation else setting.rounding


def describe(setting: quant.Setting) -> str:
    """Say a setting in one line."""
    kept = "" if setting.kept is None else f", {setting.kept:,} coordinates kept"
    return f"{codec_name(setting)}, {setting.levels:,} levels on +-{setting.range:.4g} in {setting.width} bits{kept}"


def _of_float32(setting: quant.Setting, dim: int) -> str:
    share = setting.wire_bytes / (4 * dim)
    return f"error {setting.error:.3g}, {theme.human_bytes(setting.wire_bytes)} a round, {share:.0%} of float32"


def show_tuned(tuned: Tuned, console: Console) -> None:
    """Print the trials that nothing beats, and which of them is taken."""
    table = theme.table(
        f"{len(tuned.trials)} trials; plain float averaging reaches {tuned.plain:.4f}",
        *("", "codec", "wire bits", "accuracy", "against float", "bytes"),
    )
    for trial in tuned.front:
        table.add_row(
            ">" if trial == tuned.best else "",
            trial.codec,
            ", ".join(str(bits) for bits in trial.wire_bits),
            f"{trial.accuracy:.4f}",
            f"{100 * (trial.accuracy - tuned.plain):+.2f} points",
            theme.human_bytes(trial.wire_bytes),
            style="bold" if trial == tuned.best else None,
        )
    console.print(table)


def to_json(decision: Decision, present: quant.Setting | None) -> dict[str, Any]:
    """Give everything that `show` prints, as plain values."""
    goal, found = decision.goal, decision.plan
    return {
        "feasible": found.feasible,
        "reason": found.reason,
        "clients": goal.clients,
        "dim": goal.updates.dim,
        "norm": goal.updates.norm,
        "agreement": goal.updates.agreement,
        "target": {"wire_bits": goal.wire_bits, "error": goal.error, "bytes": goal.wire_bytes},
        "chosen" if found.feasible else "nearest": _plain(found.best),
        "quantization": decision.quantization,
        "alternatives": [_plain(setting) for setting in found.alternatives],
        "widths": [_plain(setting) for setting in decision.widths],
        "present": None if present is None else _plain(present),
    }


def _plain(setting: quant.Setting) -> dict[str, Any]:
    return {
        "wire_bits": setting.width,
        "levels": setting.levels,
        "range": setting.range,
        "rounding": setting.rounding,
        "rotation": setting.rotation,
        "kept": setting.kept,
        "error": setting.error,
        "saturated": setting.saturated,
        "bytes": setting.wire_bytes,
    }
