"""Intervals with integer ends: every result surely holds the real number that the formula means.

Constants of a privacy claim must be bounds, not roundings. These few operations on integers scaled by 2^-256 are enough
for them, and need no trust in a floating-point unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from secagg.privacy.errors import PrivacyInputError

BITS = 256
ONE = 1 << BITS


@dataclass(frozen=True, slots=True)
class Interval:
    """All real numbers from ``low`` / 2^256 to ``high`` / 2^256, both ends included.

    Args:
        low: scaled lower end.
        high: scaled upper end, at least ``low``.
    """

    low: int
    high: int

    @staticmethod
    def of(value: int | float | Fraction) -> Interval:
        """Return the tightest interval around an exact number; floats are taken as the rationals they are."""
        exact = Fraction(value)
        scaled = exact.numerator << BITS
        return Interval(scaled // exact.denominator, -(-scaled // exact.denominator))

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high)

    def __sub__(self, other: Interval) -> Interval:
        return Interval(self.low - other.high, self.high - other.low)

    def __mul__(self, other: Interval) -> Interval:
        products = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Interval(min(products) >> BITS, -(-max(products) >> BITS))

    def __truediv__(self, other: Interval) -> Interval:
        """Divide by a positive interval.

        Raises:
            PrivacyInputError: the divisor reaches zero.
        """
        if other.low <= 0:
            raise PrivacyInputError("intervals divide by positive intervals only")
        return Interval(
            min((self.low << BITS) // other.low, (self.low << BITS) // other.high),
            max(-(-(self.high << BITS) // other.low), -(-(self.high << BITS) // other.high)),
        )

    def sqrt(self) -> Interval:
        """Return the square root of a non-negative interval."""
        return Interval(math.isqrt(self.low << BITS), math.isqrt(self.high << BITS) + 1)

    def widened(self, by: Interval) -> Interval:
        """Return the interval of all numbers that are at most ``by.high`` away from this one."""
        return Interval(self.low - by.high, self.high + by.high)

    def surely_at_least(self, other: Interval) -> bool:
        """Tell whether every number here is at least every number there."""
        return self.low >= other.high

    def __float__(self) -> float:
        return float(Fraction(self.low + self.high, 2 * ONE))


@cache
def pi() -> Interval:
    """Return pi by Machin's formula, 16 arctan(1/5) - 4 arctan(1/239)."""
    return Interval.of(16) * _arctan_of_inverse(5) - Interval.of(4) * _arctan_of_inverse(239)


def _arctan_of_inverse(n: int) -> Interval:
    """Sum the alternating series of arctan(1/n); what is left out is below the first term that is left out."""
    total, power, k = Interval(0, 0), Interval.of(Fraction(1, n)), 0
    square = Interval.of(Fraction(1, n * n))
    while True:
        term = power / Interval.of(2 * k + 1)
        if term.high <= 1:
            return total.widened(term)
        total = total - term if k % 2 else total + term
        power, k = power * square, k + 1


def exp(x: Interval) -> Interval:
    """Return e^x for x below 2^20: monotone, so the two ends suffice."""
    return Interval(_exp_of(x.low).low, _exp_of(x.high).high)


def _exp_of(scaled: int) -> Interval:
    """Halve until below 1/2, sum Taylor's series, square back; negative powers shrink then, and cannot overflow."""
    size = abs(scaled)
    halvings = max(0, size.bit_length() - BITS + 2)
    x = Interval(size >> halvings, -(-size >> halvings))
    total, term, k = Interval(0, 0), Interval.of(1), 0
    while term.high > 1:
        total, k = total + term, k + 1
        term = term * x / Interval.of(k)
    # x <= 1/2, so all terms that are left out sum to at most twice the first.
    result = total.widened(term + term)
    if scaled < 0:
        result = Interval.of(1) / result
    for _ in range(halvings):
        result = result * result
    return result


def central_mass(z: Interval) -> Interval:
    """Return P(|N| <= z) of a standard Gaussian N, for 0 <= z <= 8; relative precision for small z as well.

    sqrt(2 / pi) sum_k (-1)^k z^(2k + 1) / (2^k k! (2k + 1)): alternating, and decreasing once 2k > z^2.
    """
    total, power, k = Interval(0, 0), z, 0
    half_square = z * z / Interval.of(2)
    while True:
        term = power / Interval.of(2 * k + 1)
        if term.high <= 1 and k > 32:
            total = total.widened(term)
            return total * (Interval.of(2) / pi()).sqrt()
        total = total - term if k % 2 else total + term
        k += 1
        power = power * half_square / Interval.of(k)
