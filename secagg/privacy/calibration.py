"""From a promise to the noise that keeps it, or to the reason why none does.

The noise of the honest survivors is what counts. With at least n_min survivors, c of them colluding, every site adds
1 / (n_min - c) of the variance. (``quant.noise`` removes the excess after fewer drop-outs and keeps the honest
survivors' sum at the same target.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from secagg.privacy import normal_scores
from secagg.privacy.errors import PrivacyInputError
from secagg.privacy.gaussian import check_delta
from secagg.privacy.mechanism import Claim, Cost, DiscreteGaussianNoise, Noise, Sampling, SkellamNoise, claim, release
from secagg.privacy.sensitivity import Sensitivity

PRECISION = 1e-9
"""Relative width of the bracket at which the search for the variance ends; its upper end is taken."""

DEFAULT_MAX_VARIANCE = 2.0**40


class Law(StrEnum):
    """Family of the noise."""

    SKELLAM = "skellam"
    DISCRETE_GAUSSIAN = "discrete gaussian"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is to be promised, and what must be survived.

    Attributes:
        epsilon: largest epsilon after all releases.
        delta: the delta of the promise.
        releases: number of releases (rounds) that it covers.
        least_survivors: n_min, with fewer survivors a round gives no sum.
        colluders: c, members assumed to add no noise; at least 1, for whoever sees the sum knows its own share.
        sampling: how patients are drawn per release; None for everybody.

    Raises:
        PrivacyInputError: numbers out of range.
    """

    epsilon: float
    delta: float
    releases: int
    least_survivors: int
    colluders: int = 1
    sampling: Sampling | None = None

    def __post_init__(self) -> None:
        """Refuse what is no goal."""
        check_delta(self.delta)
        if not 0 < self.epsilon < math.inf:
            raise PrivacyInputError(f"epsilon is a positive number, not {self.epsilon!r}")
        if self.releases < 1 or self.least_survivors < 1:
            raise PrivacyInputError("a goal has at least one release and one survivor")
        if self.colluders < 1:
            raise PrivacyInputError(
                "at least one colluder is assumed: every site that sees the sum knows its own noise"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Noise that keeps the promise.

    Attributes:
        law: family of the noise.
        variance: of the honest survivors' total per coordinate, squared grid steps.
        share: of one site: variance / (n_min - c), rounded up.
        cost: of one release.
        claim: what holds after all releases; its epsilon is at most the goal's.
    """

    law: Law
    variance: float
    share: float
    cost: Cost
    claim: Claim

    @property
    def sigma(self) -> float:
        """Standard deviation of the honest survivors' total, grid steps."""
        return math.sqrt(self.variance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasible:
    """No noise keeps the promise.

    Attributes:
        reason: what stands in the way and what would help, one sentence.
        nearest: the smallest epsilon within reach, with its noise, if a larger one would do.
    """

    reason: str
    nearest: Calibration | None = None

    def __bool__(self) -> bool:
        """Infeasible is false, so ``if found:`` reads as it should."""
        return False


def calibrate(
    goal: Goal,
    sensitivity: Sensitivity,
    law: Law = Law.SKELLAM,
    *,
    max_variance: float = DEFAULT_MAX_VARIANCE,
) -> Calibration | Infeasible:
    """Find the least noise that keeps ``goal``, by bisection between proven ends.

    Args:
        goal: what is to be promised.
        sensitivity: of the released integers.
        law: family of the noise.
        max_variance: largest variance of the honest total that fields or samplers have room for.

    Returns:
        The noise, its variance within 10^-9 of the least, or what makes it impossible. Grids so coarse that less than
        one squared step of variance would do get one squared step.
    """
    honest = goal.least_survivors - goal.colluders
    if honest < 1:
        return Infeasible(
            reason=f"{goal.colluders} colluders among {goal.least_survivors} survivors leave nobody's noise "
            f"to count on; at least {goal.colluders + 1} survivors are needed"
        )
    failures = goal.releases * sensitivity.failure
    if failures >= goal.delta:
        return Infeasible(
            reason=f"bounds that may fail use {failures:.3g}, all of delta {goal.delta:.3g}; "
            f"take a larger delta or a smaller beta than {sensitivity.failure:.3g}"
        )
    low, high = (
        honest * normal_scores.MIN_VARIANCE if law is Law.DISCRETE_GAUSSIAN else normal_scores.MIN_VARIANCE,
        max_variance,
    )
    if high < low:
        return Infeasible(
            reason=f"there is room for noise of variance {high:.4g} squared grid steps only, and no claim is made "
            f"below {low:g}; take a finer grid"
        )
    found = _at(high, goal, sensitivity, law, honest)
    if found.claim.epsilon > goal.epsilon:
        return Infeasible(
            reason=f"epsilon {goal.epsilon:g} needs more noise than the variance {max_variance:.4g} squared grid steps "
            f"that there is room for, which gives {found.claim.epsilon:.4g}; take wider fields or a coarser grid, "
            "fewer releases, or more survivors",
            nearest=found,
        )
    least = _at(low, goal, sensitivity, law, honest)
    if least.claim.epsilon <= goal.epsilon:
        return least
    while high > low * (1 + PRECISION):
        middle = math.sqrt(low * high)
        tried = _at(middle, goal, sensitivity, law, honest)
        if tried.claim.epsilon <= goal.epsilon:
            found, high = tried, middle
        else:
            low = middle
    return found


def noise_of(law: Law, variance: float, honest: int) -> Noise:
    """Return the law of the honest survivors' total: ``honest`` equal shares of ``variance`` in all.

    Raises:
        PrivacyInputError: noise for which no claim is made.
    """
    if law is Law.SKELLAM:
        return SkellamNoise(variance)
    return DiscreteGaussianNoise((variance / honest,) * honest)


def _at(variance: float, goal: Goal, sensitivity: Sensitivity, law: Law, honest: int) -> Calibration:
    cost = release(noise_of(law, variance, honest), sensitivity, goal.sampling)
    return Calibration(
        law=law,
        variance=variance,
        share=math.nextafter(variance / honest, math.inf),
        cost=cost,
        claim=claim(cost.times(goal.releases), sensitivity, goal.delta),
    )
