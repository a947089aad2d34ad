"""The discrete Gaussian by rational arithmetic alone (Canonne, Kamath and Steinke 2020): slow, and hard to get wrong.

Algorithms 1 to 3 of "The discrete Gaussian for differential privacy": whole numbers and coins, no table, no float, no
logarithm. About ten thousand draws a second. It shares nothing with ``quant.noise.sampler`` but the law, and so is the
reference for it. The time of a draw depends on its outcome even more.
"""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from quant.checks import whole_number
from quant.errors import InputError
from quant.noise.laws import DiscreteGaussian
from quant.streams import RandomStream


def draw_discrete_gaussian(variance: Fraction, count: int, stream: RandomStream) -> NDArray[np.int64]:
    """Draw ``count`` independent discrete Gaussians of parameter sigma^2 = ``variance``; int64, shape (count,). Exact.

    Raises:
        ConfigurationError: a variance outside of [2^-64, 2^28].
        InputError: count is not a whole number >= 0.
    """
    variance = DiscreteGaussian(variance).variance
    count = whole_number(count, "the number of draws", 0, 2**40, InputError)
    return np.array([discrete_gaussian(variance, stream) for _ in range(count)], np.int64)


def discrete_gaussian(variance: Fraction, stream: RandomStream) -> int:
    """Draw one discrete Gaussian (algorithm 3): a discrete Laplace, accepted with the ratio of the two laws."""
    scale = math.isqrt(variance.numerator // variance.denominator) + 1
    while True:
        proposed = discrete_laplace(scale, stream)
        if bernoulli_exp((abs(proposed) - variance / scale) ** 2 / (2 * variance), stream):
            return proposed


def discrete_laplace(scale: int, stream: RandomStream) -> int:
    """Draw k with probability proportional to exp(-|k| / scale) (algorithm 2)."""
    while True:
        low = below(scale, stream)
        if not bernoulli_exp(Fraction(low, scale), stream):
            continue
        high = 0
        while bernoulli_exp(Fraction(1), stream):
            high += 1
        magnitude = low + scale * high
        negative = below(2, stream)
        if magnitude or not negative:  # zero would otherwise come up twice as often as it should
            return -magnitude if negative else magnitude


def bernoulli_exp(exponent: Fraction, stream: RandomStream) -> bool:
    """Give True with probability exp(-exponent), exponent >= 0 (algorithm 1)."""
    while exponent > 1:
        if not bernoulli_exp(Fraction(1), stream):
            return False
        exponent -= 1
    flips = 1
    while bernoulli(exponent / flips, stream):
        flips += 1
    return flips % 2 == 1


def bernoulli(probability: Fraction, stream: RandomStream) -> bool:
    """Give True with this probability, a fraction in [0, 1]."""
    return below(probability.denominator, stream) < probability.numerator


def below(limit: int, stream: RandomStream) -> int:
    """Draw a whole number in [0, limit), all equally likely, by rejection: the least bytes that hold limit - 1."""
    bits = (limit - 1).bit_length()
    raw = np.empty(-(-bits // 8), np.uint8)
    while True:
        stream.fill(raw)
        drawn = int.from_bytes(raw.tobytes(), "little") & (1 << bits) - 1
        if drawn < limit:
            return drawn
