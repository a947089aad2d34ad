"""Clipping: what bounds the influence of one update before it is put on the grid.

A clip is a plain function of floats with a proven bound. It never enlarges an update, and its result obeys the bound
in exact arithmetic: the true norm of the returned floats, not just the computed one, is at most ``bound``. Sensitivity
arguments may therefore use ``bound`` itself, without an allowance for float rounding.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from quant.checks import positive_bound
from quant.vectors import SLICE, FloatVector, as_vector, magnitude, slices

NORM_ERROR = 2.0**-38
"""Relative error of `l2_norm`, at most. Proof: `l2_norm`."""

SHRINK = {"float32": 2.0**-22, "float64": 2.0**-35}
"""How far below the bound a clipped vector is aimed. Proof: `ClipL2`."""

SMALL_FACTOR = 2.0**-100
"""Below this, float32 could not hold the clip factor as a normal number: multiply in float64."""

TAME_EXPONENT = 400
"""Squares of float64 values within 2^-400 and 2^400 neither overflow nor underflow in a way that matters."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of a vector on its way through a chain; None where nothing is known."""

    l2: float | None = None
    linf: float | None = None

    def narrowed(self, *, l2: float | None = None, linf: float | None = None) -> "Bounds":
        """Add knowledge: the smaller of what was known and what is new. An L2 bound is an L-infinity bound."""
        return Bounds(l2=_least(self.l2, l2), linf=_least(self.linf, l2, linf))


class Clip(Protocol):
    """A transform of one vector that never enlarges it."""

    @property
    def bound(self) -> float:
        """The bound on its norm."""
        ...

    def check_dim(self, dim: int) -> None:
        """Refuse a number of coordinates that the clip is not made for."""
        ...

    def apply(self, x: FloatVector) -> FloatVector:
        """Give the clipped vector, shape and dtype as ``x``."""
        ...

    def narrow(self, bounds: Bounds) -> Bounds:
        """Give what is known after ``apply``, from what was known before."""
        ...

    def config(self) -> dict[str, object]:
        """Give the public setting, JSON-able."""
        ...


@dataclass(frozen=True, slots=True)
class ClipL2:
    """Scale a vector down to Euclidean norm ``bound`` if it is longer. Direction is kept up to rounding.

    Exact: a vector of norm <= bound * (1 - 2^-36) is returned itself, untouched (the very array, no copy).
    Bounded: the true norm of every result is <= bound, and a vector that was too long keeps a norm of at least
    bound * (1 - 2^-21) (float64: 1 - 2^-34). Clipping twice equals clipping once.

    Proof. With N the true norm and M = `l2_norm`, |M/N - 1| <= e = 2^-38. Returned untouched only if
    M (1 + 2e) <= bound, so N <= M / (1 - e) < bound. Otherwise each coordinate is x_i times the factor
    bound (1 - s) / M, s = `SHRINK`, where factor and product are rounded to the dtype, after a few roundings in
    float64 (2^-50 in all). For float32 (unit roundoff 2^-24, near zero at most 2^-150) the result has norm
    <= bound (1 - s)(1 + e)(1 + 2^-24)^2 (1 + 2^-50) + sqrt(d) 2^-150; the last term is below 2^-30 bound for
    d <= 2^40 and bound >= 1e-30. With s = 2^-22 all is <= bound (1 - 2^-24). For float64, s = 2^-35 gives
    <= bound (1 - 2^-36). Both leave 4e of room, so the second clip returns its input.
    """

    bound: float

    def __post_init__(self) -> None:
        """Refuse a bound that is no positive, ordinary number."""
        object.__setattr__(self, "bound", positive_bound(self.bound, "the L2 clip bound"))

    def check_dim(self, dim: int) -> None:
        """Any number of coordinates will do."""

    def apply(self, x: FloatVector) -> FloatVector:
        """Clip one vector of shape (dim,), float32 or float64; the dtype is kept. No numpy warning, ever.

        Raises:
            InputError: ``x`` is not a vector, or holds NaN or infinity.
        """
        x = as_vector(x)
        factor, exponent = self.factor(x)
        if factor is None:
            return x
        clipped = np.empty_like(x)
        arithmetic = x.dtype if factor > SMALL_FACTOR else np.float64
        with np.errstate(under="ignore"):
            tame = np.ldexp(x, -exponent) if exponent else x
            np.multiply(tame, factor, out=clipped, dtype=arithmetic)
        return clipped

    def factor(self, x: FloatVector) -> tuple[float | None, int]:
        """Give what ``apply`` multiplies by, (f, e) for f 2^-e; f is None if it leaves ``x`` alone.

        e is 0 unless squares of ``x`` could leave float64. In float32, with f > `SMALL_FACTOR`, ``apply`` is one
        multiplication in float32.

        Raises:
            InputError: ``x`` holds NaN or infinity.
        """
        if x.dtype == np.float32 and _surely_inside(x, self.bound):
            return None, 0
        root, exponent = _scaled_norm(x)
        if root * (1 + 2 * NORM_ERROR) <= math.ldexp(self.bound, -exponent):
            return None, 0
        return self.bound * (1 - SHRINK[x.dtype.name]) / root, exponent

    def narrow(self, bounds: Bounds) -> Bounds:
        """Both norms are at most ``bound`` afterwards."""
        return bounds.narrowed(l2=self.bound)

    def config(self) -> dict[str, object]:
        """Give the preset key of this clip."""
        return {"clip": self.bound}


@dataclass(frozen=True, slots=True)
class ClipLinf:
    """Cut every coordinate to [-bound, bound]. Exact: inside values are untouched, none is beyond afterwards.

    The bound is rounded towards zero to the dtype of the vector, so |result| <= bound also holds for a bound
    that float32 cannot hold.
    """

    bound: float

    def __post_init__(self) -> None:
        """Refuse a bound that is no positive, ordinary number."""
        object.__setattr__(self, "bound", positive_bound(self.bound, "the L-infinity clip bound"))

    def check_dim(self, dim: int) -> None:
        """Any number of coordinates will do."""

    def apply(self, x: FloatVector) -> FloatVector:
        """Clip one vector of shape (dim,), float32 or float64; the dtype is kept.

        Raises:
            InputError: ``x`` is not a vector, or holds NaN or infinity.
        """
        x = as_vector(x)
        if magnitude(x) <= self.bound:
            return x
        edge = x.dtype.type(self.bound)
        if float(edge) > self.bound:
            edge = np.nextafter(edge, x.dtype.type(0))
        return np.clip(x, -edge, edge, out=np.empty_like(x))

    def narrow(self, bounds: Bounds) -> Bounds:
        """The largest magnitude is at most ``bound`` afterwards; the L2 norm is not larger than it was."""
        return bounds.narrowed(linf=self.bound)

    def config(self) -> dict[str, object]:
        """Give the preset key of this clip."""
        return {"clip_linf": self.bound}


def l2_norm(x: FloatVector) -> float:
    """Euclidean norm of a vector of shape (dim,), with relative error <= 2^-38; infinite only if beyond float64.

    Why: squares of float32 are exact in float64 and neither overflow nor underflow there; float64 coordinates
    are first scaled by a power of two (exact) when their largest is far from 1. A slice has 2^13 squares; summed
    in any order they err by at most (2^13 + 1) 2^-53 relatively, because all are positive. ``math.fsum`` adds the
    slices with one rounding, and the root halves the relative error: 2^-41, plus a few 2^-53.

    Raises:
        InputError: ``x`` is not a vector, or holds NaN or infinity.
    """
    root, exponent = _scaled_norm(as_vector(x))
    try:
        return math.ldexp(root, exponent)
    except OverflowError:
        return math.inf


def _scaled_norm(x: FloatVector) -> tuple[float, int]:
    """Give (root, exponent) with norm = root * 2^exponent; the exponent is 0 unless squares could leave float64."""
    exponent = 0
    if x.dtype == np.float64:
        exponent = math.frexp(magnitude(x))[1]
        exponent = 0 if abs(exponent) <= TAME_EXPONENT else max(exponent, -900)  # 2^900 MAX_BOUND is a float
    squares = []
    buffer = np.empty(min(x.size, SLICE), np.float64)
    with np.errstate(under="ignore", invalid="ignore"):
        for part in slices(x.size):
            wide = buffer[: part.stop - part.start]
            if exponent:
                np.ldexp(x[part], -exponent, out=wide)
            else:
                np.copyto(wide, x[part])
            squares.append(float(np.dot(wide, wide)))
    total = math.fsum(squares)
    if not math.isfinite(total):
        magnitude(x)  # refuses: a float32 sum is finite if all coordinates are
    return math.sqrt(total), exponent


def _surely_inside(x: FloatVector, bound: float) -> bool:
    """Whether a norm in float32 is so far below the bound that the exact one need not be computed.

    A float32 sum of 2^13 positive squares errs by at most 2^-11 (1 + 2^-10) relatively, and by 2^13 2^-149 per slice
    where squares underflow: 2 % and bounds above 1e-15 pay for both (dim <= 2^40). NaN and infinity are never inside,
    because the sum of their squares is not finite.
    """
    if bound <= 1e-15:
        return False
    limit, squared = 0.98 * bound**2, 0.0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for part in slices(x.size):
            squared += float(np.dot(x[part], x[part]))
            if not squared <= limit:  # also if it is NaN
                return False
    return True


def _least(*bounds: float | None) -> float | None:
    """The smallest of the bounds that are known."""
    return min((b for b in bounds if b is not None), default=None)
