"""Renyi differential privacy (Mironov 2017), the claim that stands beside the Gaussian one.

A curve is one number per order: the Renyi divergence between neighbours is at most that. Curves add up over releases.
All bounds here are for integer orders, where they are proven for Skellam noise too.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from secagg.privacy.errors import PrivacyInputError
from secagg.privacy.gaussian import check_delta
from secagg.privacy.normal_scores import ripple

ORDERS: tuple[int, ...] = (*range(2, 65), *range(68, 129, 4), 160, 192, 256, 384, 512, 1024, 4096, 16384)
"""The orders of every curve."""

UP = 1 + 2.0**-40
"""Pays for the floating-point arithmetic of one curve."""

Curve = tuple[float, ...]
"""Bounds at ``ORDERS``."""


def gaussian(m: float) -> Curve:
    """Return the curve of m-GDP, order * m^2 / 2: Renyi divergence only falls under what the Gaussian dominates."""
    return tuple(order * m * m / 2 * UP for order in ORDERS)


def skellam(l2: float, l1: float, variance: float) -> Curve:
    """Return the curve of Skellam noise (Agarwal, Kairouz and Liu 2021, "The Skellam mechanism", theorem 3.5).

    order l2^2 / 2v + min(((2 order - 1) l2^2 + 6 l1) / 4v^2, 3 l1 / 2v)

    Args:
        l2: Euclidean sensitivity, grid steps.
        l1: sum-of-magnitudes sensitivity, grid steps.
        variance: of the honest noise per coordinate, v, squared grid steps.
    """
    square = l2 * l2
    return tuple(
        UP
        * (
            order * square / (2 * variance)
            + min(((2 * order - 1) * square + 6 * l1) / (4 * variance**2), 3 * l1 / (2 * variance))
        )
        for order in ORDERS
    )


def discrete_gaussian_sum(l2: float, l1: float, dim: int, variances: tuple[float, ...]) -> Curve:
    """Return the curve of a sum of discrete Gaussians, the gap of the sum included.

    One discrete Gaussian: order l2^2 / 2V (Canonne, Kamath and Steinke 2020, proposition 5). A sum of shares differs
    from it by a factor within e^-r and e^r per coordinate, r as in `normal_scores.ripple`, so

        D_order <= order l2^2 / 2V + d r order / (order - 1):

    e^((order - 1) r) for the ratio between neighbours and e^r for the expectation, in each coordinate that moves; these
    are at most min(d, l1). Equal shares have theorem 1 of Kairouz, Liu and Steinke 2021 besides, with
    tau = 10 sum_k exp(-2 pi^2 v k / (k + 1)): order / 2 min(a2^2 + 2 a1 tau + tau^2 d, (a2 + sqrt(d) tau)^2).

    Args:
        l2: Euclidean sensitivity, grid steps.
        l1: sum-of-magnitudes sensitivity, grid steps.
        dim: number of coordinates.
        variances: parameters of the shares.
    """
    total, gap = math.fsum(variances), ripple(variances)
    moved = min(dim, l1)
    a2, a1 = l2 / math.sqrt(total), l1 / math.sqrt(total)
    equal = math.inf
    if len(set(variances)) == 1:
        tau = equal_shares_gap(variances[0], len(variances))
        equal = min(a2 * a2 + 2 * a1 * tau + tau * tau * dim, (a2 + math.sqrt(dim) * tau) ** 2) / 2
    return tuple(UP * min(order * a2 * a2 / 2 + moved * gap * order / (order - 1), order * equal) for order in ORDERS)


def equal_shares_gap(variance: float, shares: int) -> float:
    """Return 10 sum_{k < shares} exp(-2 pi^2 variance k / (k + 1)), the tau of Kairouz, Liu and Steinke 2021."""
    return 10 * math.fsum(math.exp(-2 * math.pi**2 * variance * k / (k + 1)) for k in range(1, shares))


def sampled_gaussian(m: float, rate: float) -> Curve:
    """Return the curve of m-GDP on a secret Poisson sample (Mironov, Talwar and Zhang 2019, section 3.3).

    log(sum_k binom(order, k) (1 - q)^(order - k) q^k exp(k (k - 1) m^2 / 2)) / (order - 1) for the sampling rate q.
    """
    return tuple(UP * _sampled(order, m, rate) for order in ORDERS)


def _sampled(order: int, m: float, rate: float) -> float:
    if rate == 1:
        return order * m * m / 2
    k = np.arange(order + 1, dtype=np.float64)
    logs = _log_binomials(order) + k * math.log(rate) + (order - k) * math.log1p(-rate) + k * (k - 1) * (m * m / 2)
    most = float(logs.max())
    total = most + math.log(float(np.exp(logs - most).sum()))
    # The logarithms are as large as order * log(order): their rounding must not turn into privacy.
    return (max(total, 0.0) + 1e-13 * order) / (order - 1)


@cache
def _log_binomials(order: int) -> NDArray[np.float64]:
    """Give log binom(order, k) for k = 0 .. order."""
    logs = np.array([math.lgamma(k + 1) for k in range(order + 1)])
    binomials: NDArray[np.float64] = logs[order] - logs - logs[::-1]
    return binomials


def add(one: Curve, other: Curve) -> Curve:
    """Compose two curves, rounded up; nothing added changes nothing."""
    return tuple(math.nextafter(a + b, math.inf) if a and b else a or b for a, b in zip(one, other, strict=True))


def times(curve: Curve, count: int) -> Curve:
    """Compose a curve ``count`` times with itself."""
    return tuple(value * count * UP for value in curve)


def epsilon(curve: Curve, delta: float) -> float:
    """Convert to epsilon at ``delta`` (Canonne, Kamath and Steinke 2020, proposition 12), at the best order.

    curve(order) + log((order - 1) / order) - (log delta + log order) / (order - 1), never below 0.

    Raises:
        PrivacyInputError: a delta outside of (1e-200, 1), or a curve of another length.
    """
    check_delta(delta)
    if len(curve) != len(ORDERS):
        raise PrivacyInputError(f"a curve has {len(ORDERS)} values, one per order, not {len(curve)}")
    best = min(
        value + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
        for value, order in zip(curve, ORDERS, strict=True)
    )
    return max(best, 0.0)
