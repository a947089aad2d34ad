"""What one release costs, what several cost together, and the sentence that is claimed for them.

A `Cost` is the sum of three things: the squared Gaussian parameter m^2 (normal-score increments), a Renyi curve, and
the probability that a bound fails. All three add up over releases, adaptively chosen ones included, so a cost can be
written down and added to later. Epsilon is computed from it once a delta is named, by whichever proof gives less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from secagg.privacy import gaussian, normal_scores, renyi
from secagg.privacy.errors import PrivacyInputError
from secagg.privacy.renyi import Curve
from secagg.privacy.sensitivity import Relation, Sensitivity, Unit

NO_CURVE: Curve = (0.0,) * len(renyi.ORDERS)


class Noise(Protocol):
    """The law of the honest survivors' summed noise, per coordinate."""

    @property
    def variance(self) -> float:
        """Its variance (for discrete Gaussians: the sum of their parameters), squared grid steps."""
        ...

    def scale(self) -> float:
        """Return c: neighbours at Euclidean distance l2 are c l2-Gaussian-DP apart."""
        ...

    def curve(self, sensitivity: Sensitivity) -> Curve:
        """Return the Renyi curve proven for this law without the Gaussian claim."""
        ...


@dataclass(frozen=True, slots=True)
class SkellamNoise:
    """Skellam noise; sums of independent shares are Skellam again, so only the total matters.

    Args:
        variance: of the honest survivors' total, squared grid steps.

    Raises:
        PrivacyInputError: a variance below 1 or beyond 2^100.
    """

    variance: float

    def __post_init__(self) -> None:
        """Refuse what no claim is made for."""
        self.scale()

    def scale(self) -> float:
        """Return c of theorem 3."""
        return normal_scores.skellam_scale(float(self.variance))

    def curve(self, sensitivity: Sensitivity) -> Curve:
        """Return the curve of Agarwal, Kairouz and Liu 2021."""
        return renyi.skellam(sensitivity.l2, sensitivity.l1, float(self.variance))


@dataclass(frozen=True, slots=True)
class DiscreteGaussianNoise:
    """A sum of independent discrete Gaussians, which is treated as the law that it is.

    Args:
        shares: parameters sigma^2 of the honest survivors' shares (and components), squared grid steps, each 1 or more.

    Raises:
        PrivacyInputError: no shares, or a parameter below 1 or beyond 2^100.
    """

    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what no claim is made for."""
        object.__setattr__(self, "shares", tuple(float(share) for share in self.shares))
        self.scale()

    @property
    def variance(self) -> float:
        """Sum of the parameters."""
        return math.fsum(self.shares)

    def scale(self) -> float:
        """Return c of theorem 2, or of theorem 3 for one share."""
        return normal_scores.discrete_gaussian_sum_scale(self.shares)

    def curve(self, sensitivity: Sensitivity) -> Curve:
        """Return the curve of Kairouz, Liu and Steinke 2021, gap included."""
        return renyi.discrete_gaussian_sum(sensitivity.l2, sensitivity.l1, sensitivity.dim, self.shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Each patient takes part in a release with a probability, by secret coins of their own site.

    Args:
        rate: probability to take part, above 0 and at most 1.
        independent: whether every patient's coin is independent of all others and fresh for each release (Poisson
            sampling). Shuffled batches of a fixed size, or whole sites that take turns, are not.
        secret: whether nobody outside of the site learns who was drawn, batch sizes included.

    Raises:
        PrivacyInputError: a rate out of range, or sampling that amplifies nothing.
    """

    rate: float
    independent: bool
    secret: bool

    def __post_init__(self) -> None:
        """Refuse amplification that is none."""
        if not 0 < self.rate <= 1:
            raise PrivacyInputError(f"a sampling rate is above 0 and at most 1, not {self.rate!r}")
        if not (self.independent and self.secret):
            raise PrivacyInputError(
                "sampling amplifies privacy only if each patient is drawn by an independent coin that stays secret; "
                "leave the sampling out of the accounting (as if everybody took part)"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What releases cost so far; costs add up.

    Attributes:
        gaussian: sum of m^2; infinite once a release has no Gaussian claim.
        curve: sum of Renyi curves at ``renyi.ORDERS``.
        failure: sum of failure probabilities; every claim adds it to its delta.
        releases: how many releases were added up.
    """

    gaussian: float = 0.0
    curve: Curve = field(default=NO_CURVE, repr=False)
    failure: float = 0.0
    releases: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no cost.

        Raises:
            PrivacyInputError: a negative number, NaN, or a curve of another length.
        """
        if len(self.curve) != len(renyi.ORDERS) or not all(value >= 0 for value in self.curve):
            raise PrivacyInputError(f"a Renyi curve has {len(renyi.ORDERS)} non-negative values")
        if not (self.gaussian >= 0 and self.failure >= 0 and self.releases >= 0):
            raise PrivacyInputError("costs are non-negative")

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            gaussian=_up(self.gaussian + other.gaussian)
            if self.gaussian and other.gaussian
            else self.gaussian or other.gaussian,
            curve=renyi.add(self.curve, other.curve),
            failure=_up(self.failure + other.failure)
            if self.failure and other.failure
            else self.failure or other.failure,
            releases=self.releases + other.releases,
        )

    def times(self, count: int) -> Cost:
        """Return the cost of ``count`` releases like this one."""
        if count < 0:
            raise PrivacyInputError(f"a number of releases is not negative, unlike {count}")
        return Cost(
            gaussian=_up(self.gaussian * count) if count else 0.0,
            curve=renyi.times(self.curve, count) if count else NO_CURVE,
            failure=_up(self.failure * count) if self.failure and count else 0.0,
            releases=self.releases * count,
        )

    def epsilon(self, delta: float) -> tuple[float, str]:
        """Return (epsilon, ``"gaussian"`` or ``"renyi"``) at ``delta``; infinite if failures use up delta."""
        left = delta - self.failure
        gaussian.check_delta(delta)
        if left <= gaussian.LEAST_DELTA:
            return math.inf, "gaussian"
        by_gaussian = gaussian.epsilon(left, _root(self.gaussian)) if math.isfinite(self.gaussian) else math.inf
        by_renyi = renyi.epsilon(self.curve, left) if self.releases else 0.0
        return (by_gaussian, "gaussian") if by_gaussian <= by_renyi else (by_renyi, "renyi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is promised, with everything that the promise depends on.

    Attributes:
        epsilon: privacy loss, rounded up.
        delta: probability, failures of bounds included.
        unit: whose data are hidden.
        relation: what neighbours are.
        releases: how many releases the claim covers.
        method: the proof that gave it, ``"gaussian"`` or ``"renyi"``.
        failure: the part of delta that pays for bounds that may fail.
    """

    epsilon: float
    delta: float
    unit: Unit
    relation: Relation
    releases: int
    method: str
    failure: float

    def __str__(self) -> str:
        """One sentence."""
        return (
            f"({self.epsilon:.4g}, {self.delta:.3g})-differential privacy for one {self.unit} "
            f"(neighbours: {self.relation}) over {self.releases} releases"
        )


def release(noise: Noise, sensitivity: Sensitivity, sampling: Sampling | None = None) -> Cost:
    """Return the cost of releasing one sum.

    Args:
        noise: the law of the *honest survivors'* noise: without drop-outs and colluders.
        sensitivity: of the integers in the sum.
        sampling: how patients were drawn; None if everybody took part.

    Raises:
        PrivacyInputError: sampling of sites (a dozen sites that all see the schedule are no population), or neighbours
            that are replaced (the bound for samples is proven for adding and removing).
    """
    m = _up(noise.scale() * sensitivity.l2)
    if sampling is None or sampling.rate == 1:
        curve = tuple(map(min, renyi.gaussian(m), noise.curve(sensitivity)))
        return Cost(gaussian=_up(m * m), curve=curve, failure=sensitivity.failure, releases=1)
    if sensitivity.unit is not Unit.PATIENT or sensitivity.relation is not Relation.ADD_REMOVE:
        raise PrivacyInputError("sampling amplifies for unit patient and relation 'add or remove' only; leave it out")
    curve = tuple(map(min, renyi.sampled_gaussian(m, sampling.rate), renyi.gaussian(m)))
    return Cost(gaussian=_up(m * m), curve=curve, failure=sensitivity.failure, releases=1)


def largest(costs: Sequence[Cost]) -> Cost:
    """Return the least cost that none of these exceeds, part by part; at least one is needed."""
    return Cost(
        gaussian=max(cost.gaussian for cost in costs),
        curve=tuple(map(max, *(cost.curve for cost in costs), NO_CURVE)),
        failure=max(cost.failure for cost in costs),
        releases=max(cost.releases for cost in costs),
    )


def claim(cost: Cost, sensitivity: Sensitivity, delta: float) -> Claim:
    """Return what can be promised at ``delta`` after releases of this cost.

    Raises:
        PrivacyInputError: no delta.
    """
    epsilon, method = cost.epsilon(delta)
    return Claim(
        epsilon=epsilon,
        delta=delta,
        unit=sensitivity.unit,
        relation=sensitivity.relation,
        releases=cost.releases,
        method=method,
        failure=cost.failure,
    )


def _up(value: float) -> float:
    return math.nextafter(value, math.inf)


def _root(square: float) -> float:
    return _up(math.sqrt(square)) if square else 0.0
