"""The same laws by other formulas and another library (mpmath): nothing here is shared with the package.

Cumulative probabilities P(|X| <= m): the discrete Gaussian by summing exponentials, Skellam by Bessel functions (small
variance) or by inverting its characteristic function exp(variance (cos t - 1)) (any variance).
"""

import itertools
import math
from fractions import Fraction

import mpmath

BITS = 400


def real(fraction):
    fraction = Fraction(fraction)
    return mpmath.mpf(fraction.numerator) / fraction.denominator


def gaussian_sums(variance, most):
    """P(|X| <= m) for m = 0 .. most."""
    with mpmath.workprec(BITS):
        v = real(variance)
        width = int(math.sqrt(variance) * 25) + 25
        weights = [mpmath.exp(-mpmath.mpf(k * k) / (2 * v)) for k in range(max(width, most) + 1)]
        total = weights[0] + 2 * mpmath.fsum(weights[1:])
        return list(itertools.accumulate([weights[0], *(2 * weight for weight in weights[1 : most + 1])]))[
            : most + 1
        ], total


def gaussian_cumulative(variance, most):
    with mpmath.workprec(BITS):
        sums, total = gaussian_sums(variance, most)
        return [value / total for value in sums]


def skellam_cumulative(variance, most):
    """By Bessel functions: for small variances."""
    with mpmath.workprec(BITS):
        v = real(variance)
        p = [mpmath.exp(-v) * mpmath.besseli(k, v) for k in range(most + 1)]
        return list(itertools.accumulate([p[0], *(2 * value for value in p[1:])]))


def skellam_at(variance, m):
    """P(|X| <= m) by Fourier inversion over ``points`` frequencies; what wraps around is below 2^-BITS."""
    with mpmath.workprec(BITS + 64):
        v = real(variance)
        points = 2 * (m + int(25 * math.sqrt(variance)) + 400)
        total = mpmath.mpf(2 * m + 1)
        for i in range(1, points):
            angle = 2 * mpmath.pi * i / points
            weight = mpmath.exp(v * (mpmath.cos(angle) - 1))
            if weight < mpmath.mpf(2) ** (-BITS - 40):
                break
            # The frequency i and its mirror image together, for even ``points`` the middle one once.
            part = weight * mpmath.sin((2 * m + 1) * angle / 2) / mpmath.sin(angle / 2)
            if 2 * i == points:
                total += part
                break
            total += 2 * part
        return total / points


def folded(cumulative):
    """P(0), P(0) + P(1), P(0) + P(1) + P(-1), ... from P(|X| <= m)."""
    with mpmath.workprec(BITS):
        values = [cumulative[0]]
        for inner, outer in itertools.pairwise(cumulative):
            values += [(inner + outer) / 2, outer]
        return values


def scaled(value, bits):
    """floor(2^bits value)."""
    with mpmath.workprec(BITS + bits):
        return int(mpmath.floor(value * mpmath.mpf(2) ** bits))
