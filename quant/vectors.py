"""What a vector is in this package, and how one is walked.

A vector is one-dimensional, float32 or float64 in native byte order, and finite. Long vectors are walked in slices
whose float64 copy (64 KiB) stays in the nearest caches, so that wide temporaries cost neither memory nor bandwidth.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from quant.errors import InputError

FloatVector = NDArray[np.float32] | NDArray[np.float64]

Integers = NDArray[np.int64] | NDArray[np.int32]
"""Encoded coordinates; 32 bits wherever they suffice and stay inside of the package."""

SLICE = 1 << 13
"""Coordinates per slice. Part of the error bound of `clip.l2_norm`; no integer on the grid depends on it.
Small enough, too, that no BLAS starts threads for one slice."""


WIDE_SLICE = 1 << 16
"""Coordinates per slice where no BLAS is called: wider, because each numpy call costs about a microsecond."""


def slices(size: int, width: int = SLICE) -> Iterator[slice]:
    """Cut range(size) into slices of at most ``width``, in order."""
    for start in range(0, size, width):
        yield slice(start, min(start + width, size))


def as_vector(x: object, dim: int | None = None) -> FloatVector:
    """Give ``x`` as a vector, finite or not: no copy if it is native float32 or float64; float16 becomes float32.

    Raises:
        InputError: not a numpy array of floats, not one-dimensional, empty, or not ``dim`` long.
    """
    if not isinstance(x, np.ndarray):
        raise InputError(f"expected a numpy vector, not {type(x).__name__}; Layout.flatten makes one")
    if isinstance(x, np.ma.MaskedArray):  # its minimum would not see what is masked
        raise InputError("a masked array has values that are none: fill them (numpy.ma.filled) before")
    if x.dtype.name not in ("float16", "float32", "float64"):
        raise InputError(f"expected a vector of float32 or float64, not {x.dtype.name}; Layout.flatten makes one")
    if x.ndim != 1 or x.size == 0:
        raise InputError(f"expected a vector of shape (dim,) with dim >= 1, not {x.shape}")
    if dim is not None and x.size != dim:
        raise InputError(f"expected a vector of {dim} coordinates, not {x.size}")
    if x.dtype.name == "float64":
        return x.astype(np.float64, copy=False)  # copies only what is not in native byte order
    return x.astype(np.float32, copy=False)


def check_integers(values: object, dtype: type[np.int64] | type[np.uint64], size: int | None = None) -> None:
    """Refuse what is not a vector of whole numbers of one type, ``size`` long if that is given.

    Raises:
        InputError: saying what was expected and what came.
    """
    expected = f"expected a numpy vector of {dtype.__name__}" + ("" if size is None else f" of shape ({size},)")
    if not isinstance(values, np.ndarray):
        raise InputError(f"{expected}, not {type(values).__name__}")
    if values.dtype != dtype or values.ndim != 1 or size not in (None, values.size):
        raise InputError(f"{expected}, not {values.dtype} of shape {values.shape}")


def magnitude(x: FloatVector) -> float:
    """Largest |x_i|, exact. The one place that finds NaN and infinity.

    Raises:
        InputError: if any coordinate is NaN or infinite, saying how many.
    """
    with np.errstate(invalid="ignore"):
        low, high = float(x.min()), float(x.max())  # both are NaN if any coordinate is
    if not (low > -np.inf and high < np.inf):
        bad = x.size - int(np.count_nonzero(np.isfinite(x)))
        raise InputError(f"{bad} of {x.size} coordinates are NaN or infinite; nothing was encoded")
    return max(-low, high)
