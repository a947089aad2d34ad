"""Laws of integers, as what a sampler needs: their cumulative probabilities, enclosed to any number of bits.

The outcomes of a law are numbered 0, 1, 2, ... in any order that is convenient, and F(j) is the probability of the
outcomes 0 .. j. A uniform real number U in [0, 1) means outcome j if F(j - 1) <= U < F(j): whatever the order, outcome
j comes up with exactly its probability. The symmetric laws are numbered from the centre, 0, 1, -1, 2, -2, ..., so
that both tails lie at one end of [0, 1) and F can be extended outwards without end.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from quant.errors import ConfigurationError
from quant.noise.enclosures import Enclosure, bessel_ratios, ceil_div, gaussian_ratios

SPARE_BITS = 64
"""Working precision beyond what is asked for; raised if it does not suffice."""

MAX_VARIANCE = 2**28
"""Largest variance of a discrete Gaussian; its table would take minutes beyond."""

MIN_VARIANCE = Fraction(1, 2**64)
MAX_SKELLAM_VARIANCE = 2**32
"""Largest variance of a Skellam; it is drawn as a sum of a thousand terms then."""


@dataclass(frozen=True)
class Boundaries:
    """Enclosures of F(0), F(1), ... at a scale of ``bits``: low[j] <= 2^bits F(j) <= high[j].

    Both lists increase. If ``complete``, the law has len(low) + 1 outcomes, and the F of the last one, 1, is left out.
    Otherwise the outcomes that are not listed have probability at most 2^-bits in all.
    """

    bits: int
    low: Sequence[int]
    high: Sequence[int]
    complete: bool


class Law(Protocol):
    """A law of integers that can be sampled exactly. Laws are values: hashable, and equal if they are the same law."""

    def boundaries(self, bits: int) -> Boundaries:
        """Enclose the cumulative probabilities at a scale of ``bits``."""
        ...

    def value(self, index: int) -> int:
        """Give the integer that outcome ``index`` stands for."""
        ...

    def __hash__(self) -> int: ...


def exact_variance(value: object, most: int) -> Fraction:
    """Give a variance as the fraction that it is: whole numbers, fractions, and floats (which are fractions too).

    Raises:
        ConfigurationError: no number, or not in [2^-64, ``most``].
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        raise ConfigurationError(f"a variance is an int, a Fraction or a float, not {value!r} ({type(value).__name__})")
    if not MIN_VARIANCE <= value <= most:  # also true for NaN
        raise ConfigurationError(
            f"a variance must be between 2^-64 and {most} squared grid steps, not {float(value):g}; "
            "noise of thousands of steps wants a coarser grid"
        )
    return Fraction(value)


@dataclass(frozen=True)
class Skellam:
    """The difference of two independent Poisson variables of mean variance / 2 (Skellam 1946).

    P(k) = exp(-variance) I_|k|(variance). Mean 0; ``variance`` (int, Fraction or float, taken exactly) is its variance.
    Closed under addition: independent Skellams add up to the Skellam of the summed variances.

    Raises:
        ConfigurationError: a variance outside of [2^-64, 2^32].
    """

    variance: Fraction

    def __post_init__(self) -> None:
        """Refuse what is no variance."""
        object.__setattr__(self, "variance", exact_variance(self.variance, MAX_SKELLAM_VARIANCE))

    def boundaries(self, bits: int) -> Boundaries:
        """Enclose P(0), P(0) + P(1), P(0) + P(1) + P(-1), ...; no exponential is needed, since they sum to 1."""
        return _centred(lambda reach, working: bessel_ratios(self.variance, reach, working), self.variance, bits)

    def value(self, index: int) -> int:
        """Give 0, 1, -1, 2, -2, ..."""
        return (index + 1) // 2 if index % 2 else -(index // 2)


@dataclass(frozen=True)
class DiscreteGaussian:
    """P(k) proportional to exp(-k^2 / (2 variance)) on the integers (Canonne, Kamath and Steinke 2020, definition 1).

    ``variance`` (int, Fraction or float, taken exactly) is the parameter sigma^2. The true variance is smaller, by a
    factor 1 - 2e-7 at sigma = 1 and by less than 2^-100 from sigma = 2 on. Sums of independent discrete Gaussians are
    close to one, but are none: see ``quant.noise.shares``.

    Raises:
        ConfigurationError: a variance outside of [2^-64, 2^28].
    """

    variance: Fraction

    def __post_init__(self) -> None:
        """Refuse what is no variance."""
        object.__setattr__(self, "variance", exact_variance(self.variance, MAX_VARIANCE))

    def boundaries(self, bits: int) -> Boundaries:
        """Enclose P(0), P(0) + P(1), P(0) + P(1) + P(-1), ..."""
        return _centred(lambda reach, working: gaussian_ratios(self.variance, reach, working), self.variance, bits)

    def value(self, index: int) -> int:
        """Give 0, 1, -1, 2, -2, ..."""
        return (index + 1) // 2 if index % 2 else -(index // 2)


@dataclass(frozen=True)
class TableLaw:
    """Any law on finitely many integers: P(first + j) = weights[j] / sum(weights).

    Args:
        weights: non-negative ints, Fractions or floats (taken exactly), not all zero. Kept as probabilities.
        first: the integer that the first weight belongs to.

    Raises:
        ConfigurationError: no weights, a negative or infinite one, nothing but zeros, or integers beyond 2^62.
    """

    weights: tuple[Fraction, ...]
    first: int = 0

    def __post_init__(self) -> None:
        """Make the weights probabilities, and refuse what cannot be."""
        if not all(0 <= weight < math.inf for weight in self.weights):
            raise ConfigurationError("weights must be ints, Fractions or floats, finite and not negative")
        total = sum(map(Fraction, self.weights))
        if not total:
            raise ConfigurationError("a law needs at least one weight that is not zero")
        if max(abs(self.first), abs(self.first + len(self.weights))) > 2**62:
            raise ConfigurationError("the integers of a law must lie within 2^62 of zero")
        last = max(place for place, weight in enumerate(self.weights) if weight)
        object.__setattr__(self, "weights", tuple(Fraction(weight) / total for weight in self.weights[: last + 1]))

    @property
    def mean(self) -> Fraction:
        """The expectation, exactly."""
        return sum((self.value(j) * weight for j, weight in enumerate(self.weights)), Fraction(0))

    @property
    def variance(self) -> Fraction:
        """The variance, exactly."""
        squares = sum((self.value(j) ** 2 * weight for j, weight in enumerate(self.weights)), Fraction(0))
        return squares - self.mean**2

    def boundaries(self, bits: int) -> Boundaries:
        """Enclose the partial sums of the weights; where 2^bits times one is whole, low and high are equal."""
        low, high = [], []
        total = Fraction(0)
        for weight in self.weights[:-1]:
            total += weight
            scaled = total.numerator << bits
            low.append(scaled // total.denominator)
            high.append(ceil_div(scaled, total.denominator))
        return Boundaries(bits, low, high, complete=True)

    def value(self, index: int) -> int:
        """Give first, first + 1, ..."""
        return self.first + index


def _centred(ratios: Callable[[int, int], list[Enclosure]], variance: Fraction, bits: int) -> Boundaries:
    """Give the boundaries of a symmetric law with P(k + 1) / P(k) = ratios(reach, working bits)[k] for k >= 0.

    The first guess of reach and precision nearly always suffices; if the result shows that it did not, both grow.
    """
    sigma = math.sqrt(variance)
    reach = math.ceil(1.4 * sigma * math.sqrt(bits + 16)) + bits
    working = bits + SPARE_BITS + 2 * reach.bit_length()
    while True:
        found = _accumulate(ratios(reach, working), bits, working)
        if found is not None:
            return found
        reach, working = 2 * reach, working + SPARE_BITS


def _accumulate(ratios: list[Enclosure], bits: int, working: int) -> Boundaries | None:
    """Sum weights w(0) = 1, w(k + 1) = w(k) ratio(k) and divide by their total; None if that is not sharp enough.

    The ratios of both laws fall with k (log-concavity), so beyond k the weights are at most a geometric series:
    w(k + 1) + w(k + 2) + ... <= w(k) ratio(k) / (1 - ratio(k)). Summing stops when both tails are below 2^-(bits + 2)
    of w(0), hence of the total.
    """
    one = 1 << working
    enough = one >> bits + 2
    low = high = one
    low_sums, high_sums = [low], [high]
    for low_ratio, high_ratio in ratios:
        tail = 2 * ceil_div(high * high_ratio, one - high_ratio) if high_ratio < one else one
        if tail <= enough:
            break
        low, high = low * low_ratio >> working, -(-high * high_ratio >> working)
        low_sums += (low_sums[-1] + low, low_sums[-1] + 2 * low)
        high_sums += (high_sums[-1] + high, high_sums[-1] + 2 * high)
    else:
        return None
    least, most = low_sums[-1], high_sums[-1] + tail
    if most - least > 2 * enough:
        return None
    whole = 1 << bits
    return Boundaries(
        bits,
        [(total << bits) // most for total in low_sums],
        [min(whole, ceil_div(total << bits, least)) for total in high_sums],
        complete=False,
    )
