"""Rounding: from real numbers in units of one grid step to whole numbers.

Both ways take ``scaled``: float64 values, shape (n,), in [-2^31, 2^31 - 1], and give int64 of the same shape. A value
that is whole already is never moved. Stochastic rounding works in fixed point with 32 bits behind the point, so all
that is random in it is exact integer arithmetic.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quant.errors import InputError
from quant.streams import RandomStream
from quant.vectors import FloatVector, Integers, slices

LEAST_SCALED, MOST_SCALED = -(2.0**31), 2.0**31 - 1
"""The domain: 32 whole bits and 32 fraction bits fill one 64-bit word exactly."""

FRACTION = 2.0**32
"""One grid step in fixed point."""

STOCHASTIC_BIAS = 2.0**-33
"""|E[stochastic(v)] - v| in grid steps, at most: probabilities are multiples of 2^-32, rounded to the nearest."""

MAX_SHORT_LEVELS = 2**16
"""Most levels for coins of 16 bits. Finer grids deserve finer coins."""

MAX_SINGLE_LEVELS = 2**8
"""Up to so many levels, float32 knows every value of the grid in units of 2^-16 steps, give or take one."""

MAX_NARROW_LEVELS = 2**14
"""Up to so many levels, 16 fraction bits and a coin fit a signed 32-bit word, with room for values beyond the grid."""


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


def round_fixed_point(fixed: NDArray[np.float64], offset: int, stream: RandomStream, out: Integers) -> None:
    """Set out = floor((rint(fixed) + offset + u) / 2^32), u from the stream; ``fixed`` is overwritten.

    The caller guarantees that rint(fixed) fits a signed word and rint(fixed) + offset lies in [0, 2^64 - 2^32]:
    then no unsigned sum below wraps for good, and the logical shift is the floor.
    """
    coins = _draw(stream, fixed.size, 32)
    wide = out if out.dtype == np.int64 else np.empty(out.size, np.int64)
    np.copyto(wide, np.rint(fixed, out=fixed), casting="unsafe")
    words = wide.view(np.uint64)
    words += np.uint64(offset)
    words += coins
    words >>= np.uint64(32)
    if wide is not out:
        np.copyto(out, wide, casting="unsafe")


def round_short(fixed: FloatVector, offset: int, stream: RandomStream, out: Integers, clip: bool = False) -> None:
    """Set out = floor((t + u) / 2^16), t = fixed + offset rounded to a whole number, u of 16 bits.

    Half the coins of `round_fixed_point`, and up to `MAX_NARROW_LEVELS` levels half the bytes of everything. In float64
    one addition (exact up to 2^-8 of a unit, 2^-24 of a step) both rounds and shifts; float32 would lose the units
    there, so it rounds first and shifts whole numbers.

    Args:
        fixed: values in units of 2^-16 steps, with fixed + offset in [0, 2 offset], or within +-2^30 if ``clip``; in
            float32 only for at most `MAX_SINGLE_LEVELS` levels. Overwritten.
        offset: half the grid in the same units, at most 2^45.
        stream: gives one coin per value.
        out: where to.
        clip: move t into [0, 2 offset] first.
    """
    narrow = offset < MAX_NARROW_LEVELS << 15
    words: Integers = out
    if narrow and out.dtype != np.int32:
        words = np.empty(out.size, np.int32)
    elif not narrow and out.dtype != np.int64:
        words = np.empty(out.size, np.int64)
    coins = _draw(stream, fixed.size, 16)
    if fixed.dtype == np.float32:
        np.rint(fixed, out=fixed)
        np.copyto(words, fixed, casting="unsafe")
        words += offset
    else:
        fixed += offset + 0.5
        np.copyto(words, fixed, casting="unsafe")  # truncates, which is the floor of all that clip leaves alone
    if clip:
        words.clip(0, 2 * offset, out=words)
    words += coins
    words >>= 16
    if words is not out:
        np.copyto(out, words, casting="unsafe")


def add_dither(streams: Sequence[RandomStream], coin_bits: int, total: NDArray[np.int64]) -> None:
    """Add the sum over streams of 2 u - (2^coin_bits - 1) to ``total``, u being the coins that rounding took.

    So total / 2^(coin_bits + 1) is the sum of the dithers in grid steps, each symmetric around zero.
    """
    for stream in streams:
        coins = _draw(stream, total.size, coin_bits)
        total += coins
        total += coins
    total -= len(streams) * (2**coin_bits - 1)


def _draw(stream: RandomStream, size: int, coin_bits: int) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """Take one little-endian coin per value."""
    raw = np.empty(size * coin_bits // 8, np.uint8)
    stream.fill(raw)
    return raw.view("<u2" if coin_bits == 16 else "<u4")


def _check_domain(scaled: NDArray[np.float64]) -> None:
    """Refuse what 64-bit fixed point cannot hold. NaN fails both comparisons."""
    with np.errstate(invalid="ignore"):
        inside = not scaled.size or (scaled.min() >= LEAST_SCALED and scaled.max() <= MOST_SCALED)
    if not inside:
        raise InputError("scaled values must lie in [-2^31, 2^31 - 1] and not be NaN; clip before rounding")
