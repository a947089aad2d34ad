"""What integer noise costs: the Gaussian that it is surely no worse than.

Let Z be integer noise with distribution function F, and h(t) = Phi^-1(F(t)) - Phi^-1(F(t - 1)) the step of its normal
scores. If Z is log-concave and h <= c everywhere, then adding independent copies of Z to an integer vector is
(c ||D||_2)-Gaussian-DP (Dong, Roth and Su 2022) for neighbours that differ by the integer vector D: exactly, with no
failure probability. The README of this package writes out the proofs; in short, with

    kappa(t) = log p(t)^2 / (p(t - 1) p(t + 1)),      D(h) = 2 log (P(|N| <= h/2) / P(h/2 <= N <= 3h/2)):

- Theorem 2: D(c) <= sup kappa, for any law whose steps stay below 1 / S + o(1) far out. It serves sums of discrete
  Gaussians, whose kappa is 1 / S^2 up to a ripple that Poisson's summation formula bounds.
- Theorem 3: if p is symmetric and kappa never rises on t >= 0, the largest step is the middle one,
  c = 2 Phi^-1((1 + p(0)) / 2). For Skellam kappa falls because s = I_{t-1} I_{t+1} / I_t^2 solves
  x s' = 2 (1 - s) sqrt(t^2 + s x^2) - 2 s, which rises with t. For one discrete Gaussian kappa is constant.

All constants are computed with integer intervals and rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist

from secagg.privacy import intervals
from secagg.privacy.errors import PrivacyInputError
from secagg.privacy.intervals import Interval

MIN_VARIANCE = 1.0
"""Below, the grid is so coarse that theorem 3 is not proven and no claim is made."""

MAX_VARIANCE = 2.0**100
"""Far above any field; keeps the relative precision of the intervals."""

SERIES_BELOW = 64
"""Bessel's power series up to here, the bounded expansion for large arguments beyond."""

EXPANSION_TERMS = 16

PADDING = 2.0**-44
"""Relative: the first step beyond the floating-point guess that is tried as a bound."""


@lru_cache(maxsize=4096)
def skellam_scale(variance: float) -> float:
    """Return c of Skellam noise of this variance: an upper bound, by theorem 3 within 2^-40 of the least c there is.

    About (1 + 1 / (6 variance)) / sqrt(variance).

    Args:
        variance: of the whole sum of honest noise, in squared grid steps; 1 or more.

    Raises:
        PrivacyInputError: a variance below 1, beyond 2^100, or not finite.
    """
    _check_variance(variance)
    centre = skellam_centre(variance)
    return _least(_middle_step(float(centre)), lambda c: _middle_holds(c, centre))


@lru_cache(maxsize=4096)
def discrete_gaussian_scale(variance: float) -> float:
    """Return c of one discrete Gaussian exp(-t^2 / (2 variance)): an upper bound, about 1 + 1 / (24 variance) sigmas.

    p(0) = 1 / sum exp(-t^2 / 2 v) <= 1 / sqrt(2 pi v), since by Poisson's summation formula all that the right side
    leaves out of the sum is positive; and never less than the limit 1 / sqrt(v) of the steps far out.

    Args:
        variance: the parameter sigma^2, in squared grid steps; 1 or more.

    Raises:
        PrivacyInputError: a variance below 1, beyond 2^100, or not finite.
    """
    _check_variance(variance)
    centre = Interval.of(1) / (Interval.of(2) * intervals.pi() * Interval.of(variance)).sqrt()
    bound = _least(_middle_step(float(centre)), lambda c: _middle_holds(c, centre))
    return max(bound, math.nextafter(1 / math.sqrt(variance), math.inf) * (1 + 2.0**-50))


def discrete_gaussian_sum_scale(variances: tuple[float, ...]) -> float:
    """Return c of a sum of independent discrete Gaussians: an upper bound by theorem 2.

    Args:
        variances: the parameters sigma^2 of the shares, in squared grid steps, each 1 or more.

    Raises:
        PrivacyInputError: no shares, or a variance below 1, beyond 2^100, or not finite.
    """
    if not variances:
        raise PrivacyInputError("a sum of discrete Gaussians needs at least one share")
    for variance in variances:
        _check_variance(variance)
    if len(variances) == 1:
        return discrete_gaussian_scale(variances[0])
    total = math.fsum(variances) * (1 - 2.0**-50)
    return _curvature_scale(total, ripple(variances))


@lru_cache(maxsize=4096)
def _curvature_scale(total: float, rippling: float) -> float:
    """Theorem 2: the least c with D(c) >= 1 / total + 2 ripple."""
    kappa = Interval.of(1) / Interval.of(total) + Interval.of(2 * Fraction(rippling))
    growth = intervals.exp(kappa)

    def holds(c: float) -> bool:
        inner = intervals.central_mass(Interval.of(Fraction(c) / 2))
        outer = intervals.central_mass(Interval.of(Fraction(c) * 3 / 2))
        side = (outer - inner) / Interval.of(2)
        return (inner * inner).surely_at_least(growth * side * side)

    curvature = float(kappa)
    return _least(math.sqrt(curvature * (1 + curvature / 12)), holds)


def ripple(variances: tuple[float, ...]) -> float:
    """Bound log (max / min) of the ratio of a sum of discrete Gaussians to the discrete Gaussian of summed parameters.

    Adding a share v to a sum V: sum_j exp(-j^2 / 2V - (t - j)^2 / 2v) = exp(-t^2 / 2(V + v)) sum_j exp(-(j - x)^2 / 2s)
    with s = V v / (V + v), and by Poisson's formula this is sqrt(2 pi s) (1 +- e), e = 2 sum_m exp(-2 pi^2 s m^2).
    Kairouz, Liu and Steinke 2021, theorem 1, use 10 exp(-2 pi^2 s) for what is at most log((1 + e) / (1 - e)) here.
    Float64, padded by 2^-30 of itself.
    """
    order = sorted(variances, reverse=True)
    total, bound = order[0], 0.0
    for variance in order[1:]:
        harmonic = total * variance / (total + variance) * (1 - 2.0**-40)
        first = math.exp(-2 * math.pi**2 * harmonic)
        e = 2 * first / (1 - first**3)
        bound += math.log1p(e) - math.log1p(-e)
        total += variance
    return bound * (1 + 2.0**-30)


def skellam_centre(variance: float) -> Interval:
    """Return the interval of P(Z = 0) = exp(-v) I_0(v) for Skellam noise of variance v."""
    x = Interval.of(variance)
    return _bessel_series(x) if variance <= SERIES_BELOW else _bessel_expansion(x)


def _bessel_series(x: Interval) -> Interval:
    """exp(-x) sum_k (x / 2)^2k / k!^2; once k exceeds x the terms more than halve."""
    quarter = x * x / Interval.of(4)
    total, term, k = Interval(0, 0), Interval.of(1), 0
    while term.high > 1 or k <= SERIES_BELOW:
        total, k = total + term, k + 1
        term = term * quarter / Interval.of(k * k)
    return total.widened(term + term) * intervals.exp(Interval(0, 0) - x)


def _bessel_expansion(x: Interval) -> Interval:
    """Bound exp(-x) I_0(x) = (1 / pi) int_0^2 exp(-x u) / sqrt(u (2 - u)) du from both sides.

    On [0, 1] expand (1 - u / 2)^(-1/2) = sum a_k (u / 2)^k with 0 < a_k falling: the first K terms are too few by at
    most 2 a_K (u / 2)^K, and each is (2 pi x)^(-1/2) b_k x^-k once integrated to infinity. What lies beyond 1 is below
    exp(-x) / 2 of the true integral, and below exp(-x) of each of the K terms.
    """
    total, term = Interval(0, 0), Interval.of(1)
    for k in range(EXPANSION_TERMS):
        total = total + term
        # b_{k+1} / b_k = (2k + 1)^2 / (8 (k + 1))
        term = term * Interval.of(Fraction((2 * k + 1) ** 2, 8 * (k + 1))) / x
    total = Interval(total.low, (total + term + term).high)
    scaled = total / (Interval.of(2) * intervals.pi() * x).sqrt()
    return scaled.widened(intervals.exp(Interval(0, 0) - x) * Interval.of(EXPANSION_TERMS))


def _middle_step(centre: float) -> float:
    """Guess 2 Phi^-1((1 + p(0)) / 2) in floats; small p(0) by its series."""
    if centre < 1e-4:
        half = centre * math.sqrt(math.pi / 2)
        return 2 * half * (1 + half**2 / 6)
    return 2 * NormalDist().inv_cdf((1 + centre) / 2)


def _middle_holds(c: float, centre: Interval) -> bool:
    return intervals.central_mass(Interval.of(Fraction(c) / 2)).surely_at_least(centre)


def _least(guess: float, holds: Callable[[float], bool]) -> float:
    """Go up from a guess in doubling steps until the bound is proven."""
    padding = PADDING
    while not holds(guess * (1 + padding)):
        padding *= 2
        if padding > 1:
            raise PrivacyInputError("no bound on the normal scores was found: the variance is out of range")
    return guess * (1 + padding)


def _check_variance(variance: float) -> None:
    if not MIN_VARIANCE <= variance <= MAX_VARIANCE:
        raise PrivacyInputError(
            f"noise of variance {variance:g} squared grid steps: claims are made from {MIN_VARIANCE:g} to 2^100; "
            "take a finer grid step"
        )
