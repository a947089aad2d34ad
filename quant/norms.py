"""Norms of encoded integers: what rounding can do to an L2 bound, and a check on integers that makes it certain.

Rounding moves every coordinate, so the integers of a vector of norm c can be longer than c / step. Noise has to be
calibrated to the integers; every factor here is paid for in noise.
"""

import math

import numpy as np
from numpy.typing import NDArray

from quant.errors import ConfigurationError
from quant.grid import Grid, UniformGrid
from quant.vectors import slices

MAX_CHECKED_LEVELS = 2**24 - 1
"""Up to here squares of a whole slice fit an int64."""

BETA = 1e-10
"""Probability that a conditional encoding is refused and becomes the zero vector, at most; its bias is BETA |x|."""

HEADROOM = 1 + 2.0**-40
"""Pays for the float64 arithmetic of the bounds below."""


def norm_limit(grid: Grid, l2: float | None, dim: int) -> int | None:
    """Bound on sum (q - centre)^2 over the ``dim`` integers of a vector of norm at most ``l2``; None if l2 is None.

    With L = l2 / step: (L + sqrt(d) / 2)^2 for nearest rounding, (L + sqrt(d))^2 for coins, because no coordinate
    moves further. For conditional rounding

        L^2 + d / 4 + sqrt(2 ln(1 / beta)) (L + sqrt(d) / 2),

    which a fresh stochastic rounding exceeds with probability at most beta = 1e-10 (Kairouz, Liu and Steinke 2021,
    "The distributed discrete Gaussian mechanism for federated learning with secure aggregation", conditional rounding,
    where the coins are tossed again instead); `checked` makes it certain. Float arithmetic moves every coordinate by
    at most ``float_error`` before coins are tossed: L contains that. Saturation moves values towards the centre,
    so it breaks none of this; the ends of the grid bound the rest.
    """
    if l2 is None or not isinstance(grid, UniformGrid):
        return None
    root = math.sqrt(dim)
    length = l2 / grid.step + root * (grid.float_error / grid.step if grid.rounding != "nearest" else 0.0)
    if grid.rounding == "conditional":
        squared = length**2 + dim / 4 + math.sqrt(2 * math.log(1 / BETA)) * (length + root / 2)
        squared = min(squared, (length + root) ** 2)
    else:
        squared = (length + root * (0.5 if grid.rounding == "nearest" else 1.0)) ** 2
    return min(math.ceil(squared * HEADROOM), -(-dim * (grid.levels - 1) ** 2 // 4))


def check_conditional(grid: Grid, l2: float | None) -> None:
    """Refuse conditional rounding where there is no norm to check or no zero vector to fall back to.

    Raises:
        ConfigurationError: naming what is missing.
    """
    if grid.rounding != "conditional":
        return
    if l2 is None:
        raise ConfigurationError("conditional rounding checks an L2 norm: put a ClipL2 (clip) before it")
    if grid.levels % 2 == 0 or grid.levels > MAX_CHECKED_LEVELS:
        raise ConfigurationError(
            f"conditional rounding needs an odd number of levels, at most {MAX_CHECKED_LEVELS}, so that the zero "
            f"vector is on the grid; {grid.levels} is none: take {min(grid.levels | 1, MAX_CHECKED_LEVELS)}"
        )


def checked(encoded: NDArray[np.int64], levels: int, limit: int | None) -> None:
    """Replace integers whose norm exceeds ``limit`` by those of the zero vector, in place; exact arithmetic.

    One rounding, one check, no retry: the running time does not depend on how often the coins were bad, and the bound
    does not depend on floats. An error here would be seen by others, a zero vector is not.
    """
    centre = levels // 2
    squared = 0
    for part in slices(encoded.size):
        centred = encoded[part] - centre
        squared += int(np.dot(centred, centred))
    if limit is not None and squared > limit:
        encoded[:] = centre
