"""The contract between quantization and everything above it: floats in, integers out, and facts about them.

An `UpdateCodec` is pure: the same input and the same stream give the same integers. Its facts are computed from the
parts of its chain and never typed in twice; noise, field widths and accounting take their numbers from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quant import capacity
from quant.checks import whole_number
from quant.clip import Bounds, Clip, ClipL2, ClipLinf
from quant.errors import ConfigurationError
from quant.grid import UniformGrid
from quant.lanes import MAX_DIM
from quant.streams import SYSTEM_STREAM, RandomStream
from quant.vectors import FloatVector, as_vector, check_integers


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecFacts:
    """What holds for every vector that a codec encodes.

    Attributes:
        dim: number of coordinates, in and out.
        lower: least encoded integer, exact.
        upper: largest encoded integer, exact.
        levels: number of encoded integers, upper - lower + 1.
        bits: bits of one encoded integer.
        step: distance of grid points, in model units.
        l2_bound: bound on the Euclidean norm of the vector before rounding; None without an L2 clip.
        linf_bound: bound on the magnitude of every coordinate before and after rounding.
        max_error: bound on |decoded - clipped| per coordinate and vector, for coordinates that are not saturated.
        max_bias: bound on the mean of the same difference.
        unbiased: whether rounding averages out (stochastic), that is up to ``max_bias``.
        may_saturate: whether a clipped vector can still be beyond the range of the grid.
    """

    dim: int
    lower: int = 0
    upper: int
    levels: int
    bits: int
    step: float
    l2_bound: float | None
    linf_bound: float
    max_error: float
    max_bias: float
    unbiased: bool
    may_saturate: bool

    def field_width(self, clients: int, limit: int = capacity.MAX_WIDTH) -> int:
        """Bits of one field for a cohort; see ``capacity.field_width``."""
        return capacity.field_width(self.levels, clients, limit)

    def max_clients(self, width: int) -> int:
        """Largest cohort whose sum fits into fields of ``width`` bits; see ``capacity.max_clients``."""
        return capacity.max_clients(width, self.levels)


class UpdateCodec(Protocol):
    """Puts vectors on a public grid, and takes their sum off it."""

    @property
    def facts(self) -> CodecFacts:
        """What holds for every vector that this codec encodes."""
        ...

    def clip(self, x: FloatVector) -> FloatVector:
        """Give the float vector that ``encode`` would round, before saturation; shape (dim,), dtype as ``x``."""
        ...

    def encode(self, x: FloatVector, stream: RandomStream = SYSTEM_STREAM) -> NDArray[np.int64]:
        """Clip and round one finite vector of shape (dim,) to int64 of shape (dim,) in [lower, upper]."""
        ...

    def decode(self, total: NDArray[np.int64], count: int) -> NDArray[np.float64]:
        """Give the float64 sum of ``count`` vectors from the sum of their integers, shape (dim,)."""
        ...

    def saturated(self, x: FloatVector) -> int:
        """How many coordinates of ``x``, once clipped, ``encode`` moves to an end of the grid."""
        ...

    def config(self) -> dict[str, object]:
        """Give the public description, JSON-able and canonical: equal if and only if the codecs are."""
        ...


@dataclass(frozen=True)
class Chain:
    """Clips, then one grid. Made by ``chain``, which checks the order."""

    dim: int
    clips: tuple[Clip, ...]
    grid: UniformGrid
    facts: CodecFacts = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Compute the facts once."""
        bounds = Bounds()
        for stage in self.clips:
            bounds = stage.narrow(bounds)
        reach = bounds.narrowed(linf=self.grid.bound).linf
        facts = CodecFacts(
            dim=self.dim,
            upper=self.grid.levels - 1,
            levels=self.grid.levels,
            bits=self.grid.bits,
            step=self.grid.step,
            l2_bound=bounds.l2,
            linf_bound=self.grid.bound if reach is None else reach,
            max_error=self.grid.max_error,
            max_bias=self.grid.max_bias,
            unbiased=self.grid.rounding == "stochastic",
            may_saturate=bounds.linf is None or bounds.linf > self.grid.bound,
        )
        object.__setattr__(self, "facts", facts)

    def clip(self, x: FloatVector) -> FloatVector:
        """Apply the clips in order; gives ``x`` itself if it is inside of all.

        Raises:
            InputError: ``x`` is not a vector of shape (dim,), or (with any clip) holds NaN or infinity.
        """
        x = as_vector(x, self.dim)
        for stage in self.clips:
            x = stage.apply(x)
        return x

    def encode(self, x: FloatVector, stream: RandomStream = SYSTEM_STREAM) -> NDArray[np.int64]:
        """Clip ``x`` and put it on the grid; see `UniformGrid.encode`.

        Raises:
            InputError: ``x`` is not a vector of shape (dim,), or holds NaN or infinity.
        """
        return self.grid.encode(self.clip(x), stream)

    def decode(self, total: NDArray[np.int64], count: int) -> NDArray[np.float64]:
        """Take a sum off the grid; see `UniformGrid.decode`.

        Raises:
            InputError: not int64 of shape (dim,), or not the sum of ``count`` encoded vectors.
        """
        check_integers(total, np.int64, self.dim)
        return self.grid.decode(total, count)

    def saturated(self, x: FloatVector) -> int:
        """Count the coordinates that are beyond the grid after clipping.

        Raises:
            InputError: ``x`` is not a vector of shape (dim,), or holds NaN or infinity.
        """
        return self.grid.saturated(self.clip(x))

    def config(self) -> dict[str, object]:
        """Give the keys of all stages and ``dim``: what ``presets.from_config`` reads back."""
        keys: dict[str, object] = {"dim": self.dim}
        for stage in self.clips:
            keys |= stage.config()
        return keys | self.grid.config()


ORDER = (ClipL2, ClipLinf, UniformGrid)
"""The one order of stages, each at most once. Fixed, so that equal settings mean equal codecs."""


def chain(*stages: Clip | UniformGrid, dim: int) -> Chain:
    """Compose clips and one grid, in the order `ORDER`, to an `UpdateCodec` for vectors of shape (dim,).

    Raises:
        ConfigurationError: an unknown stage, a stage twice, the wrong order, or no grid; by name.
    """
    dim = whole_number(dim, "dim", 1, MAX_DIM)
    _check_order(stages)
    grid = stages[-1] if stages else None
    if not isinstance(grid, UniformGrid):
        raise ConfigurationError("the chain has no grid: end it with a UniformGrid")
    return Chain(dim, tuple(stage for stage in stages if not isinstance(stage, UniformGrid)), grid)


def _check_order(stages: Sequence[object]) -> None:
    """Refuse what is not a strictly increasing run through `ORDER`."""
    names = [kind.__name__ for kind in ORDER]
    given = [type(stage).__name__ for stage in stages]
    for stage, name in zip(stages, given, strict=True):
        if not isinstance(stage, ORDER):
            raise ConfigurationError(f"{name} is no stage of a chain; stages are {', '.join(names)}")
    for before, after in pairwise(given):
        if before == after:
            raise ConfigurationError(f"the chain has two stages {after}; use one")
        if names.index(before) > names.index(after):
            raise ConfigurationError(f"{after} stands after {before}; the order is {', '.join(names)}")
