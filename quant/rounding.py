"""Rounding: from real numbers in units of one grid step to whole numbers.

Both ways take ``scaled``: float64 values, shape (n,), in [-2^31, 2^31 - 1], and give int64 of the same shape. A value
that is whole already is never moved. Stochastic rounding works in fixed point with 32 bits behind the point, so all
that is random in it is exact integer arithmetic.
"""

import numpy as np
from numpy.typing import NDArray

from quant.errors import InputError
from quant.streams import RandomStream
from quant.vectors import slices

LEAST_SCALED, MOST_SCALED = -(2.0**31), 2.0**31 - 1
"""The domain: 32 whole bits and 32 fraction bits fill one 64-bit word exactly."""

FRACTION = 2.0**32
"""One grid step in fixed point."""

STOCHASTIC_BIAS = 2.0**-33
"""|E[stochastic(v)] - v| in grid steps, at most: probabilities are multiples of 2^-32, rounded to the nearest."""

BYTES_PER_VALUE = 4
"""Random bytes that one stochastic rounding takes."""


def nearest(scaled: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round to the nearest whole number, halves to even. Error <= 1/2; the bias can be as large as the error.

    Raises:
        InputError: a value is NaN or outside of [-2^31, 2^31 - 1].
    """
    _check_domain(scaled)
    return np.rint(scaled).astype(np.int64)


def stochastic(scaled: NDArray[np.float64], stream: RandomStream) -> NDArray[np.int64]:
    """Round v up with probability v - floor(v), else down: the error is below 1 and zero on average.

    Value i takes bytes 4i to 4i + 3 of the stream as a little-endian u, and becomes floor((t + u) / 2^32) with
    t = rint(2^32 v): the same on every machine, and a vector may be cut anywhere if the stream can seek. The
    probability of rounding up is (t mod 2^32) / 2^32 exactly. The residual bias is at most 2^-33 of a step
    (`STOCHASTIC_BIAS`): to see it, one would have to average 2^64 draws. Whole v have t mod 2^32 = 0 and never move.

    Source: the unbiased quantizer of Suresh et al. 2017 ("Distributed mean estimation with limited communication",
    section 2) and of QSGD (Alistarh et al. 2017, section 3), with 32-bit coins.

    Raises:
        InputError: a value is NaN or outside of [-2^31, 2^31 - 1].
    """
    _check_domain(scaled)
    rounded = np.empty(scaled.size, np.int64)
    for part in slices(scaled.size):
        round_fixed_point(scaled[part] * FRACTION, 2**63, stream, rounded[part])
    rounded -= 2**31  # takes back the 2^63 above, which kept negative values in unsigned range
    return rounded


def round_fixed_point(fixed: NDArray[np.float64], offset: int, stream: RandomStream, out: NDArray[np.int64]) -> None:
    """Set out = floor((rint(fixed) + offset + u) / 2^32), u from the stream; ``fixed`` is overwritten.

    The caller guarantees that rint(fixed) fits a signed word and rint(fixed) + offset lies in [0, 2^64 - 2^32]:
    then no unsigned sum below wraps for good, and the logical shift is the floor.
    """
    coins = np.empty(BYTES_PER_VALUE * fixed.size, np.uint8)
    stream.fill(coins)
    np.copyto(out, np.rint(fixed, out=fixed), casting="unsafe")
    words = out.view(np.uint64)
    words += np.uint64(offset)
    words += coins.view("<u4")
    words >>= np.uint64(32)


def _check_domain(scaled: NDArray[np.float64]) -> None:
    """Refuse what 64-bit fixed point cannot hold. NaN fails both comparisons."""
    with np.errstate(invalid="ignore"):
        inside = not scaled.size or (scaled.min() >= LEAST_SCALED and scaled.max() <= MOST_SCALED)
    if not inside:
        raise InputError("scaled values must lie in [-2^31, 2^31 - 1] and not be NaN; clip before rounding")
