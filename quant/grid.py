"""The public uniform grid: real numbers in [-bound, bound] become q in {0, ..., levels - 1} and back.

Everything about the grid is public and the same at all sites, so a sum of integers decodes like one vector.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from quant.checks import positive_bound, whole_number
from quant.errors import ConfigurationError, InputError
from quant.rounding import FRACTION, STOCHASTIC_BIAS, nearest, round_fixed_point
from quant.streams import SYSTEM_STREAM, RandomStream
from quant.vectors import SLICE, FloatVector, as_vector, check_integers, magnitude, slices

MAX_LEVELS = 2**32
FLOAT_ERROR = 2.0**-49
"""Most that float64 arithmetic adds to the error of one value, in units of ``bound``. Proof: `UniformGrid`."""

Rounding = Literal["stochastic", "nearest"]


@dataclass(frozen=True, slots=True)
class UniformGrid:
    """A grid of ``levels`` points from -bound to bound, step = 2 * bound / (levels - 1).

    ``levels`` is any whole number from 2 (one bit: the two ends) to 2^32; zero is a grid point if it is odd.

    Exact: q is a whole number in [0, levels - 1] whatever the finite input; ``decode`` is linear in (total, count),
    and opposite grid points decode to opposite floats. Bounded: for |x| <= bound the error
    |decode(encode(x), 1) - x| is at most ``max_error``, and the bias |E[...] - x| at most ``max_bias``. Values beyond
    the bound are saturated, that is moved to the nearer end; ``saturated`` counts them.

    Proof. ``_steps_per_unit`` is rounded down so far that bound * it, as computed, does not pass the last grid point;
    rounding is monotone, so no |x| <= bound does. It errs by at most 3 * 2^-53 relatively, its product with x by
    2^-53 more, the half step of an even grid by 2^-53 bound; decoding multiplies twice, ``step`` itself has two
    roundings: together below 2^-49 bound (`FLOAT_ERROR`). A value that ``decode`` returned for one vector goes back
    to its own grid point if levels <= 2^18: encoding then errs by less than the 2^-33 of a step at which stochastic
    rounding snaps.
    """

    levels: int
    bound: float
    rounding: Rounding = "stochastic"

    def __post_init__(self) -> None:
        """Refuse settings that make no grid."""
        object.__setattr__(self, "levels", whole_number(self.levels, "levels", 2, MAX_LEVELS))
        object.__setattr__(self, "bound", positive_bound(self.bound, "the grid range"))
        if self.rounding not in get_args(Rounding):
            choices = " or ".join(get_args(Rounding))
            raise ConfigurationError(f"rounding must be {choices}, not {self.rounding!r}")

    @property
    def step(self) -> float:
        """Distance of neighbouring grid points."""
        return 2 * self.bound / (self.levels - 1)

    @property
    def bits(self) -> int:
        """Bits of one encoded integer."""
        return (self.levels - 1).bit_length()

    @property
    def max_error(self) -> float:
        """Largest |decode(encode(x), 1) - x| for |x| <= bound, float64 arithmetic included."""
        steps = 0.5 if self.rounding == "nearest" else 1.0
        return steps * self.step + FLOAT_ERROR * self.bound

    @property
    def max_bias(self) -> float:
        """Largest |E[decode(encode(x), 1)] - x| for |x| <= bound; nearest rounding does not average out."""
        if self.rounding == "nearest":
            return self.max_error
        return STOCHASTIC_BIAS * self.step + FLOAT_ERROR * self.bound

    def encode(self, x: FloatVector, stream: RandomStream = SYSTEM_STREAM) -> NDArray[np.int64]:
        """Put a vector of shape (dim,) on the grid: int64 of shape (dim,), each in [0, levels - 1].

        Stochastic rounding takes 4 bytes of ``stream`` per coordinate, in order; nearest rounding takes none.

        Raises:
            InputError: ``x`` is not a vector, or holds NaN or infinity.
        """
        x = as_vector(x)
        saturate = magnitude(x) > self.bound
        encoded = np.empty(x.size, np.int64)
        buffer = np.empty(min(x.size, SLICE), np.float64)
        for part in slices(x.size):
            wide = buffer[: part.stop - part.start]
            np.copyto(wide, x[part])
            if saturate:
                np.clip(wide, -self.bound, self.bound, out=wide)
            self._round(wide, encoded[part], stream)
        return encoded

    def decode(self, total: NDArray[np.int64], count: int) -> NDArray[np.float64]:
        """Give the sum of ``count`` vectors from the sum of their integers: step * total - count * bound, float64.

        Written as bound * (2 * total - count * (levels - 1)) / (levels - 1), whose whole part is exact.

        Raises:
            InputError: ``total`` is not a vector of int64, or cannot be the sum of ``count`` encoded vectors.
        """
        most = whole_number(count, "count", 1, 2**62, InputError) * (self.levels - 1)
        check_integers(total, np.int64)
        if most >= 2**62:
            raise InputError(f"{count} clients at {self.levels} levels are beyond 62 bits")
        if total.size and not (total.min() >= 0 and total.max() <= most):
            raise InputError(
                f"a total outside of [0, {most}] is no sum of {count} vectors: wrong count or a wrapped sum"
            )
        scale = self.bound / (self.levels - 1)
        decoded = np.empty(total.size, np.float64)
        for part in slices(total.size):
            np.multiply(2 * total[part] - most, scale, out=decoded[part])
        return decoded

    def saturated(self, x: FloatVector) -> int:
        """How many coordinates lie beyond [-bound, bound], hence are moved to an end when encoded.

        Raises:
            InputError: ``x`` is not a vector, or holds NaN or infinity.
        """
        x = as_vector(x)
        if magnitude(x) <= self.bound:
            return 0
        beyond = (np.abs(x[part].astype(np.float64)) > self.bound for part in slices(x.size))
        return sum(int(np.count_nonzero(mask)) for mask in beyond)

    def config(self) -> dict[str, object]:
        """Give the preset keys of this grid."""
        return {"levels": self.levels, "range": self.bound, "rounding": self.rounding}

    def _round(self, wide: NDArray[np.float64], out: NDArray[np.int64], stream: RandomStream) -> None:
        """Round one slice of values in [-bound, bound] to grid indices; ``wide`` is overwritten."""
        if self.rounding == "stochastic":
            with np.errstate(under="ignore"):
                wide *= self._steps_per_unit() * FRACTION
            round_fixed_point(wide, (self.levels - 1) << 31, stream, out)  # offset: half the grid, in fixed point
        else:
            with np.errstate(under="ignore"):
                wide *= self._steps_per_unit()
            if self.levels % 2 == 0:
                wide -= 0.5  # the middle grid point stands half a step above zero
            np.add(nearest(wide), self.levels // 2, out=out)

    def _steps_per_unit(self) -> float:
        """Give 1 / step, rounded down until bound * (1 / step) <= (levels - 1) / 2 in float64."""
        last = (self.levels - 1) / 2
        steps = last / self.bound
        while self.bound * steps > last:
            steps = math.nextafter(steps, 0.0)
        return steps
