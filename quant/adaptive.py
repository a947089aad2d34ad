"""Settings that move from round to round: the clip by a quantile, the bits by stage or by measured error.

Pure update rules: from the public state of one round to that of the next, the same at all sites.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quant.checks import MAX_BOUND, MIN_BOUND, positive_bound, whole_number
from quant.clip import l2_norm
from quant.errors import ConfigurationError, InputError
from quant.vectors import FloatVector

MOST_EXPONENT = 700.0
"""e to this is a float64, and moves any clip from one end of its range to the other."""


def fraction(value: object, name: str) -> float:
    """Give a number strictly between 0 and 1.

    Raises:
        ConfigurationError: anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ConfigurationError(f"{name} must lie between 0 and 1, not {value!r}")
    return float(value)


@dataclass(frozen=True, slots=True)
class AdaptiveClip:
    """An L2 clip that follows a quantile of the norms, without anybody seeing a norm.

    Every site adds one bit to the secure sum: whether its norm is at most ``bound``. With b the (noised) mean of the
    bits, the next bound is bound * exp(-rate (b - quantile)): it grows while fewer than ``quantile`` of the sites are
    inside. At rate 0.2 it moves by a factor of 10 in about 25 rounds. Source: Andrew et al. 2021 ("Differentially
    private learning with adaptive clipping"), algorithm 1.

    The bit is one more coordinate (0 or 1) of what is summed, so it costs one field and is never seen alone. With
    privacy its noise has to be charged: let sigma_b be the noise of the bit sum (n / 20 is usual), z the noise
    multiplier of the updates; then the updates need (z^-2 - (2 sigma_b)^-2)^(-1/2) instead of z.
    """

    bound: float
    quantile: float = 0.5
    rate: float = 0.2
    least: float = MIN_BOUND
    most: float = MAX_BOUND

    def __post_init__(self) -> None:
        """Refuse settings that lead nowhere."""
        for name in ("bound", "rate", "least", "most"):
            object.__setattr__(self, name, positive_bound(getattr(self, name), f"{name} of the adaptive clip"))
        object.__setattr__(self, "quantile", fraction(self.quantile, "the quantile"))
        if not self.least <= self.bound <= self.most:
            raise ConfigurationError(f"the clip {self.bound:g} lies outside of [{self.least:g}, {self.most:g}]")

    def bit(self, x: FloatVector) -> NDArray[np.int64]:
        """Give what a site adds to the sum: int64 of shape (1,), 1 if the norm of ``x`` before clipping is inside.

        Raises:
            InputError: ``x`` is not a vector, or holds NaN or infinity.
        """
        return np.array([int(l2_norm(x) <= self.bound)], np.int64)

    def update(self, bits: float, count: int) -> "AdaptiveClip":
        """Give the clip of the next round from the sum of the bits of ``count`` sites; noise may have moved it.

        Raises:
            InputError: a sum that is not finite, or no sites.
        """
        count = whole_number(count, "count", 1, 2**62, InputError)
        if not math.isfinite(bits):
            raise InputError("the sum of the clip bits is not finite")
        inside = min(max(bits / count, 0.0), 1.0)
        exponent = -self.rate * (inside - self.quantile)
        bound = self.bound * math.exp(min(max(exponent, -MOST_EXPONENT), MOST_EXPONENT))
        return replace(self, bound=min(max(bound, self.least), self.most))


@dataclass(frozen=True, slots=True)
class BitSchedule:
    """Bits by stage of training: (first round, bits), ascending; later stages usually need more.

    Early updates are large and their direction is what counts; late ones drown in rounding noise first.
    """

    stages: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        """Refuse stages that leave a round without bits."""
        if not self.stages or self.stages[0][0] != 0:
            raise ConfigurationError("a schedule starts with the stage of round 0")
        for round_number, bits in self.stages:
            whole_number(round_number, "the first round of a stage", 0, 2**62)
            whole_number(bits, "the bits of a stage", 1, 32)
        starts = [start for start, _ in self.stages]
        if starts != sorted(set(starts)):
            raise ConfigurationError(f"stages start in ascending rounds, not {starts}")

    def bits(self, round_number: int) -> int:
        """Give the bits of one round, counted from 0."""
        whole_number(round_number, "the round", 0, 2**62)
        return [bits for start, bits in self.stages if start <= round_number][-1]


@dataclass(frozen=True, slots=True)
class BitsByError:
    """Bits that keep the relative quantization error of the mean (NMSE) near a target.

    A bit more divides the squared error by four, so the rule is bits + log4(error / target), rounded up when the
    error is above the target, and towards zero when it is below: a bit is given back only if the error then still
    stays below the target. The error is ``CodecFacts.variance`` * encoded_dim / (n |mean|^2), from public numbers
    and the decoded mean.
    """

    target: float
    least: int = 2
    most: int = 24

    def __post_init__(self) -> None:
        """Refuse targets and limits that make no sense."""
        object.__setattr__(self, "target", positive_bound(self.target, "the target error"))
        whole_number(self.least, "the least bits", 1, 32)
        whole_number(self.most, "the most bits", self.least, 32)

    def update(self, bits: int, error: float) -> int:
        """Give the bits of the next round from the error of this one.

        Raises:
            InputError: an error that is negative or not finite.
        """
        whole_number(bits, "bits", 1, 32)
        if not (math.isfinite(error) and error >= 0):
            raise InputError(f"a relative error is a number of at least 0, not {error}")
        missing = 0.5 * (math.log2(max(error, 1e-30)) - math.log2(self.target))  # the quotient may overflow
        return min(max(bits + (math.ceil(missing) if missing > 0 else math.trunc(missing)), self.least), self.most)
