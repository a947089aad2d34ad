"""Grids that lose nothing: integers in, exact integers out; floats inside a declared window of exponents.

A float is a whole number times a power of two. If all values are multiples of 2^low and below 2^high, they are whole
numbers of high - low bits and a sign, and so is their sum, in a field wide enough for the cohort. For float16 the
window is the whole type: multiples of 2^-24 below 2^16, 41 bits, plus log2(n) for the sum.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.checks import whole_number
from quant.errors import ConfigurationError, InputError
from quant.grid import Rounding, UniformGrid, check_totals
from quant.streams import RandomStream
from quant.vectors import FloatVector, Integers, check_integers

EXACT_BITS = 53
"""Whole numbers up to 2^53 are exact in float64, hence in what ``decode`` gives."""

FLOAT16_WINDOW = (-24, 16)
"""All of float16: subnormals are multiples of 2^-24, the largest value is 65504."""


@dataclass(frozen=True, slots=True)
class LosslessGrid:
    """Multiples of 2^low below 2^high in magnitude, as whole numbers. Nothing is rounded, cut or scaled.

    Exact: decode(sum of encodings) is the real sum, as long as it is below 2^53 units (``decode`` refuses beyond, and
    ``decode_integers`` never needs it). A value outside of the window is refused, not moved: the first grid here that
    can say no to an update, which is an observable event; clip and choose the window so that it does not happen.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        """Refuse windows that no field could hold."""
        object.__setattr__(self, "low", whole_number(self.low, "the lowest exponent", -1074, 1023))
        object.__setattr__(self, "high", whole_number(self.high, "the highest exponent", -1073, 1024))
        if not 1 <= self.high - self.low <= EXACT_BITS:
            raise ConfigurationError(
                f"a window from 2^{self.low} to 2^{self.high} is {self.high - self.low} bits wide; "
                f"1 to {EXACT_BITS} can be summed exactly"
            )

    @classmethod
    def float16(cls) -> "LosslessGrid":
        """Give the window of all float16 values."""
        return cls(*FLOAT16_WINDOW)

    @property
    def centre(self) -> int:
        """What zero becomes: the largest magnitude in units of 2^low."""
        return (1 << (self.high - self.low)) - 1

    @property
    def levels(self) -> int:
        """From minus to plus ``centre``."""
        return 2 * self.centre + 1

    @property
    def step(self) -> float:
        """The unit, 2^low."""
        return math.ldexp(1.0, self.low)

    @property
    def bound(self) -> float:
        """Largest value of the window."""
        return math.ldexp(float(self.centre), self.low)

    @property
    def max_error(self) -> float:
        """None at all."""
        return 0.0

    @property
    def max_bias(self) -> float:
        """None at all."""
        return 0.0

    @property
    def variance(self) -> float:
        """None at all."""
        return 0.0

    @property
    def rounding(self) -> Rounding:
        """No coins; values that would need rounding are refused."""
        return "nearest"

    @property
    def wraps(self) -> bool:
        """Totals never wrap."""
        return False

    def check_dim(self, dim: int) -> None:
        """Any number of coordinates will do."""

    def encode_part(self, part: FloatVector, first: int, out: Integers, stream: RandomStream, high: float) -> None:
        """Give x / 2^low + centre, exactly.

        Raises:
            InputError: values that are no multiples of 2^low, or not below 2^high.
        """
        wide = part.astype(np.float64)
        outside = int(np.count_nonzero(np.abs(wide) > self.bound))
        if outside:
            raise InputError(f"{outside} coordinates are not below 2^{self.high}: widen the window (exact_high)")
        units = np.ldexp(wide, -self.low)
        # a tiny value divided by 2^low may underflow to zero, which is whole
        uneven = int(np.count_nonzero((units != np.rint(units)) | ((units == 0) & (wide != 0))))
        if uneven:
            raise InputError(f"{uneven} coordinates are no multiples of 2^{self.low}: lower the window (exact_low)")
        np.copyto(out, units, casting="unsafe")
        out += self.centre

    def decode(
        self, total: NDArray[np.int64], count: int, dithers: Sequence[RandomStream] = (), *, noise: int = 0
    ) -> NDArray[np.float64]:
        """Give the exact sum of ``count`` vectors, and of integer noise within +-``noise``.

        Raises:
            InputError: not the sum of ``count`` encoded vectors, or beyond the 53 bits or the range of float64.
        """
        units = self.decode_integers(total, count, noise=noise)
        if units.size and max(-int(units.min()), int(units.max())) > 2**EXACT_BITS:
            raise InputError(f"a sum beyond {EXACT_BITS} bits is not exact in float64: use decode_integers")
        with np.errstate(over="ignore"):
            exact = np.ldexp(units.astype(np.float64), self.low)
        if not np.isfinite(exact).all():
            raise InputError("a sum is beyond float64: use decode_integers")
        return exact

    def encode_integers(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give whole numbers of units as what is summed: int64 of shape (dim,), each in [0, levels - 1].

        Raises:
            InputError: not int64, or a magnitude beyond ``centre``.
        """
        check_integers(values, np.int64)
        if values.size and not (values.min() >= -self.centre and values.max() <= self.centre):
            raise InputError(f"a whole number is beyond +-{self.centre}: widen the window (exact_high)")
        return values + self.centre

    def decode_integers(self, total: NDArray[np.int64], count: int, *, noise: int = 0) -> NDArray[np.int64]:
        """Give the exact sum of ``count`` vectors of whole numbers of units, and of noise within +-``noise``.

        Raises:
            InputError: not the sum of ``count`` encoded vectors.
        """
        check_totals(total, count, self.levels, noise)
        return total - count * self.centre

    def saturated(self, x: FloatVector) -> int:
        """Nothing is ever moved."""
        return 0

    def config(self) -> dict[str, object]:
        """Give the preset keys."""
        return {"exact_low": self.low, "exact_high": self.high}


def fixed_point(integer_bits: int, fraction_bits: int, rounding: Rounding = "stochastic") -> UniformGrid:
    """Give the symmetric fixed-point grid: multiples of 2^-fraction_bits below 2^integer_bits, and a sign bit.

    It is a `UniformGrid` of 2^(integer_bits + fraction_bits + 1) - 1 levels; zero is a grid point, and so is minus
    every grid point (two's complement has one value more, which has no opposite).

    Raises:
        ConfigurationError: bits that are negative, none at all, or more than 31 together.
    """
    whole = whole_number(integer_bits, "integer_bits", 0, 31)
    fraction = whole_number(fraction_bits, "fraction_bits", 0, 31)
    if not 1 <= whole + fraction <= 31:
        raise ConfigurationError(f"a fixed-point number has 1 to 31 bits and a sign, not {whole} + {fraction}")
    top = 2 ** (whole + fraction) - 1
    return UniformGrid(2 * top + 1, math.ldexp(float(top), -fraction), rounding)
