"""Different grids along one vector: bits and ranges per layer, chosen by measured public range."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.capacity import field_width
from quant.errors import ConfigurationError
from quant.grid import Rounding, UniformGrid
from quant.lanes import LaneLayout
from quant.layers import check_layers, layer_lengths, runs_of
from quant.streams import RandomStream
from quant.vectors import FloatVector, Integers, as_vector


@dataclass(frozen=True, slots=True)
class LayeredGrid:
    """One `UniformGrid` per layer, all with the same rounding and coins; facts are those of the worst layer.

    One field width for all layers wastes what the narrow ones save: ``lanes`` gives one layout per layer, each to be
    masked as a vector of its own.
    """

    lengths: tuple[int, ...]
    grids: tuple[UniformGrid, ...]

    def __post_init__(self) -> None:
        """Refuse grids that do not go with the layers or with each other."""
        object.__setattr__(self, "lengths", layer_lengths(self.lengths))
        if len(self.grids) != len(self.lengths):
            raise ConfigurationError(f"{len(self.lengths)} layers need as many grids, not {len(self.grids)}")
        if len({(grid.rounding, grid.coin_bits) for grid in self.grids}) != 1:
            raise ConfigurationError("all layers must use the same rounding and coin_bits")
        if self.rounding == "conditional":
            raise ConfigurationError("conditional rounding needs one grid for all layers: use layer_scales instead")

    @property
    def levels(self) -> int:
        """The most of any layer."""
        return max(grid.levels for grid in self.grids)

    @property
    def bound(self) -> float:
        """The least of any layer."""
        return min(grid.bound for grid in self.grids)

    @property
    def widest(self) -> float:
        """The largest bound of any layer: no coordinate is beyond it after rounding."""
        return max(grid.bound for grid in self.grids)

    @property
    def step(self) -> float:
        """The largest of any layer."""
        return max(grid.step for grid in self.grids)

    @property
    def max_error(self) -> float:
        """The largest of any layer."""
        return max(grid.max_error for grid in self.grids)

    @property
    def max_bias(self) -> float:
        """The largest of any layer."""
        return max(grid.max_bias for grid in self.grids)

    @property
    def variance(self) -> float:
        """The largest of any layer."""
        return max(grid.variance for grid in self.grids)

    @property
    def rounding(self) -> Rounding:
        """The same in all layers."""
        return self.grids[0].rounding

    @property
    def wraps(self) -> bool:
        """Totals never wrap."""
        return False

    def check_dim(self, dim: int) -> None:
        """Refuse vectors that the layers do not make up."""
        check_layers(self.lengths, dim)

    def lanes(self, clients: int, *, noise: int = 0) -> tuple[LaneLayout, ...]:
        """Give one lane layout per layer, each as narrow as its own levels allow.

        Raises:
            CapacityError: a layer's sum does not fit.
        """
        pairs = zip(self.lengths, self.grids, strict=True)
        return tuple(LaneLayout(length, field_width(grid.levels, clients, noise=noise)) for length, grid in pairs)

    def encode_part(self, part: FloatVector, first: int, out: Integers, stream: RandomStream, high: float) -> None:
        """Round coordinates first, first + 1, ..., each on the grid of its layer."""
        for run, grid in zip(runs_of(self.lengths), self.grids, strict=True):
            start, stop = max(run.start - first, 0), min(run.stop - first, part.size)
            if start < stop:
                grid.encode_part(part[start:stop], first + start, out[start:stop], stream, high)

    def decode(
        self, total: NDArray[np.int64], count: int, dithers: Sequence[RandomStream] = (), *, noise: int = 0
    ) -> NDArray[np.float64]:
        """Give the sum of ``count`` vectors, layer by layer; see `UniformGrid.decode`."""
        pairs = zip(runs_of(self.lengths), self.grids, strict=True)
        return np.concatenate([grid.decode(total[run], count, dithers, noise=noise) for run, grid in pairs])

    def saturated(self, x: FloatVector) -> int:
        """How many coordinates lie beyond the range of their layer."""
        x = as_vector(x, sum(self.lengths))
        return sum(grid.saturated(x[run]) for run, grid in zip(runs_of(self.lengths), self.grids, strict=True))

    def config(self) -> dict[str, object]:
        """Give the preset keys."""
        keys = self.grids[0].config()
        return {
            "layers": list(self.lengths),
            "layer_levels": [grid.levels for grid in self.grids],
            "layer_ranges": [grid.bound for grid in self.grids],
        } | {key: value for key, value in keys.items() if key in ("rounding", "coin_bits")}
