"""Exact draws from a law of integers, many at a time.

A draw is a uniform real number U in [0, 1), of which only as many bits are read as it takes to know its outcome (see
``quant.noise.laws``). 16 bits come first: they name one of 65536 cells, and a table says which integer a cell stands
for. Only if a boundary lies inside of the cell, 48 more bits are read and compared with the boundaries at 64 bits; and
only if one lies inside of that interval too, with probability 2^-64 times the number of boundaries, 64 more, and so on,
with boundaries computed for the occasion. Nothing is cut off and nothing rounded: the tail beyond the table is such an
interval, and the boundaries computed for it reach further out. The output law is the law, not an approximation.

Which bytes are read is defined by the law alone, so that any implementation replays a stream. A vector is drawn in
blocks of ``BLOCK`` (the last one shorter). A block reads one little-endian 16-bit word for each draw; then, in order,
one 64-bit word (its low 48 bits count) for each draw that is still open, that is, with a boundary strictly inside of
the interval known so far; then, for each draw still open, one at a time, 64-bit words until it is not. So a vector may
also be drawn in pieces of whole blocks, one after the other from one stream.

The time of a draw depends on its outcome (cache misses, open draws). So noise is drawn before data is touched, and
added later.
"""

import functools
import math
from bisect import bisect_right
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.checks import whole_number
from quant.errors import InputError
from quant.noise.enclosures import ceil_shift
from quant.noise.laws import Boundaries, Law, Skellam
from quant.streams import RandomStream

BLOCK = 1 << 16
"""Draws per block: what is in flight stays inside a second-level cache. Part of the format."""

CELL_BITS = 16
TAIL_BITS = 48
TABLE_BITS = 128
"""Scale of the boundaries that tables are made of."""

MAX_TABLE_VARIANCE = 2**22
"""Largest variance of a Skellam drawn from one table; above, several draws are summed. Part of the format."""

_TAIL_MASK = np.uint64((1 << TAIL_BITS) - 1)
_LAST = (1 << 64) - 1


class Sampler:
    """Draws exactly from one law. Building it takes up to 0.3 s (sigma 1000); see `sampler_for`, which keeps them.

    A Skellam of variance beyond 2^22 is drawn as the sum of equal, independent Skellams, which is exact as well.
    Holds no secrets and no state that draws depend on.

    Args:
        law: Skellam, DiscreteGaussian, TableLaw, or anything else that encloses its own boundaries.
    """

    def __init__(self, law: Law) -> None:
        self.law = law
        self._terms, self._term = _terms(law)
        self._sharper: dict[int, Boundaries] = {}
        self._tabulate(_narrow(self._term))

    def draw(self, count: int, stream: RandomStream) -> NDArray[np.int64]:
        """Draw ``count`` independent integers: int64, shape (count,).

        Exact if the bytes of ``stream`` are uniform. Secret as the stream is.

        Raises:
            InputError: count is not a whole number >= 0.
        """
        count = whole_number(count, "the number of draws", 0, 2**40, InputError)
        total = np.zeros(count, np.int64)
        self.add(total, stream)
        return total

    def add(self, total: NDArray[np.int64], stream: RandomStream) -> None:
        """Add to each entry of ``total`` (shape (count,), changed in place) what `draw` would give.

        Raises:
            InputError: not a vector of int64.
        """
        if total.dtype != np.int64 or total.ndim != 1:
            raise InputError(f"noise is added to a vector of int64, not to {total.dtype} of shape {total.shape}")
        raw = np.empty(2 * min(total.size, BLOCK), np.uint8)
        for start in range(0, total.size, BLOCK):
            block = total[start : start + BLOCK]
            for _ in range(self._terms):
                block += self._draw_block(raw[: 2 * block.size], stream)

    def _tabulate(self, boundaries: Boundaries) -> None:
        """Make the arrays of the vectorised path from boundaries that are at most 1 wide at 64 bits.

        ``_low`` and ``_high`` enclose the boundaries below 1 at 64 bits. ``_low`` has one entry more: a 64-bit word
        from there on needs a closer look. It is the last word in most cases, the tail.
        """
        shift = boundaries.bits - 64
        high = [high for bound in boundaries.high if (high := ceil_shift(bound, shift)) <= _LAST]
        low = [min(bound >> shift, _LAST) for bound in boundaries.low[: len(high) + 1]]
        listed = len(low)
        self._low = np.array(low + [_LAST] * (len(high) + 1 - listed), np.uint64)
        self._high = np.array([*high, _LAST], np.uint64)
        self._values = np.array([self._term.value(index) for index in range(len(high) + 1)], np.int64)
        starts = np.arange(1 << CELL_BITS, dtype=np.uint64) << np.uint64(TAIL_BITS)
        self._first = np.searchsorted(self._high[:-1], starts, "right").astype(np.int32)
        inside = np.searchsorted(self._low[:listed], starts | _TAIL_MASK, "right") - self._first
        self._several = (inside > 1) | ((inside == 1) & (self._first == len(high)))
        largest = int(np.abs(self._values).max())
        kind = np.int16 if largest < 2**15 - 1 else np.int32 if largest < 2**31 - 1 else np.int64
        self._largest, self._open_mark = np.iinfo(kind).max, np.iinfo(kind).min
        self._cells = np.where(inside == 0, self._values[self._first], self._open_mark).astype(kind)

    def _draw_block(self, raw: NDArray[np.uint8], stream: RandomStream) -> NDArray[Any]:
        stream.fill(raw)
        cells = raw.view("<u2")
        drawn = self._cells.take(cells)
        still_open = np.flatnonzero(drawn == self._open_mark)
        if still_open.size == 0:
            return drawn
        words = np.empty(8 * still_open.size, np.uint8)
        stream.fill(words)
        cells = cells[still_open]
        known = (cells.astype(np.uint64) << np.uint64(TAIL_BITS)) | (words.view("<u8") & _TAIL_MASK)
        index = self._first[cells]
        index += known >= self._high[index]
        several = np.flatnonzero(self._several[cells])
        index[several] = np.searchsorted(self._high[:-1], known[several], "right")
        values = self._values[index]
        undecided = np.flatnonzero(known >= self._low[index])
        far = [self._refine(int(known[place]), 64, stream) for place in undecided]
        values[undecided] = far
        if any(abs(value) > self._largest for value in far):
            drawn = drawn.astype(np.int64)
        drawn[still_open] = values
        return drawn

    def _refine(self, known: int, bits: int, stream: RandomStream) -> int:
        """Give the outcome of U in [known, known + 1) / 2^bits, reading as much more of U as is needed."""
        while (index := self._settle(known, bits)) is None:
            word = np.empty(8, np.uint8)
            stream.fill(word)
            known, bits = known << 64 | int.from_bytes(word.tobytes(), "little"), bits + 64
        return self._term.value(index)

    def _settle(self, known: int, bits: int) -> int | None:
        """Give the one outcome that [known, known + 1) / 2^bits lies in; None if a boundary is strictly inside.

        Exact: where the enclosures are too wide to tell, sharper ones are computed. That ends, because the boundaries
        of tables are fractions, enclosed without width in the end or never on an end of an interval, and those of
        the other laws are irrational.
        """
        for precision in range(bits + 64, 2**20, 64):
            boundaries = self._sharper.get(precision) or self._sharper.setdefault(
                precision, self._term.boundaries(precision)
            )
            start, end = known << precision - bits, known + 1 << precision - bits
            index = bisect_right(boundaries.high, start)
            if index == len(boundaries.high):
                return index if boundaries.complete else None
            if boundaries.low[index] >= end:
                return index
            if boundaries.low[index] > start and boundaries.high[index] < end:
                return None
        raise InputError("the law's boundaries do not get sharper: is its boundaries() an enclosure?")


@functools.lru_cache(maxsize=256)
def sampler_for(law: Law) -> Sampler:
    """Give the sampler of a law, built once and kept (half a megabyte each): every round asks for the same few."""
    return Sampler(law)


def draw(law: Law, count: int, stream: RandomStream) -> NDArray[np.int64]:
    """Draw ``count`` independent integers of ``law`` exactly; int64, shape (count,). See `Sampler.draw`."""
    return sampler_for(law).draw(count, stream)


def _narrow(law: Law) -> Boundaries:
    """Enclose so sharply that no boundary is in doubt by more than one unit of 2^-64."""
    for bits in range(TABLE_BITS, 2**11, 64):
        boundaries = law.boundaries(bits)
        pairs = zip(boundaries.low, boundaries.high, strict=True)
        if all(ceil_shift(high, bits - 64) - (low >> bits - 64) <= 1 for low, high in pairs):
            return boundaries
    raise InputError("the law's boundaries do not get sharper: is its boundaries() an enclosure?")


def _terms(law: Law) -> tuple[int, Law]:
    """Give (number, law) of the equal terms that a draw is the sum of."""
    if not isinstance(law, Skellam) or law.variance <= MAX_TABLE_VARIANCE:
        return 1, law
    terms = math.ceil(law.variance / MAX_TABLE_VARIANCE)
    return terms, Skellam(Fraction(law.variance, terms))
