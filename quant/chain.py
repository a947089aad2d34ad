"""Chains: clips, then public linear transforms, then one grid; the one implementation of `UpdateCodec`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from quant.checks import whole_number
from quant.clip import SMALL_FACTOR, Bounds, Clip, ClipL2, ClipLinf
from quant.codec import CodecFacts
from quant.errors import ConfigurationError
from quant.grid import Grid, UniformGrid
from quant.lanes import MAX_DIM, LaneLayout
from quant.layered import LayeredGrid
from quant.layers import ClipPerLayer, LayerScales
from quant.lossless import LosslessGrid
from quant.modular import ModularGrid
from quant.norms import check_conditional, checked, norm_limit
from quant.public import DITHER, PublicRandomness, need_clients, need_public
from quant.refused import refuse_scheme
from quant.sparse import KeepCoordinates, SharedRandomK
from quant.streams import SYSTEM_STREAM, RandomStream
from quant.transforms import HadamardRotation, Transform, out_dims
from quant.vectors import WIDE_SLICE, FloatVector, Integers, as_vector, check_integers, magnitude, slices


@dataclass(frozen=True)
class Chain:
    """Clips, transforms, then one grid. Made by ``chain``, which checks the order."""

    dim: int
    clips: tuple[Clip, ...]
    transforms: tuple[Transform, ...]
    grid: Grid
    facts: CodecFacts = field(init=False, compare=False, repr=False)
    _reach: float | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Compute the facts once."""
        bounds = Bounds()
        for stage in self.clips:
            stage.check_dim(self.dim)
            bounds = stage.narrow(bounds)
        dims = out_dims(self.transforms, self.dim)
        for transform, dim in zip(self.transforms, dims, strict=False):
            bounds = transform.narrow(bounds, dim)
        self.grid.check_dim(dims[-1])
        _check_same_layers((*self.clips, *self.transforms, self.grid))
        check_conditional(self.grid, bounds.l2)
        widest = self.grid.widest if isinstance(self.grid, LayeredGrid) else self.grid.bound
        reach = widest if bounds.linf is None else min(bounds.linf, widest)
        unbiased = self.grid.rounding != "nearest" or self.grid.max_error == 0
        facts = CodecFacts(
            dim=self.dim,
            encoded_dim=dims[-1],
            upper=self.grid.levels - 1,
            levels=self.grid.levels,
            bits=(self.grid.levels - 1).bit_length(),
            step=self.grid.step,
            l2_bound=bounds.l2,
            linf_bound=reach,
            integer_l2_squared=norm_limit(self.grid, bounds.l2, dims[-1]),
            max_error=self.grid.max_error,
            max_bias=self.grid.max_bias,
            variance=self.grid.variance,
            unbiased=unbiased and all(stage.unbiased for stage in self.transforms),
            may_saturate=bounds.linf is None or bounds.linf > self.grid.bound,
            wraps=self.grid.wraps,
            gain=math.prod(stage.gain(dim) for stage, dim in zip(self.transforms, dims, strict=False)),
        )
        object.__setattr__(self, "facts", facts)
        object.__setattr__(self, "_reach", bounds.linf)

    @property
    def public_labels(self) -> tuple[str, ...]:
        """Labels of the public streams, in the order of the stages."""
        labels = [label for stage in self.transforms for label in stage.public_labels]
        return (*labels, DITHER) if self.grid.rounding == "dither" else tuple(labels)

    def clip(self, x: FloatVector) -> FloatVector:
        """Apply the clips in order; gives ``x`` itself if it is inside of all.

        Raises:
            InputError: ``x`` is not a vector of shape (dim,), or (with any clip) holds NaN or infinity.
        """
        x = as_vector(x, self.dim)
        for stage in self.clips:
            x = stage.apply(x)
        return x

    def transform(self, x: FloatVector, public: PublicRandomness | None = None) -> FloatVector:
        """Give the float vector of shape (encoded_dim,) that is put on the grid.

        Raises:
            InputError: ``x`` is not a vector of shape (dim,), or holds NaN or infinity.
            ConfigurationError: no public randomness where some is needed.
        """
        x = self.clip(x)
        for stage in self.transforms:
            x = stage.forward(x, public)
        return x

    def encode(
        self,
        x: FloatVector,
        stream: RandomStream = SYSTEM_STREAM,
        *,
        public: PublicRandomness | None = None,
        client: int | None = None,
    ) -> NDArray[np.int64]:
        """Clip, transform and round ``x``; see `UniformGrid.encode`.

        Args:
            x: the update, shape (dim,).
            stream: private coins; not used by nearest rounding and dither.
            public: the streams of the round's joint seed, if ``public_labels`` names any.
            client: this site's id, for its dither.

        Raises:
            InputError: ``x`` is not a vector of shape (dim,), or holds NaN or infinity.
            ConfigurationError: public randomness or the client's id is needed and missing.
        """
        encode = self._encoder(x, stream, public, client)
        encoded = np.empty(self.facts.encoded_dim, np.int64)
        for part in slices(encoded.size, WIDE_SLICE):
            encode(part, encoded[part])
        if self.grid.rounding == "conditional":
            checked(encoded, self.grid.levels, self.facts.integer_l2_squared)
        return encoded

    def encode_packed(
        self,
        x: FloatVector,
        lanes: LaneLayout,
        stream: RandomStream = SYSTEM_STREAM,
        *,
        public: PublicRandomness | None = None,
        client: int | None = None,
    ) -> NDArray[np.uint64]:
        """Give ``lanes.pack(encode(x, ...))`` without ever holding all integers.

        Raises:
            InputError: as ``encode`` and ``LaneLayout.pack``.
            ConfigurationError: as ``encode``, or lanes of another dimension, or shared by what wraps.
        """
        self._check_lanes(lanes)
        if self.grid.rounding == "conditional":  # the norm of all of them decides
            return lanes.pack(self.encode(x, stream, public=public, client=client))
        encode = self._encoder(x, stream, public, client)

        def fill(part: slice, out: Integers) -> None:
            for run in slices(out.size, WIDE_SLICE):
                encode(slice(part.start + run.start, part.start + run.stop), out[run])

        return lanes.pack_from(fill)

    def _check_lanes(self, lanes: LaneLayout) -> None:
        """Refuse lanes that do not fit the encoded vector."""
        if lanes.dim != self.facts.encoded_dim or lanes.width < self.facts.bits:
            raise ConfigurationError(
                f"lanes of {lanes.dim} x {lanes.width} bits do not fit {self.facts.encoded_dim} x {self.facts.bits}"
            )
        if lanes.fields > 1 and not self.facts.may_share_lanes:
            raise ConfigurationError("sums of this codec wrap: a lane holds one coordinate; use facts.lanes(clients)")

    def decode(
        self,
        total: NDArray[np.int64],
        count: int,
        *,
        public: PublicRandomness | None = None,
        clients: Sequence[int] = (),
        noise: int = 0,
    ) -> NDArray[np.float64]:
        """Take a sum off the grid and undo the transforms; see `UniformGrid.decode`.

        Raises:
            InputError: not int64 of shape (encoded_dim,), not the sum of ``count`` encoded vectors, or, for dither,
                not ``count`` different clients.
            ConfigurationError: no public randomness where some is needed.
        """
        check_integers(total, np.int64, self.facts.encoded_dim)
        x = self.grid.decode(total, count, self._dithers(count, public, clients), noise=noise)
        return self._undo(x, public)

    def decode_packed(
        self,
        total: NDArray[np.uint64],
        lanes: LaneLayout,
        count: int,
        *,
        public: PublicRandomness | None = None,
        clients: Sequence[int] = (),
        noise: int = 0,
    ) -> NDArray[np.float64]:
        """Give ``decode(lanes.unpack(total, -noise), ...)`` without ever holding all integers.

        Raises:
            InputError: as ``decode`` and ``LaneLayout.unpack``.
            ConfigurationError: as ``decode``, or lanes of another dimension, or shared by what wraps.
        """
        self._check_lanes(lanes)
        if not isinstance(self.grid, UniformGrid):  # other grids know their coordinates by position
            return self.decode(lanes.unpack(total, -noise), count, public=public, clients=clients, noise=noise)
        dithers = self._dithers(count, public, clients)
        x = np.empty(self.facts.encoded_dim, np.float64)
        for part, integers in lanes.unpack_blocks(total, -noise):
            x[part] = self.grid.decode(integers, count, dithers, noise=noise)
        return self._undo(x, public)

    def _dithers(self, count: int, public: PublicRandomness | None, clients: Sequence[int]) -> list[RandomStream]:
        """Give the streams whose coins ``count`` clients added."""
        if self.grid.rounding != "dither":
            return []
        source = need_public(public, self.public_labels)
        return [source.stream(DITHER, client) for client in need_clients(clients, count)]

    def _undo(self, x: FloatVector, public: PublicRandomness | None) -> NDArray[np.float64]:
        """Undo the transforms, last first."""
        dims = out_dims(self.transforms, self.dim)
        for stage, dim in zip(reversed(self.transforms), reversed(dims[:-1]), strict=True):
            x = stage.backward(x, dim, public)
        return x.astype(np.float64, copy=False)

    def saturated(self, x: FloatVector, *, public: PublicRandomness | None = None) -> int:
        """Count the encoded coordinates that are beyond the grid after clipping.

        Raises:
            InputError: ``x`` is not a vector of shape (dim,), or holds NaN or infinity.
            ConfigurationError: no public randomness where some is needed.
        """
        return self.grid.saturated(self.transform(x, public))

    def config(self) -> dict[str, object]:
        """Give the keys of all stages and ``dim``: what ``presets.from_config`` reads back."""
        keys: dict[str, object] = {"dim": self.dim}
        for clip in self.clips:
            keys |= clip.config()
        for transform in self.transforms:
            keys |= transform.config()
        return keys | self.grid.config()

    def _coins(self, stream: RandomStream, public: PublicRandomness | None, client: int | None) -> RandomStream:
        """Give the stream that the grid tosses its coins with."""
        if self.grid.rounding != "dither":
            return stream
        if client is None:
            raise ConfigurationError("this codec dithers: pass client=, the id whose dither the server will subtract")
        return need_public(public, self.public_labels).stream(DITHER, client)

    def _encoder(
        self, x: FloatVector, stream: RandomStream, public: PublicRandomness | None, client: int | None
    ) -> Callable[[slice, Integers], None]:
        """Do what must be done once, and give what encodes one slice after the other."""
        factor = None
        if not self.transforms and len(self.clips) == 1 and isinstance(clip := self.clips[0], ClipL2):
            x = as_vector(x, self.dim)
            factor, exponent = clip.factor(x)
            if factor is not None and (x.dtype != np.float32 or factor <= SMALL_FACTOR or exponent):
                x, factor = clip.apply(x), None
        else:
            x = self.transform(x, public)
        coins = self._coins(stream, public, client)
        high = self._magnitude(x, factor)
        if factor is None:
            return lambda part, out: self.grid.encode_part(x[part], part.start, out, coins, high)
        scaled, small = np.empty(min(x.size, WIDE_SLICE), np.float32), np.float32(factor)

        def encode(part: slice, out: Integers) -> None:  # what clip.apply does, but in the cache
            with np.errstate(under="ignore"):
                np.multiply(x[part], small, out=scaled[: out.size])
            self.grid.encode_part(scaled[: out.size], part.start, out, coins, high)

        return encode

    def _magnitude(self, x: FloatVector, factor: float | None) -> float:
        """Give a bound on all magnitudes of ``x`` times ``factor``; looks at them only if the clips promise too little.

        Every clip refuses NaN and infinity, as ``magnitude`` does.
        """
        reach = self._reach
        if reach is not None and self.clips:
            if reach <= self.grid.bound:
                return self.grid.bound
            if isinstance(self.grid, UniformGrid) and self.grid.clips_late(reach):
                return reach
        return magnitude(x) if factor is None else magnitude(x) * factor * (1 + 2.0**-22)


Stage = Clip | Transform | Grid

CLIPS = (ClipL2, ClipPerLayer, ClipLinf)
TRANSFORMS = (LayerScales, KeepCoordinates, HadamardRotation, SharedRandomK)
GRIDS = (UniformGrid, LayeredGrid, ModularGrid, LosslessGrid)
ORDER: tuple[type | tuple[type, ...], ...] = (*CLIPS, *TRANSFORMS, GRIDS)
"""The one order of stages, each at most once, one grid at the end. Fixed, so that equal settings mean equal codecs."""

NAMES = [kind.__name__ for kind in (*CLIPS, *TRANSFORMS, *GRIDS)]


def chain(*stages: Stage, dim: int) -> Chain:
    """Compose clips, transforms and one grid, in the order `ORDER`, to an `UpdateCodec` for vectors of shape (dim,).

    Raises:
        ConfigurationError: an unknown stage, a stage twice, the wrong order, or no grid; by name. A scheme that
            cannot be summed is refused with its linear substitute.
    """
    dim = whole_number(dim, "dim", 1, MAX_DIM)
    _check_order(stages)
    grid = stages[-1] if stages else None
    if not isinstance(grid, GRIDS):
        raise ConfigurationError("the chain has no grid: end it with a UniformGrid")
    clips = tuple(stage for stage in stages if isinstance(stage, CLIPS))
    transforms = tuple(stage for stage in stages if isinstance(stage, TRANSFORMS))
    return Chain(dim, clips, transforms, grid)


def _check_same_layers(stages: Sequence[object]) -> None:
    """Refuse layers that differ between stages: ``config`` names them once, and codecs that differ must not agree."""
    layered = [stage for stage in stages if isinstance(stage, ClipPerLayer | LayerScales | LayeredGrid)]
    for before, after in pairwise(layered):
        if before.lengths != after.lengths:
            first, second = type(before).__name__, type(after).__name__
            raise ConfigurationError(
                f"{first} has layers {list(before.lengths)[:8]}, {second} {list(after.lengths)[:8]}: "
                "all stages of a chain share one list of layers"
            )


def _place(stage: object) -> int:
    """Give the place of a stage in `ORDER`."""
    return next(place for place, kind in enumerate(ORDER) if isinstance(stage, kind))


def _check_order(stages: Sequence[object]) -> None:
    """Refuse what is not a strictly increasing run through `ORDER`."""
    for stage in stages:
        if not isinstance(stage, (*CLIPS, *TRANSFORMS, *GRIDS)):
            name = stage if isinstance(stage, str) else type(stage).__name__
            refuse_scheme(name)
            raise ConfigurationError(f"{name} is no stage of a chain; stages are {', '.join(NAMES)}")
    for before, after in pairwise(stages):
        first, second = type(before).__name__, type(after).__name__
        if first == second:
            raise ConfigurationError(f"the chain has two stages {first}; use one")
        if _place(before) == _place(after):
            raise ConfigurationError(f"the chain has two grids, {first} and {second}; use one")
        if _place(before) > _place(after):
            raise ConfigurationError(f"{second} stands after {first}; the order is {', '.join(NAMES)}")
