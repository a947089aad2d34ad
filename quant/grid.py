"""The public uniform grid: real numbers in [-bound, bound] become q in {0, ..., levels - 1} and back.

Everything about the grid is public and the same at all sites, so a sum of integers decodes like one vector.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from quant.checks import positive_bound, whole_number
from quant.errors import ConfigurationError, InputError
from quant.rounding import (
    MAX_NARROW_LEVELS,
    MAX_SHORT_LEVELS,
    MAX_SINGLE_LEVELS,
    add_dither,
    nearest,
    round_fixed_point,
    round_short,
)
from quant.streams import SYSTEM_STREAM, RandomStream
from quant.vectors import WIDE_SLICE, FloatVector, Integers, as_vector, check_integers, magnitude, slices

MAX_LEVELS = 2**32
MAX_DITHER_LEVELS = 2**30
FLOAT_ERROR = 2.0**-49
"""Most that float64 arithmetic adds to the error of one value, in units of ``bound``. Proof: `UniformGrid`."""

MOST_LATE_STEPS = 2.0**13
"""Values of so many steps, 16 fraction bits, half the grid and a coin fit a signed 32-bit word together."""

SINGLE_FLOAT_ERROR = 2.0**-22
"""The same where coins of 16 bits allow float32. Proof: `UniformGrid`."""

Rounding = Literal["stochastic", "nearest", "dither", "conditional"]


class Grid(Protocol):
    """Where a chain ends: vectors of shape (dim,) to integers in [0, levels - 1], and their sums back."""

    @property
    def levels(self) -> int:
        """Number of encoded integers (of the widest coordinate)."""
        ...

    @property
    def bound(self) -> float:
        """Largest magnitude that every coordinate can hold."""
        ...

    @property
    def step(self) -> float:
        """Distance of neighbouring grid points (the largest)."""
        ...

    @property
    def max_error(self) -> float:
        """Largest |decoded - x| of one coordinate that is not saturated."""
        ...

    @property
    def max_bias(self) -> float:
        """Largest |E[decoded] - x| of one coordinate that is not saturated."""
        ...

    @property
    def variance(self) -> float:
        """Largest variance of one coordinate's error, over the coins."""
        ...

    @property
    def rounding(self) -> Rounding:
        """How values between grid points are treated."""
        ...

    @property
    def wraps(self) -> bool:
        """Whether a sum may leave the field and come back at the other end."""
        ...

    def check_dim(self, dim: int) -> None:
        """Refuse a number of coordinates that the grid is not made for."""
        ...

    def encode_part(self, part: FloatVector, first: int, out: Integers, stream: RandomStream, high: float) -> None:
        """Round coordinates first, first + 1, ... of a vector whose largest magnitude is at most ``high``.

        ``out`` may be int32 only if ``levels`` is at most 2^31.
        """
        ...

    def decode(
        self, total: NDArray[np.int64], count: int, dithers: Sequence[RandomStream] = (), *, noise: int = 0
    ) -> NDArray[np.float64]:
        """Give the float sum of ``count`` vectors from the sum of their integers and noise within +-``noise``."""
        ...

    def saturated(self, x: FloatVector) -> int:
        """How many coordinates lie beyond the range."""
        ...

    def config(self) -> dict[str, object]:
        """Give the preset keys."""
        ...


@dataclass(frozen=True, slots=True)
class UniformGrid:
    """A grid of ``levels`` points from -bound to bound, step = 2 * bound / (levels - 1).

    ``levels`` is any whole number from 2 (one bit: the two ends) to 2^32; zero is a grid point if it is odd.

    Rounding, of a value v in units of one step, with a coin u of ``coin_bits`` bits where one is tossed:

    - ``stochastic``: v goes up with probability v - floor(v). Unbiased; variance at most step^2 / 4, on average 1/6.
    - ``nearest``: error at most half a step, which does not average out.
    - ``dither`` (subtractive): rounds as ``stochastic`` does, with coins from the *public* stream of this client, and
      ``decode`` subtracts what the coins added. The error is then uniform over (-step/2, step/2), whatever v is:
      unbiased, variance step^2 / 12. It is the better one wherever the sites share a seed.
    - ``conditional``: as ``stochastic``, but a chain checks the norm of the integers; see ``codec.chain``.

    Exact: q is a whole number in [0, levels - 1] whatever the finite input; ``decode`` is linear in (total, count),
    and opposite grid points decode to opposite floats. Dither: with t = v in fixed point (``coin_bits`` behind the
    point) and u uniform, q 2^b - (t + u) runs through every value of {-(2^b - 1), ..., 0} once as u runs through
    all coins, whatever t; so the error of t after subtraction is exactly uniform on 2^b points symmetric to zero,
    exactly independent of x, and independent between clients as their streams are. Bounded: for |x| <= bound the error
    |decode(encode(x), 1) - x| is at most ``max_error``, and the bias |E[...] - x| at most ``max_bias``. Values beyond
    the bound are saturated, that is moved to the nearer end; ``saturated`` counts them.

    Proof. ``_steps_per_unit`` is rounded down so far that bound * it, as computed, does not pass the last grid point;
    rounding is monotone, so no |x| <= bound does. It errs by at most 3 * 2^-53 relatively, its product with x by
    2^-53 more, the half step of an even grid by 2^-53 bound; decoding multiplies twice, ``step`` itself has two
    roundings: together below 2^-49 bound (`FLOAT_ERROR`). A value that ``decode`` returned for one vector goes back
    to its own grid point if levels <= 2^18 (coins of 32 bits): encoding then errs by less than the 2^-33 of a step at
    which stochastic rounding snaps.

    With coins of 16 bits and at most `MAX_SINGLE_LEVELS` levels, float32 vectors are scaled in float32: the factor and
    the product are each rounded to 2^-24, relatively, together below 2^-22 bound (`SINGLE_FLOAT_ERROR`). The last grid
    point is an even number below 2^23 of units, so the product passes it by half a unit at most and is rounded back
    (halves to even). Zero stays in the middle, exactly.
    """

    levels: int
    bound: float
    rounding: Rounding = "stochastic"
    coin_bits: int = 32

    def __post_init__(self) -> None:
        """Refuse settings that make no grid."""
        object.__setattr__(self, "levels", whole_number(self.levels, "levels", 2, MAX_LEVELS))
        object.__setattr__(self, "bound", positive_bound(self.bound, "the grid range"))
        if self.rounding not in get_args(Rounding):
            choices = " or ".join(get_args(Rounding))
            raise ConfigurationError(f"rounding must be {choices}, not {self.rounding!r}")
        if self.coin_bits not in (16, 32):
            raise ConfigurationError(f"coin_bits must be 16 or 32, not {self.coin_bits!r}")
        most = MAX_SHORT_LEVELS if self.coin_bits == 16 else MAX_LEVELS
        most = min(most, MAX_DITHER_LEVELS) if self.rounding == "dither" else most
        if self.levels > most:
            raise ConfigurationError(f"{self.rounding} rounding, {self.coin_bits}-bit coins: at most {most} levels")

    @property
    def step(self) -> float:
        """Distance of neighbouring grid points."""
        return 2 * self.bound / (self.levels - 1)

    @property
    def bits(self) -> int:
        """Bits of one encoded integer."""
        return (self.levels - 1).bit_length()

    @property
    def wraps(self) -> bool:
        """Totals never wrap: the field is as wide as the cohort needs."""
        return False

    @property
    def max_error(self) -> float:
        """Largest |decode(encode(x), 1) - x| for |x| <= bound, float arithmetic included."""
        steps = 0.5 if self.rounding in ("nearest", "dither") else 1.0
        coin = 2.0**-self.coin_bits if self.rounding == "dither" else 0.0
        return (steps + coin) * self.step + self.float_error

    @property
    def max_bias(self) -> float:
        """Largest |E[decode(encode(x), 1)] - x| for |x| <= bound; nearest rounding does not average out.

        The coins allow probabilities that are multiples of 2^-coin_bits, so half of that is lost.
        """
        if self.rounding == "nearest":
            return self.max_error
        return 2.0 ** -(self.coin_bits + 1) * self.step + self.float_error

    @property
    def float_error(self) -> float:
        """Most that float arithmetic adds to the error of one value."""
        return (SINGLE_FLOAT_ERROR if self._is_single else FLOAT_ERROR) * self.bound

    @property
    def _is_single(self) -> bool:
        """Whether float32 vectors are rounded in float32."""
        return self.coin_bits == 16 and self.rounding != "nearest" and self.levels <= MAX_SINGLE_LEVELS

    @property
    def variance(self) -> float:
        """Largest variance of the error for |x| <= bound: none (nearest), step^2 / 12 (dither), step^2 / 4."""
        return {"nearest": 0.0, "dither": 1 / 12}.get(self.rounding, 1 / 4) * self.step**2

    def check_dim(self, dim: int) -> None:
        """Any number of coordinates will do."""

    def encode(self, x: FloatVector, stream: RandomStream = SYSTEM_STREAM) -> NDArray[np.int64]:
        """Put a vector of shape (dim,) on the grid: int64 of shape (dim,), each in [0, levels - 1].

        All roundings but nearest take coin_bits / 8 bytes of ``stream`` per coordinate, in order. For dither it must
        be the stream that ``decode`` gets.

        Raises:
            InputError: ``x`` is not a vector, or holds NaN or infinity.
        """
        x = as_vector(x)
        high = magnitude(x)
        encoded = np.empty(x.size, np.int64)
        for part in slices(x.size, WIDE_SLICE):
            self.encode_part(x[part], part.start, encoded[part], stream, high)
        return encoded

    def encode_part(self, part: FloatVector, first: int, out: Integers, stream: RandomStream, high: float) -> None:
        """Round one slice into ``out``; ``high`` bounds the magnitudes of the whole vector, ``first`` is unused."""
        short = self.coin_bits == 16 and self.rounding != "nearest"
        late = high > self.bound and self.clips_late(high)  # integers are clipped in half the time of floats
        offset = (self.levels - 1) << (self.coin_bits - 1)  # half the grid
        with np.errstate(under="ignore"):
            if self._is_single and part.dtype == np.float32 and (late or high <= self.bound):
                single = part * np.float32(offset / self.bound)
                round_short(single, offset, stream, out, clip=late)
                return
            wide = np.empty(part.size, np.float64)
            steps = self._steps_per_unit() * (1 if self.rounding == "nearest" else 2.0**self.coin_bits)
            if high > self.bound and not late:
                np.clip(part, -self.bound, self.bound, out=wide, dtype=np.float64)
                wide *= steps
            else:
                np.multiply(part, steps, out=wide, dtype=np.float64)
        if short:
            round_short(wide, offset, stream, out, clip=late)
        elif self.rounding != "nearest":
            round_fixed_point(wide, offset, stream, out)
        else:
            if self.levels % 2 == 0:
                wide -= 0.5  # the middle grid point stands half a step above zero
            np.add(nearest(wide), self.levels // 2, out=out, casting="unsafe")

    def clips_late(self, high: float) -> bool:
        """Whether magnitudes up to ``high`` are clipped as 32-bit integers: faster than to look for the largest."""
        short = self.coin_bits == 16 and self.rounding != "nearest" and self.levels <= MAX_NARROW_LEVELS
        return short and high * self._steps_per_unit() <= MOST_LATE_STEPS

    def decode(
        self, total: NDArray[np.int64], count: int, dithers: Sequence[RandomStream] = (), *, noise: int = 0
    ) -> NDArray[np.float64]:
        """Give the sum of ``count`` vectors from the sum of their integers: step * total - count * bound, float64.

        Written as bound * (2 * total - count * (levels - 1)) / (levels - 1), whose whole part is exact.

        Args:
            total: int64 of shape (dim,).
            count: how many vectors it is the sum of.
            dithers: for dither, the stream of each of these vectors, whose coins are subtracted.
            noise: B, if integer noise of at most this magnitude is in the sum: totals may lie in
                [-B, count * (levels - 1) + B].

        Raises:
            InputError: ``total`` is not a vector of int64, or cannot be the sum of ``count`` encoded vectors.
        """
        most = check_totals(total, count, self.levels, noise)
        if len(dithers) != (count if self.rounding == "dither" else 0):
            raise InputError(f"{self.rounding} rounding of {count} vectors does not go with {len(dithers)} dithers")
        scale = self.bound / (self.levels - 1)
        decoded = np.empty(total.size, np.float64)
        for part in slices(total.size, WIDE_SLICE):
            target = decoded[part]
            np.copyto(target, 2 * total[part] - most)
            if dithers:
                coins = np.zeros(target.size, np.int64)
                add_dither(dithers, self.coin_bits, coins)
                target -= coins * 2.0**-self.coin_bits
            target *= scale
        return decoded

    def saturated(self, x: FloatVector) -> int:
        """How many coordinates lie beyond [-bound, bound], hence are moved to an end when encoded.

        Raises:
            InputError: ``x`` is not a vector, or holds NaN or infinity.
        """
        return count_beyond(x, self.bound)

    def config(self) -> dict[str, object]:
        """Give the preset keys of this grid."""
        keys: dict[str, object] = {"levels": self.levels, "range": self.bound, "rounding": self.rounding}
        # The default under dither depends on the number of levels, so there it is always written out.
        default = self.coin_bits == 32 and self.rounding != "dither"
        return keys if default else keys | {"coin_bits": self.coin_bits}

    def _steps_per_unit(self) -> float:
        """Give 1 / step, rounded down until bound * (1 / step) <= (levels - 1) / 2 in float64."""
        last = (self.levels - 1) / 2
        steps = last / self.bound
        while self.bound * steps > last:
            steps = math.nextafter(steps, 0.0)
        return steps


def check_totals(total: NDArray[np.int64], count: int, levels: int, noise: int = 0) -> int:
    """Give the largest sum of ``count`` encoded integers, count * (levels - 1), if totals are within ``noise`` of sums.

    Raises:
        InputError: not a vector of int64, a total outside of [-noise, count * (levels - 1) + noise], or such totals
            beyond 62 bits.
    """
    most = whole_number(count, "count", 1, 2**62, InputError) * (levels - 1)
    noise = whole_number(noise, "the reach of the noise", 0, 2**62, InputError)
    check_integers(total, np.int64)
    if most + 2 * noise >= 2**62:
        raise InputError(f"{count} clients at {levels} levels and noise within +-{noise} are beyond 62 bits")
    if total.size and not (total.min() >= -noise and total.max() <= most + noise):
        raise InputError(
            f"a total outside of [{-noise}, {most + noise}] is no sum of {count} vectors: wrong count or a wrapped sum"
        )
    return most


def count_beyond(x: FloatVector, bound: float) -> int:
    """How many coordinates have a magnitude beyond ``bound``.

    Raises:
        InputError: ``x`` is not a vector, or holds NaN or infinity.
    """
    x = as_vector(x)
    if magnitude(x) <= bound:
        return 0
    beyond = (np.abs(x[part].astype(np.float64)) > bound for part in slices(x.size))
    return sum(int(np.count_nonzero(mask)) for mask in beyond)
