"""Devices of different precision in one cohort: who rounds how coarsely, on sub-grids of one finest grid.

Which precision a device has is public, as part of the round, so each must be shared by enough devices to tell nobody
apart. The wire does not show it: all integers are of the finest grid, and masked fields are as wide as the sum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import quant
from quant.mixed import GroupSavings
from quant.vectors import FloatVector
from secagg.errors import UsageError


class Devices:
    """The precision of every client of a round.

    Args:
        codec: the chain of the finest devices.
        clients: ids of the invited clients.
        shifts: client -> shift, for those that are coarser: their step is 2^shift steps of the finest grid.

    Raises:
        UsageError: a client that is not invited, or a codec without one uniform grid.
        quant.ConfigurationError: grids that do not nest, dither, or a precision that fewer than three devices share.
    """

    def __init__(self, codec: quant.UpdateCodec, clients: tuple[int, ...], shifts: Mapping[int, int]) -> None:
        self._codec, self._shifts = codec, shifts
        if strangers := sorted(set(shifts) - set(clients)):
            raise UsageError(f"client {strangers[0]} has a precision and is not invited")
        self.groups = Counter(shifts.get(client, 0) for client in clients)
        if any(self.groups[shift] for shift in self.groups if shift):
            self.grids.check_groups(self.groups)

    @cached_property
    def grids(self) -> quant.NestedGrids:
        """The finest grid and its sub-grids."""
        keys = self._codec.config()
        levels, bound, rounding = keys.get("levels"), keys.get("range"), keys.get("rounding")
        if not isinstance(levels, int) or not isinstance(bound, float):
            raise UsageError("devices of different precision need one uniform grid: set bits or levels, and range")
        return quant.NestedGrids(levels, bound, max(self.groups, default=0), rounding)  # type: ignore[arg-type]

    def encode(
        self,
        x: FloatVector,
        stream: quant.RandomStream,
        *,
        public: quant.PublicRandomness | None = None,
        client: int | None = None,
    ) -> NDArray[np.int64]:
        """Encode as this client does; integers of the finest grid, int64 of shape (encoded_dim,)."""
        shift = 0 if client is None else self._shifts.get(client, 0)
        if not shift:
            return self._codec.encode(x, stream, public=public, client=client)
        return self._coarser(shift).encode(x, stream, public=public, client=client) << shift

    def _coarser(self, shift: int) -> quant.UpdateCodec:
        """Give the same chain, ending in a sub-grid."""
        keys = {**self._codec.config(), "levels": self.grids.grid(shift).levels}
        return quant.from_config(keys, self._codec.facts.dim)

    def savings(self) -> tuple[GroupSavings, ...]:
        """What devices of each precision send in one sum of all, and what they would in a sum of their own."""
        return self.grids.savings(self._codec.facts.encoded_dim, self.groups)


def nesting_levels(bits: int, most_shift: int) -> int:
    """Give the most levels of at most ``bits`` bits that nest ``most_shift`` times.

    Raises:
        UsageError: so many coarser steps leave less than two points.
    """
    if not 0 <= most_shift < bits:
        raise UsageError(f"a grid of {bits} bits cannot be {most_shift} bits coarser: choose more bits")
    return ((1 << bits) - 1 >> most_shift << most_shift) + 1
