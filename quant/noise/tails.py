"""How far noise can reach: proven bounds, by which fields are made wide enough instead of letting sums wrap.

Chernoff: P(X >= x) <= E[exp(tX)] exp(-tx) for every t > 0, so with L = ln(2 d / failure) all d coordinates stay below

    x(t) = (ln E[exp(tX)] + L) / t

in both directions, except with probability ``failure`` (both laws are symmetric; union over 2 d events). What is known
about the laws:

- Skellam of variance v: ln E[exp(tX)] = v (cosh t - 1), since X is a difference of Poisson variables of mean v / 2.
  Sums are Skellam again.
- Discrete Gaussian of parameter v: ln E[exp(tX)] <= v t^2 / 2. For sum_k exp(tk - k^2 / 2v) is exp(v t^2 / 2) times
  sum_k exp(-(k - vt)^2 / 2v), and by Poisson summation, all Fourier coefficients of the Gaussian being positive, such a
  shifted sum is largest for a shift that is a whole number. Sums of independent ones: the variances add up.

The bound holds for every t, so t may be chosen in floats; with the t chosen, x(t) is bounded above in rational
arithmetic (cosh by ``exp_minus``, ln 2 by a fraction above it).
"""

import math
from collections.abc import Callable
from fractions import Fraction

from quant.checks import whole_number
from quant.errors import ConfigurationError
from quant.noise.enclosures import exp_minus
from quant.noise.laws import DiscreteGaussian, Skellam, exact_variance

FAILURE = Fraction(1, 2**40)
"""Default probability that any coordinate of a sum leaves its field."""

MAX_TOTAL_VARIANCE = 2**80

LN_2_ABOVE = Fraction(693147180559945310, 10**18)
"""ln 2 is 0.6931471805599453094..."""

Family = type[Skellam] | type[DiscreteGaussian]
"""Which law the noise of a sum is made of."""


def reach(family: Family, variance: Fraction, coordinates: int = 1, failure: Fraction = FAILURE) -> int:
    """Give a B with P(any of ``coordinates`` sums of noise is beyond [-B, B]) <= ``failure``.

    Proven, for sums of any number of independent terms of the family whose variances (for the discrete Gaussian: whose
    parameters sigma^2) add up to ``variance``; coordinates may depend on each other. Use with
    ``quant.field_width(levels, clients, noise=B)``.

    Raises:
        ConfigurationError: a variance out of range, no coordinates, or a failure probability outside of (0, 1).
    """
    variance = exact_variance(variance, MAX_TOTAL_VARIANCE)
    coordinates = whole_number(coordinates, "coordinates", 1, 2**62)
    if not 0 < failure < 1:
        raise ConfigurationError(f"the failure probability must be between 0 and 1, not {failure}")
    ratio = 2 * coordinates / Fraction(failure)
    log = LN_2_ABOVE * (math.ceil(ratio) - 1).bit_length()  # ratio is at most 2 to that power
    if family is Skellam:
        tilt = _root(lambda t: float(variance) * (t * math.sinh(t) - math.cosh(t) + 1) - float(log))
        exponent = variance * (_cosh_above(tilt) - 1)
    elif family is DiscreteGaussian:
        tilt = Fraction(math.sqrt(2 * log / variance))
        exponent = variance * tilt**2 / 2
    else:
        raise ConfigurationError(f"the tail of {family!r} is not known; take Skellam or DiscreteGaussian")
    return math.ceil((exponent + log) / tilt) - 1


def _cosh_above(t: Fraction, bits: int = 256) -> Fraction:
    """Bound cosh t from above."""
    low, high = exp_minus(t, bits)
    return Fraction((1 << bits) ** 2 + low * high, 2 * low << bits)


def _root(rising: Callable[[float], float]) -> Fraction:
    """Give about the zero of a function that rises on (0, 64); bounds hold for every t, this finds a good one."""
    low, high = 0.0, 64.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return Fraction(high)
