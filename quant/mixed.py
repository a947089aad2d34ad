"""Mixed precision in one cohort: every device rounds on a dyadic sub-grid of the finest one.

If the coarse grid's points are points of the fine grid, a coarse integer times 2^shift is a fine integer, and all of
them add up. This saves work and precision on the device, not bytes on the wire: a masked field is as wide as the sum,
whoever adds to it. Bytes are saved only by sums of their own per precision (``savings``), whose groups must be large
enough that precision does not name a site. Source: the groups of HeteroSAg (Elkordy and Avestimehr 2020).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.capacity import field_width
from quant.checks import positive_bound, whole_number
from quant.errors import ConfigurationError
from quant.grid import Rounding, UniformGrid
from quant.lanes import LaneLayout
from quant.streams import SYSTEM_STREAM, RandomStream
from quant.vectors import FloatVector

LEAST_GROUP = 3
"""Devices of one precision, at least: with two, either knows all about the other."""


@dataclass(frozen=True, slots=True)
class GroupSavings:
    """What a group of one precision sends.

    Attributes:
        shift: steps of the group's grid are 2^shift steps of the finest.
        clients: how many they are.
        together_bytes: bytes per client and round in one sum of all.
        apart_bytes: bytes per client and round in a sum of this group alone.
    """

    shift: int
    clients: int
    together_bytes: int
    apart_bytes: int


@dataclass(frozen=True, slots=True)
class NestedGrids:
    """A finest grid of ``levels`` points on [-bound, bound] and its sub-grids of step * 2^shift.

    Exact: every encoded integer is one of the finest grid, so ``decode`` needs to know nothing about precisions.
    Bounded: the error of a device is that of its own grid (``grid(shift).max_error``). levels - 1 must be divisible by
    2^most_shift. Dither is refused here: the decoder would have to know who rounded how coarsely.
    """

    levels: int
    bound: float
    most_shift: int
    rounding: Rounding = "stochastic"

    def __post_init__(self) -> None:
        """Refuse grids that are not nested."""
        whole_number(self.levels, "levels", 2, 2**32)
        object.__setattr__(self, "bound", positive_bound(self.bound, "the grid range"))
        whole_number(self.most_shift, "most_shift", 0, 31)
        if self.rounding not in ("stochastic", "nearest"):
            raise ConfigurationError(f"nested grids round stochastic or nearest, not {self.rounding!r}")
        if (self.levels - 1) % 2**self.most_shift:
            near = (self.levels - 1) // 2**self.most_shift * 2**self.most_shift + 1
            raise ConfigurationError(
                f"{self.levels} levels do not nest {self.most_shift} times: levels - 1 must be a multiple of "
                f"{2**self.most_shift}, such as {max(near, 2**self.most_shift + 1)}"
            )

    def grid(self, shift: int = 0) -> UniformGrid:
        """Give the grid of one precision."""
        whole_number(shift, "shift", 0, self.most_shift)
        return UniformGrid(((self.levels - 1) >> shift) + 1, self.bound, self.rounding)

    def encode(self, x: FloatVector, shift: int, stream: RandomStream = SYSTEM_STREAM) -> NDArray[np.int64]:
        """Round on the grid of this precision; give integers of the finest one.

        Raises:
            InputError: ``x`` is not a vector, or holds NaN or infinity.
        """
        return self.grid(shift).encode(x, stream) << shift

    def decode(self, total: NDArray[np.int64], count: int) -> NDArray[np.float64]:
        """Give the sum of ``count`` vectors, of whatever precisions."""
        return self.grid().decode(total, count)

    def variance(self, groups: Mapping[int, int]) -> float:
        """Bound on the variance of one coordinate of the sum: clients by shift, each with its own step."""
        return sum(clients * self.grid(shift).variance for shift, clients in groups.items())

    def check_groups(self, groups: Mapping[int, int], least: int = LEAST_GROUP) -> None:
        """Refuse precisions that too few devices share.

        Raises:
            ConfigurationError: naming the group; put its devices into the next coarser one.
        """
        for shift, clients in groups.items():
            self.grid(shift)
            if whole_number(clients, "the clients of a group", 0, 2**40) < least and clients:
                raise ConfigurationError(
                    f"only {clients} devices round with shift {shift}, at least {least} must: their precision would "
                    "tell who they are. Let them use a precision that more devices share"
                )

    def savings(self, dim: int, groups: Mapping[int, int], least: int = LEAST_GROUP) -> tuple[GroupSavings, ...]:
        """Compute what each group would send in one sum of all, and in a sum of its own.

        Args:
            dim: coordinates.
            groups: clients by shift.
            least: least size of a group.

        Raises:
            ConfigurationError: a group smaller than ``least``, or no clients.
        """
        self.check_groups(groups, least)
        everybody = sum(groups.values())
        together = 8 * LaneLayout(dim, field_width(self.levels, everybody)).lanes
        found = []
        for shift, clients in sorted(groups.items()):
            if clients:
                apart = LaneLayout(dim, field_width(self.grid(shift).levels, clients))
                found.append(GroupSavings(shift, clients, together, 8 * apart.lanes))
        return tuple(found)
