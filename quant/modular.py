"""Modular clipping: values are not cut at the ends of a range but come round at the other end, like the sum itself.

Fields need no room for the cohort then: w bits hold the *sum*, if the sum stays within half of 2^w. That it may not is
a probability, stated here. Sums that wrap must not share lanes, because a wrap carries into the next field.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from quant.capacity import MAX_WIDTH
from quant.checks import positive_bound, whole_number
from quant.errors import ConfigurationError, InputError
from quant.grid import Rounding, count_beyond
from quant.rounding import add_dither, round_fixed_point
from quant.streams import RandomStream
from quant.vectors import FloatVector, Integers, check_integers

MAX_MODULUS_BITS = 30

LEAST_PROBABILITY = 1e-300
"""Half of a probability below this may be no float."""


@dataclass(frozen=True, slots=True)
class ModularGrid:
    """Whole multiples of ``step`` modulo M = 2^modulus_bits; the decoder takes the representative in [-M/2, M/2).

    Exact: encoding commutes with addition modulo M, whatever the values, so the decoded sum equals the sum of the
    rounded values if that sum lies in [-M/2, M/2) steps, and is off by a multiple of M steps otherwise. Nothing detects
    this. Bounded: rounding as `UniformGrid` (stochastic or dither); the probability of a wrap, by ``wrap_probability``.

    Source: Bonawitz et al. 2019 ("Federated learning with autotuned communication-efficient secure aggregation").
    """

    modulus_bits: int
    step: float
    rounding: Rounding = "stochastic"

    def __post_init__(self) -> None:
        """Refuse settings that make no grid."""
        bits = whole_number(self.modulus_bits, "modulus_bits", 2, MAX_MODULUS_BITS)
        object.__setattr__(self, "modulus_bits", bits)
        object.__setattr__(self, "step", positive_bound(self.step, "the step"))
        if self.rounding not in ("stochastic", "dither"):
            raise ConfigurationError(f"modular rounding must be stochastic or dither, not {self.rounding!r}")

    @property
    def levels(self) -> int:
        """The modulus."""
        return 1 << self.modulus_bits

    @property
    def bound(self) -> float:
        """Largest magnitude that one vector alone can hold after rounding, without a wrap."""
        return (self.levels // 2 - 1) * self.step

    @property
    def max_error(self) -> float:
        """Largest error of a value whose sum does not wrap; 2^-20 of a step pays for float arithmetic."""
        return (0.5 if self.rounding == "dither" else 1.0) * self.step + 2.0**-20 * self.step

    @property
    def max_bias(self) -> float:
        """Largest bias of such a value: half a coin, and the float arithmetic."""
        return 2.0**-20 * self.step

    @property
    def variance(self) -> float:
        """Largest variance: step^2 / 12 for dither, step^2 / 4 for stochastic rounding."""
        return (1 / 12 if self.rounding == "dither" else 1 / 4) * self.step**2

    @property
    def wraps(self) -> bool:
        """Sums may wrap."""
        return True

    def check_dim(self, dim: int) -> None:
        """Any number of coordinates will do."""

    def encode_part(self, part: FloatVector, first: int, out: Integers, stream: RandomStream, high: float) -> None:
        """Round one slice modulo M.

        Raises:
            InputError: values so large that a float64 does not know their residue.
        """
        if high > 2.0**32 * self.step:
            raise InputError("a value is more than 2^32 steps from zero, its residue would be noise: clip the update")
        wide = part.astype(np.float64)
        wide /= self.step
        wide -= np.rint(wide / self.levels) * self.levels  # now in [-M/2, M/2], exactly
        wide *= 2.0**32
        round_fixed_point(wide, self.levels << 31, stream, out)
        out -= self.levels // 2
        out &= self.levels - 1

    def decode(
        self, total: NDArray[np.int64], count: int, dithers: Sequence[RandomStream] = (), *, noise: int = 0
    ) -> NDArray[np.float64]:
        """Give the sum of ``count`` vectors from a sum of integers, reduced modulo M or not.

        Raises:
            InputError: not int64, another number of dithers than vectors, or noise, which would wrap unseen.
        """
        if noise:
            raise InputError("sums that wrap have no room for noise: take a uniform grid")
        count = whole_number(count, "count", 1, 2**MAX_WIDTH, InputError)
        check_integers(total, np.int64)
        if len(dithers) != (count if self.rounding == "dither" else 0):
            raise InputError(f"{self.rounding} rounding of {count} vectors does not go with {len(dithers)} dithers")
        coins = np.zeros(total.size, np.int64)
        add_dither(dithers, 32, coins)
        half = self.levels // 2
        centred = ((total + half) & (self.levels - 1)) - half
        return (centred - coins * 2.0**-33) * self.step

    def saturated(self, x: FloatVector) -> int:
        """How many coordinates would wrap already in this vector alone."""
        return count_beyond(x, self.bound)

    def wrap_probability(self, sum_deviation: float) -> float:
        """Probability that one coordinate wraps, if the sum is normal with this standard deviation: erfc(k / sqrt 2).

        Holds for independent centred updates after a rotation, deviation sqrt(n) sigma; for updates that agree it is
        n sigma. Assume n sigma unless you know better: with sqrt(n), updates with a common mean wrap in
        2 to 4 % of their coordinates. The rounding errors' own deviation must be part of ``sum_deviation``.
        """
        deviation = positive_bound(sum_deviation, "the deviation of the sum")
        return math.erfc(self.levels / 2 * self.step / (deviation * math.sqrt(2)))

    def config(self) -> dict[str, object]:
        """Give the preset keys."""
        return {"modulus_bits": self.modulus_bits, "step": self.step, "rounding": self.rounding}


def modular_step(modulus_bits: int, sum_deviation: float, wrap_probability: float) -> float:
    """Give the least step at which a normal sum wraps with at most this probability per coordinate.

    Raises:
        ConfigurationError: a probability outside of [1e-300, 1), or a deviation that is no positive number.
    """
    if not LEAST_PROBABILITY <= wrap_probability < 1:
        raise ConfigurationError(
            f"a wrap probability lies between 0 and 1 (at least {LEAST_PROBABILITY}), not {wrap_probability}"
        )
    deviation = positive_bound(sum_deviation, "the deviation of the sum")
    bits = whole_number(modulus_bits, "modulus_bits", 2, MAX_MODULUS_BITS)
    sigmas = -NormalDist().inv_cdf(wrap_probability / 2)
    return math.ldexp(2 * sigmas * deviation * (1 + 2.0**-30), -bits)
