"""``secagg status``: what a site did in a study, read from its own journal; it may be running meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from secagg import theme
from secagg.privacy import Ledger
from secagg.site.site_round import RoundState
from secagg.site.store import SiteStore
from secagg.study.definition import Study
from secagg.study.policy import PrivacyBudget
from secagg.study.receipt import SignedReceipt, is_valid
from secagg.study.rounds import Validation


def history(study: Study, site: int, folder: Path, budget: PrivacyBudget | None, beside: Path) -> dict[str, Any]:
    """Return receipts and the round in progress, as JSON-able values.

    Args:
        study: which one.
        site: this site.
        folder: of its state.
        budget: of its data, if its policy has one.
        beside: the policy's folder, where the privacy ledger is.

    Raises:
        UsageError: the state cannot be read.
    """
    store = SiteStore(folder)
    try:
        state = store.fact("round")
        current = None if state is None else msgspec.msgpack.decode(state, type=RoundState).offer.round + 1
        signed = [msgspec.json.decode(data, type=SignedReceipt) for data in store.receipts()]
        contributed = sum(entry.said == "input" for entry in store.entries())
    finally:
        store.close()
    return {
        "study": study.name,
        "site": site,
        "in_round": current,
        "masked_inputs_sent": contributed,
        "rounds": [_round(study, site, one) for one in signed],
        "answers": next((one.receipt.answers for one in reversed(signed) if one.receipt.answers), None),
        "privacy": None if budget is None else _privacy(budget, beside),
    }


def _privacy(budget: PrivacyBudget, beside: Path) -> dict[str, Any]:
    """Read what this site's data have cost so far, in all studies."""
    facts = {"cohort": budget.cohort, "budget": budget.epsilon, "delta": budget.delta, "unit": budget.unit}
    if not (beside / budget.ledger).exists():
        return facts | {"spent": 0.0}
    with Ledger(beside / budget.ledger) as ledger:
        spent = ledger.epsilon(budget.cohort) if budget.cohort in ledger.cohorts() else 0.0
    return facts | {"spent": spent}


def _round(study: Study, site: int, signed: SignedReceipt) -> dict[str, Any]:
    said = signed.receipt
    judged = Validation(said.counters)
    return {
        "round": said.round + 1,
        "outcome": said.outcome,
        "sites": len(said.included),
        "included": site in said.included,
        "accuracy": judged.accuracy,
        "loss": judged.loss,
        "reason": said.reason,
        # Receipts of an earlier roster were signed for that study file.
        "signed_for_this_study": is_valid(study, signed),
    }


def show(told: dict[str, Any], console: Console) -> None:
    """Show a history as a table."""
    table = theme.table(
        f"{told['study']}, site {told['site']}", "round", "outcome", "sites in the sum", "this site", "accuracy", "loss"
    )
    for entry in told["rounds"]:
        figures = [f"{entry[name]:.4f}" if entry[name] is not None else "-" for name in ("accuracy", "loss")]
        mine = "included" if entry["included"] else "not included"
        table.add_row(str(entry["round"]), entry["outcome"], str(entry["sites"]), mine, *figures)
    console.print(table)
    if (privacy := told["privacy"]) is not None:
        console.print(
            f"cohort {privacy['cohort']!r}: epsilon {privacy['spent']:.4f} of {privacy['budget']:g} is spent, in all "
            f"studies (delta {privacy['delta']:g}, unit {privacy['unit']})"
        )
    for answer in (told["answers"] or {}).get("answers", ()):
        values = ", ".join(f"{label} {value['value']}" for label, value in answer["values"].items())
        console.print(f"{answer['name']}: {values}")
    now = f"in round {told['in_round']}" if told["in_round"] else "in no round"
    console.print(f"now {now}; {told['masked_inputs_sent']} masked inputs were sent in all")
