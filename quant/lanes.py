"""Lanes: several coordinates in one unsigned 64-bit word, so that masks are paid for information, not for containers.

Lane j is sum over f of v_f * 2^(w f) mod 2^64 for ``floor(64 / w)`` fields of w bits. This is linear: the sum of packed
vectors is the packed sum, also modulo 2^lane_bits, where lane_bits = fields * w is what a lane really uses.

Which coordinate goes where. Coordinates are cut into blocks of ``BLOCK * fields``; block k fills lanes
[k * BLOCK, (k + 1) * BLOCK), and within it field f holds a contiguous run of ``BLOCK`` coordinates; the last block is
shorter in the same way. So all loops run over contiguous memory that stays in cache (memory speed in numpy, where
neighbours in one lane would mean strided access), and yet a range of lanes holds a contiguous range of coordinates:
a vector may be packed, masked and unpacked in pieces of whole blocks, and the pieces put end to end.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from quant.capacity import MAX_WIDTH
from quant.checks import whole_number
from quant.errors import InputError
from quant.vectors import Integers, check_integers

LANE_BITS = 64
BLOCK = 1 << 13
"""Lanes per block: 64 KiB, half of a chunk of mask. Part of the format: both ends must use the same."""

MAX_DIM = 2**40

HALF_BITS = 32

Words = NDArray[np.uint64] | NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class LaneLayout:
    """How ``dim`` coordinates of ``width`` bits lie in 64-bit lanes.

    Exactness of ``unpack``. Let t_f be the totals of one lane, each in [lower, lower + 2^w - 1], and d_f = t_f - lower
    in [0, 2^w - 1]. The lane holds T = sum t_f 2^(wf) modulo 2^64 or 2^lane_bits. Adding the public constant
    S = sum -lower 2^(wf) gives T + S = sum d_f 2^(wf), which lies in [0, 2^lane_bits): the residue determines it (2^64
    is a multiple of 2^lane_bits, so bits above may hold anything), and its digits to the base 2^w are the d_f, since
    such digits are unique. So t_f = d_f + lower: every borrow that negative totals cause is taken back by S at once.
    A total outside of its field breaks this for itself and its neighbours; ``capacity`` keeps them inside.
    """

    dim: int
    width: int
    shared: bool = True
    """Whether coordinates share lanes. Not if sums wrap around their field: they would carry into the next one."""

    def __post_init__(self) -> None:
        """Refuse a layout that has no coordinates or no field."""
        object.__setattr__(self, "dim", whole_number(self.dim, "dim", 1, MAX_DIM))
        object.__setattr__(self, "width", whole_number(self.width, "the field width", 1, MAX_WIDTH))

    @property
    def fields(self) -> int:
        """Coordinates per lane."""
        return LANE_BITS // self.width if self.shared else 1

    @property
    def lanes(self) -> int:
        """Number of lanes: dim / fields, rounded up."""
        return -(-self.dim // self.fields)

    @property
    def lane_bits(self) -> int:
        """Bits that a lane uses, hence sends; at most 64."""
        return self.fields * self.width

    @property
    def waste(self) -> float:
        """Share of the masked bits, 64 per lane, that carry no coordinate."""
        return 1 - self.dim * self.width / (LANE_BITS * self.lanes)

    def pack(self, values: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Pack int64 of shape (dim,) into uint64 of shape (lanes,), modulo 2^64. Values may be negative.

        Two's complement makes the sum exact modulo 2^64. Only non-negative values leave the bits above
        ``lane_bits`` zero; reduce the others before they are sent.

        Raises:
            InputError: not int64 of shape (dim,), or a value that no field could hold: |v| > 2^width - 1.
        """
        check_integers(values, np.int64, self.dim)
        most = 2**self.width - 1
        if not (values.min() >= -most and values.max() <= most):
            raise InputError(f"a value is beyond its field of {self.width} bits (+-{most})")
        return self._pack(values)

    def fold(self, values: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Pack any int64 of shape (dim,) into uint64 of shape (lanes,), modulo 2^lane_bits: a homomorphism of sums.

        For integers that carry noise: they are public bounds' business only once they are summed, so nothing looks at
        the values of one vector here, and nothing is refused because of them. Exact: the sum of folded vectors modulo
        2^lane_bits is the folded sum, and ``unpack`` reads it if every total fits its field.

        Raises:
            InputError: not int64 of shape (dim,).
        """
        check_integers(values, np.int64, self.dim)
        packed = self._pack(values)
        packed &= np.uint64(2**self.lane_bits - 1)
        return packed

    def _pack(self, values: NDArray[np.int64]) -> NDArray[np.uint64]:
        values = np.ascontiguousarray(values)
        packed = np.empty(self.lanes, np.uint64)
        for lane, runs in self._blocks():
            self._stack([values.view(np.uint64)[run] for run in runs], packed[lane])
        return packed

    def pack_from(self, fill: Callable[[slice, Integers], None]) -> NDArray[np.uint64]:
        """Pack what ``fill(coordinates, out)`` writes: blocks of coordinates in order, without a vector of all of them.

        The caller guarantees values from 0 to 2^width - 1; ``out`` is int32 if these fit.
        """
        packed = np.empty(self.lanes, np.uint64)
        size = min(self.dim, BLOCK * self.fields)
        buffer: Integers = np.empty(size, np.int32) if self.width <= HALF_BITS - 1 else np.empty(size, np.int64)
        for lane, runs in self._blocks():
            first, last = runs[0].start, runs[-1].stop
            values = buffer[: last - first]
            fill(slice(first, last), values)
            local = [slice(run.start - first, run.stop - first) for run in runs]
            if values.dtype == np.int32:
                self._stack_halves(values.view(np.uint32), local, packed[lane])
            else:
                self._stack([values.view(np.uint64)[run] for run in local], packed[lane])
        return packed

    def _stack_halves(self, values: NDArray[np.uint32], runs: list[slice], target: NDArray[np.uint64]) -> None:
        """Write the lanes of one block: join as many fields as 32 bits hold, at half the traffic, then those."""
        lanes, together = target.size, HALF_BITS // self.width
        whole = values.size // (lanes * together)  # groups of full fields, joined all at once
        fields = values[: whole * together * lanes].reshape(whole, together, lanes)
        joined = fields[:, -1] if together == 1 else fields[:, -1] << np.uint32(self.width)
        for field in range(together - 2, -1, -1):
            joined += fields[:, field]
            if field:
                joined <<= np.uint32(self.width)
        rest = [values[run] for run in runs[whole * together :]]  # less than a group, its last field may be short
        self._stack([*joined, *([_horner(rest, self.width)] if rest else [])], target, together * self.width)

    def _stack(self, runs: Sequence[Words], target: NDArray[np.uint64], width: int | None = None) -> None:
        """Write sum runs[f] 2^(width f) to the lanes of one block; the highest field may be shorter than the others."""
        shift = np.uint64(width or self.width)
        np.copyto(target[: runs[-1].size], runs[-1])
        target[runs[-1].size :] = 0
        for run in reversed(runs[:-1]):  # Horner's rule: the highest field first
            target <<= shift
            target[: run.size] += run

    def unpack(self, lanes: NDArray[np.uint64], lower: int = 0) -> NDArray[np.int64]:
        """Read totals back: uint64 of shape (lanes,) gives int64 of shape (dim,), in [lower, lower + 2^width - 1].

        Exact for lanes modulo 2^64 and modulo 2^lane_bits alike; bits above ``lane_bits`` are ignored.

        Args:
            lanes: sum of packed vectors; not changed.
            lower: least value that a total can take, as public as the width.

        Raises:
            InputError: not uint64 of shape (lanes,), or |lower| >= 2^62.
        """
        check_integers(lanes, np.uint64, self.lanes)
        shift = self._shift(lower)
        totals = np.empty(self.dim, np.int64)
        words = totals.view(np.uint64)
        for lane, runs in self._blocks():
            self._split(lanes[lane] + shift, [words[run] for run in runs])
        if lower:
            totals += lower
        return totals

    def unpack_blocks(self, lanes: NDArray[np.uint64], lower: int = 0) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Give (coordinates, totals) block by block and in order: ``unpack`` without a vector of all of them.

        The totals are overwritten by those of the next block.

        Raises:
            InputError: as ``unpack``.
        """
        check_integers(lanes, np.uint64, self.lanes)
        shift = self._shift(lower)
        buffer = np.empty(min(self.dim, BLOCK * self.fields), np.int64)
        for lane, runs in self._blocks():
            first, last = runs[0].start, runs[-1].stop
            words = buffer[: last - first].view(np.uint64)
            self._split(lanes[lane] + shift, [words[run.start - first : run.stop - first] for run in runs])
            totals = buffer[: last - first]
            if lower:
                totals += lower
            yield slice(first, last), totals

    def _shift(self, lower: int) -> np.uint64:
        """Give S, which makes all digits of a lane non-negative."""
        lower = whole_number(lower, "the lowest total", 1 - 2**MAX_WIDTH, 2**MAX_WIDTH - 1, InputError)
        return np.uint64(sum(-lower << (self.width * f) for f in range(self.fields)) % 2**LANE_BITS)

    def _split(self, rest: NDArray[np.uint64], targets: list[NDArray[np.uint64]]) -> None:
        """Take the digits of lanes from the lowest on, one target each; ``rest`` is used up."""
        digit = np.uint64(2**self.width - 1)
        for target in targets:
            np.bitwise_and(rest[: target.size], digit, out=target)
            rest >>= np.uint64(self.width)

    def _blocks(self) -> Iterator[tuple[slice, list[slice]]]:
        """Per block: its lanes, and for each field from the lowest the coordinates that it holds there."""
        for start in range(0, self.lanes, BLOCK):
            stop = min(start + BLOCK, self.lanes)
            first = start * self.fields
            edges = (min(first + f * (stop - start), self.dim) for f in range(self.fields + 1))
            yield slice(start, stop), [slice(a, b) for a, b in pairwise(edges)]


def _horner(runs: Sequence[NDArray[np.uint32]], width: int) -> NDArray[np.uint32]:
    """Give sum runs[f] 2^(width f) in 32 bits; the highest may be shorter. One run is given back itself."""
    if len(runs) == 1:
        return runs[0]
    total = np.empty(runs[0].size, np.uint32)
    highest = runs[-1].size
    np.left_shift(runs[-1], np.uint32(width), out=total[:highest])
    total[highest:] = 0
    for place, run in reversed(list(enumerate(runs[:-1]))):
        total[: run.size] += run
        if place:
            total <<= np.uint32(width)
    return total
