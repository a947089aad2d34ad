"""The privacy curve of the Gaussian mechanism, to which every claim is reduced.

A mechanism is m-Gaussian-DP (m-GDP; Dong, Roth and Su 2022, "Gaussian differential privacy") if telling neighbours
apart is no easier than telling N(0, 1) from N(m, 1). Then it is (epsilon, delta)-DP exactly for

    delta(epsilon) >= Phi(-epsilon / m + m / 2) - e^epsilon Phi(-epsilon / m - m / 2)

(their corollary 1; Balle and Wang 2018, theorem 8), and mechanisms compose, adaptively, to sqrt(sum m_i^2)-GDP.

Results are rounded up by more than the floating-point error, so a claim is never below the curve.
"""

from __future__ import annotations

import math
import sys

from secagg.privacy.errors import PrivacyInputError

FRACTION_FROM = 8.0
"""From here on Mills' ratio comes from its continued fraction."""

FRACTION_DEPTH = 64

ULPS = 64 * sys.float_info.epsilon
"""Bounds the relative error of Mills' ratio as computed here (measured: 2e-15)."""

MAX_EPSILON = 1e6
"""Claims end here: beyond, epsilon says nothing."""

LEAST_DELTA = 1e-200
"""Below, float64 runs out of exponents on the way."""


def delta(epsilon: float, m: float) -> float:
    """Return the least delta at which m-GDP implies (epsilon, delta)-DP, rounded up.

    With a = epsilon / m - m / 2 and b = epsilon / m + m / 2 it is phi(a) (M(a) - M(b)), M = Q / phi being Mills' ratio,
    because e^epsilon phi(b) = phi(a). The difference is taken where it is small, so small m loses no digits.

    Args:
        epsilon: at least 0.
        m: the Gaussian's shift in standard deviations, at least 0; infinite for no privacy.

    Raises:
        PrivacyInputError: a negative number or NaN.
    """
    if not (epsilon >= 0 and m >= 0):
        raise PrivacyInputError(f"epsilon and m are non-negative numbers, not {epsilon!r} and {m!r}")
    if m == 0:
        return 0.0
    if math.isinf(m):
        return 1.0
    a, b = epsilon / m - m / 2, epsilon / m + m / 2
    density = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    if a < 0:
        whole, part = math.erfc(a / math.sqrt(2)) / 2, density * mills(b)
    else:
        whole, part = density * mills(a), density * mills(b)
    # a carries the rounding of epsilon / m, which the exponent -a^2 / 2 multiplies by a.
    error = (ULPS + a * a * 4 * sys.float_info.epsilon) * (whole + part)
    return min(1.0, max(whole - part, 0.0) + error)


def mills(x: float) -> float:
    """Return Mills' ratio Q(x) / phi(x), x >= 0, with relative error below 1e-14."""
    if x < FRACTION_FROM:
        return math.sqrt(math.pi / 2) * math.exp(x * x / 2) * math.erfc(x / math.sqrt(2))
    value = x
    for k in range(FRACTION_DEPTH, 0, -1):
        value = x + k / value
    return 1 / value


def epsilon(target: float, m: float) -> float:
    """Return the least epsilon with delta(epsilon, m) <= ``target``, rounded up; infinite beyond 10^6.

    Raises:
        PrivacyInputError: a target outside of (1e-200, 1).
    """
    check_delta(target)
    if delta(0.0, m) <= target:
        return 0.0
    if delta(MAX_EPSILON, m) > target:
        return math.inf
    low, high = 0.0, 1.0
    while delta(high, m) > target:
        low, high = high, 2 * high
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if delta(middle, m) > target else (low, middle)
    return high


def shift(target_epsilon: float, target_delta: float) -> float:
    """Return the largest m whose m-GDP implies (``target_epsilon``, ``target_delta``)-DP, rounded down.

    Raises:
        PrivacyInputError: a negative epsilon, or a delta outside of (1e-200, 1).
    """
    check_delta(target_delta)
    low, high = 0.0, 1.0
    while delta(target_epsilon, high) <= target_delta:
        low, high = high, 2 * high
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if delta(target_epsilon, middle) <= target_delta else (low, middle)
    return low


def check_delta(target: float) -> None:
    """Refuse what is no delta.

    Raises:
        PrivacyInputError: a target outside of (1e-200, 1).
    """
    if not LEAST_DELTA < target < 1:
        raise PrivacyInputError(f"delta is a probability between 1e-200 and 1, not {target!r}")
