"""How wide fields must be for a grid to cost next to nothing: for sums of few coordinates, where bits are cheap."""

from __future__ import annotations

import math
from dataclasses import replace

from secagg.privacy.calibration import Goal, Infeasible, calibrate
from secagg.privacy.sensitivity import BETA, of_patient, rounded

SLACK = 0.02
"""Most that rounding may add to the variance of the noise, as a fraction."""

MOST_WIDTH = 56
"""Widest field that ``fit`` takes."""

_FINE = 1 << 20


def width_for(
    goal: Goal, *, clients: int, dim: int, patients: int, beta: float = BETA, slack: float = SLACK
) -> int | Infeasible:
    """Return the width of fields, for ``fit`` without rotation, in which rounding adds ``slack`` to the noise at most.

    Unit patient, sums that never saturate: each site's range is ``patients`` times the clip.

    Args:
        goal: what is promised.
        clients: invited sites.
        dim: coordinates.
        patients: most patients of a site, public.
        beta: failure probability of a rounded norm, per release.
        slack: fraction of the variance that rounding may add, beyond what the widest field allows.

    Returns:
        Bits, at most `MOST_WIDTH`; or why no noise keeps the goal.
    """
    unrounded = replace(of_patient(_FINE**2, dim), failure=beta)
    needed = calibrate(goal, unrounded, max_variance=2.0**80)
    if isinstance(needed, Infeasible):
        return needed
    length = 1
    while rounded(length**2 * _FINE**2, dim, _FINE, beta)[0] > (1 + slack) * length**2 and length < 1 << 40:
        length *= 2
    honest = goal.least_survivors - goal.colluders
    reach = 16 * needed.sigma / _FINE * math.sqrt(clients / honest)
    span = 2 * length * (clients * patients + reach)
    return min(math.ceil(math.log2(span)) + 1, MOST_WIDTH)
