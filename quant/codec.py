"""The contract between quantization and everything above it: floats in, integers out, and facts about them.

An `UpdateCodec` is pure: the same input and the same streams give the same integers. Its facts are computed from the
parts of its chain and never typed in twice; noise, field widths and accounting take their numbers from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quant import capacity
from quant.errors import ConfigurationError
from quant.lanes import LaneLayout
from quant.public import PublicRandomness
from quant.streams import SYSTEM_STREAM, RandomStream
from quant.vectors import FloatVector


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecFacts:
    """What holds for every vector that a codec encodes.

    "Encoded coordinate" means: after the transforms of the chain (rotation, selection), as it is put on the grid.
    Without transforms these are the coordinates of the update.

    Attributes:
        dim: number of coordinates of an update.
        encoded_dim: number of encoded integers: more than ``dim`` by the padding of a rotation, fewer if sparse.
        lower: least encoded integer, exact.
        upper: largest encoded integer, exact.
        levels: number of encoded integers, upper - lower + 1.
        bits: bits of one encoded integer.
        step: distance of grid points, in model units.
        l2_bound: bound on the Euclidean norm of the vector before rounding; None without an L2 clip.
        linf_bound: bound on the magnitude of every encoded coordinate that is not saturated, before rounding. Rounding
            moves it by ``max_error`` at most, and never beyond the grid.
        integer_l2_squared: bound on sum (2 q - upper)^2 / 4, the squared norm of the encoded integers around the middle
            of the grid, that no input can exceed (exact); None if nothing bounds it but the grid.
        max_error: bound on |decoded - clipped| per encoded coordinate and vector, if it is not saturated. A rotation
            spreads it: the Euclidean norm of the error stays, a coordinate of it may be sqrt(block) times larger.
        max_bias: bound on the mean of the same difference.
        variance: bound on the variance of the same difference; a sum of n vectors has n times as much.
        unbiased: whether the decoded sum is right on average, up to ``max_bias``, over private and public coins.
        may_saturate: whether a clipped vector can still be beyond the range of the grid.
        wraps: whether a sum may wrap around the field (modular clipping); then ``levels`` is the modulus.
        may_share_lanes: whether several coordinates may share one lane; not if sums wrap.
        gain: what the decoder multiplies by to be unbiased for a sparse codec (dim / kept); 1 for all others.
    """

    dim: int
    encoded_dim: int
    lower: int = 0
    upper: int
    levels: int
    bits: int
    step: float
    l2_bound: float | None
    linf_bound: float
    integer_l2_squared: int | None
    max_error: float
    max_bias: float
    variance: float
    unbiased: bool
    may_saturate: bool
    wraps: bool = False
    gain: float = 1.0

    @property
    def may_share_lanes(self) -> bool:
        """What wraps would carry into its neighbours."""
        return not self.wraps

    def field_width(self, clients: int, limit: int = capacity.MAX_WIDTH, *, noise: int = 0) -> int:
        """Bits of one field for a cohort; see ``capacity.field_width``. A field that wraps has its modulus' bits.

        Raises:
            ConfigurationError: noise in fields that wrap, or numbers that make no sense.
            CapacityError: the sum does not fit.
        """
        if not self.wraps:
            return capacity.field_width(self.levels, clients, limit, noise=noise)
        if noise:
            raise ConfigurationError("sums that wrap have no room for noise: take a uniform grid")
        return self.bits

    def max_clients(self, width: int, *, noise: int = 0) -> int:
        """Largest cohort whose sum fits into fields of ``width`` bits; see ``capacity.max_clients``."""
        return capacity.max_clients(width, self.levels, noise=noise)

    def lanes(self, clients: int, *, noise: int = 0) -> LaneLayout:
        """How the encoded vector of a cohort of ``clients`` is packed; one coordinate per lane if sums wrap.

        With ``noise``, a bound B on the magnitude of integer noise in the sum, fields hold [-B, clients * upper + B]:
        read them with ``unpack(total, -B)`` or ``decode_packed(..., noise=B)``.
        """
        return LaneLayout(self.encoded_dim, self.field_width(clients, noise=noise), shared=self.may_share_lanes)


class UpdateCodec(Protocol):
    """Puts vectors on a public grid, and takes their sum off it."""

    @property
    def facts(self) -> CodecFacts:
        """What holds for every vector that this codec encodes."""
        ...

    @property
    def public_labels(self) -> tuple[str, ...]:
        """The public streams that it draws from; if there are any, ``public=`` must be passed to all methods."""
        ...

    def clip(self, x: FloatVector) -> FloatVector:
        """Give the clipped float vector, before transforms and saturation; shape (dim,), dtype as ``x``."""
        ...

    def encode(
        self,
        x: FloatVector,
        stream: RandomStream = SYSTEM_STREAM,
        *,
        public: PublicRandomness | None = None,
        client: int | None = None,
    ) -> NDArray[np.int64]:
        """Clip, transform and round one finite vector of shape (dim,) to int64 (encoded_dim,) in [lower, upper]."""
        ...

    def encode_packed(
        self,
        x: FloatVector,
        lanes: LaneLayout,
        stream: RandomStream = SYSTEM_STREAM,
        *,
        public: PublicRandomness | None = None,
        client: int | None = None,
    ) -> NDArray[np.uint64]:
        """Give ``lanes.pack(encode(...))``, faster: block by block, so that the integers never leave the cache."""
        ...

    def decode(
        self,
        total: NDArray[np.int64],
        count: int,
        *,
        public: PublicRandomness | None = None,
        clients: Sequence[int] = (),
        noise: int = 0,
    ) -> NDArray[np.float64]:
        """Give the float64 sum of ``count`` vectors, shape (dim,), from the sum of their integers.

        ``clients`` are the ids of those whose integers are in the sum: a dithered codec subtracts their dithers.
        ``noise`` bounds the magnitude of integer noise in the sum; totals beyond it are refused.
        """
        ...

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
        """Give ``decode(lanes.unpack(total, -noise), ...)`` without ever holding all integers."""
        ...

    def saturated(self, x: FloatVector, *, public: PublicRandomness | None = None) -> int:
        """How many encoded coordinates of ``x``, once clipped, lie beyond the grid."""
        ...

    def config(self) -> dict[str, object]:
        """Give the public description, JSON-able and canonical: equal if and only if the codecs are."""
        ...
