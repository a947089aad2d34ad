"""What an attack came to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """How an attack ends under a configuration."""

    STOPPED = "stopped"
    NOT_APPLICABLE = "not applicable"
    POSSIBLE = "possible"


@dataclass(frozen=True)
class Result:
    """One attack's end.

    Attributes:
        number: in the list of the field's attacks (SECURITY.md), 0 for leaks of the grid.
        name: of the attack.
        outcome: how it ended.
        by: the rule or property that stopped it, or how far it got.
        change: what to change where it is possible, else empty.
        curve: (x, y) of a plot, where the attack has one.
    """

    number: int
    name: str
    outcome: Outcome
    by: str
    change: str = ""
    curve: tuple[tuple[float, float], ...] = ()


def worst(results: list[Result]) -> Result:
    """Return the result that counts for an attack of several forms: possible before stopped before not applicable."""
    order = (Outcome.POSSIBLE, Outcome.STOPPED, Outcome.NOT_APPLICABLE)
    first = min(results, key=lambda result: order.index(result.outcome))
    stops = dict.fromkeys(result.by for result in results if result.outcome is first.outcome)
    return Result(first.number, first.name, first.outcome, "; ".join(stops), first.change)
