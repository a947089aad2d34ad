"""How many drop-outs and colluders a cohort tolerates, and how many inputs stay hidden: the table for people."""

from __future__ import annotations

from dataclasses import dataclass

from protocols import ParameterError
from protocols.pairwise.params import Adversary, default_threshold


@dataclass(frozen=True)
class Tolerance:
    """What one cohort size gives.

    Attributes:
        sites: number of sites in a round.
        threshold: sites that must stay to the end.
        dropouts: sites that may vanish.
        hidden: honest inputs that nobody can tell apart in the sum, at the least.
    """

    sites: int
    threshold: int
    dropouts: int
    hidden: int


def tolerance(sites: int, adversary: Adversary, colluders: int) -> Tolerance | None:
    """Return what ``sites`` sites tolerate, or ``None`` if so few protect nobody."""
    try:
        threshold = default_threshold(sites, adversary, colluders)
    except ParameterError:
        return None
    return Tolerance(sites, threshold, sites - threshold, threshold - max(colluders, 1))


COHORTS = range(3, 21)
"""Cohort sizes that the table shows."""
