"""Interval arithmetic on Python integers: exp(-y) and ratios of Bessel functions, to any number of bits.

A real number x is enclosed by two integers ``(low, high)`` at a scale of b bits: low <= 2^b x <= high. Every operation
rounds low down (``//`` and ``>>`` do) and high up (`ceil_div`, `ceil_shift`), so an enclosure stays one whatever
happens in between. No float takes part: the enclosures are the same on every machine.
"""

from fractions import Fraction

Enclosure = tuple[int, int]
"""(low, high): integers around 2^bits times a real number."""


def ceil_div(dividend: int, divisor: int) -> int:
    """Give dividend / divisor, rounded up."""
    return -(-dividend // divisor)


def ceil_shift(value: int, bits: int) -> int:
    """Give value / 2^bits, rounded up."""
    return -(-value >> bits)


def exp_minus(y: Fraction, bits: int) -> Enclosure:
    """Enclose exp(-y) for a rational y >= 0 at a scale of ``bits``.

    exp(-y) = (1 / exp(z))^(2^h) with z = y / 2^h <= 1/2. For exp(z) the terms z^i / i! are summed from below and from
    above. From z <= 1/2 each term is at most half of the one before, so all terms after the n-th add up to at most
    the n-th: it is counted once more from above. Squaring doubles the relative error, hence h spare bits (and more).
    """
    halvings = max(0, (2 * y.numerator // y.denominator).bit_length())
    working = bits + halvings + 32
    divisor = y.denominator << halvings
    low_z, high_z = (y.numerator << working) // divisor, ceil_div(y.numerator << working, divisor)
    low = high = low_term = high_term = 1 << working
    index = 0
    while high_term > 1:
        index += 1
        low_term = (low_term * low_z >> working) // index
        high_term = ceil_div(ceil_shift(high_term * high_z, working), index)
        low += low_term
        high += high_term
    high += high_term
    one = 1 << 2 * working
    low, high = one // high, ceil_div(one, low)
    for _ in range(halvings):
        low, high = low * low >> working, ceil_shift(high * high, working)
    return low >> working - bits, ceil_shift(high, working - bits)


def bessel_ratios(x: Fraction, reach: int, bits: int) -> list[Enclosure]:
    """Enclose I_{k+1}(x) / I_k(x) for k = 0 .. reach - 1 at a scale of ``bits``; x > 0.

    I is the modified Bessel function of the first kind. From I_{k-1} = (2k / x) I_k + I_{k+1} (Abramowitz and Stegun
    9.6.26) the ratios obey ratio_{k-1} = 1 / (2k / x + ratio_k). The recurrence starts at k = reach from all that is
    known there, 0 < ratio < 1: exp(-x) I_k(x) is the Skellam law of variance x at k, symmetric and log-concave (a
    convolution of log-concave laws), so it falls away from 0. Each step down shrinks the width of an enclosure by
    ratio_{k-1}^2, so the ratios far below ``reach`` are narrow; those near it are wide, and true.
    """
    one = 1 << bits
    square = one << bits
    step_low, step_high = 2 * x.denominator << bits, x.numerator
    low, high = 0, one
    ratios = []
    for k in range(reach, 0, -1):
        quotient, rest = divmod(k * step_low, step_high)
        low, high = square // (quotient + (rest > 0) + high), min(one, ceil_div(square, quotient + low))
        ratios.append((low, high))
    ratios.reverse()
    return ratios


def gaussian_ratios(variance: Fraction, reach: int, bits: int) -> list[Enclosure]:
    """Enclose g(k + 1) / g(k) for k = 0 .. reach - 1 at a scale of ``bits``, where g(k) = exp(-k^2 / (2 variance)).

    The ratio is e^(2k + 1) with e = exp(-1 / (2 variance)): one exponential, then multiplications by e^2.
    """
    low, high = exp_minus(1 / (2 * variance), bits)
    low_square, high_square = low * low >> bits, ceil_shift(high * high, bits)
    ratios = []
    for _ in range(reach):
        ratios.append((low, high))
        low, high = low * low_square >> bits, ceil_shift(high * high_square, bits)
    return ratios
