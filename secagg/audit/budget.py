"""Rule T25: the privacy budget, as far as public records tell."""

from __future__ import annotations

import math
from collections.abc import Iterator

from secagg.audit.reading import StudyRecords
from secagg.audit.verdicts import Finding, Rule, Verdict
from secagg.transcript import records as r


def check_budget(found: StudyRecords) -> Iterator[Finding]:
    """Epsilon is charged in every round that opened a sum, never falls, and is one statement throughout.

    That the mechanism named gives this epsilon is for an accountant: see ``secagg attack --only epsilon``.
    """
    opened = [one for one in found.rounds if one.opened]
    spent = [(one, spend) for one in opened if (spend := one.get(r.Spend)) is not None]
    if not spent:
        yield Finding(Rule.BUDGET, Verdict.UNCHECKABLE, "no noise, so no epsilon is claimed: see the residual risks")
        return
    before = 0.0
    first = spent[0][1]
    for one, spend in spent:
        wrong = []
        numbers = (spend.epsilon, spend.total, spend.delta)
        if not all(math.isfinite(value) and value >= 0 for value in numbers) or not 0 < spend.delta < 1:
            wrong.append("epsilon and delta are no privacy budget")
        if (spend.unit, spend.adjacency, spend.delta) != (first.unit, first.adjacency, first.delta):
            wrong.append("unit, adjacency or delta changed during the study")
        if spend.total < before or spend.total < spend.epsilon:
            wrong.append("the total fell, or is below what the round spent")
        # Adding epsilons up is the worst composition there is: no accountant may come out above it.
        if spend.total > before + spend.epsilon + 1e-9:
            wrong.append("the total grew by more than the round spent")
        before = spend.total
        evidence = (
            f"{spend.epsilon:.3g} in the round, {spend.total:.3g} in total, delta {spend.delta:g}, unit {spend.unit}"
        )
        yield one.judge(Rule.BUDGET, wrong, evidence, r.Spend)
    uncharged = [one for one in opened if r.Spend not in one.records]
    if uncharged:
        yield uncharged[0].say(Rule.BUDGET, Verdict.BROKEN, "a sum was opened and nothing was charged", r.Opened)
