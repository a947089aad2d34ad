"""Layers: clips, scales and bits that differ along the vector. All of them public and the same at all sites.

Layers (or channels) are consecutive runs of coordinates, given by their lengths; `quant.Layout` knows them
(``leaf.size``). Their ranges have to come from what is public: an earlier aggregate, a public data set. A scale that
one site measures on its own update cannot be summed.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.checks import positive_bound, whole_number
from quant.clip import Bounds, ClipL2
from quant.errors import ConfigurationError, InputError
from quant.lanes import MAX_DIM
from quant.public import PublicRandomness
from quant.vectors import FloatVector, as_vector, magnitude


def layer_lengths(lengths: Sequence[int]) -> tuple[int, ...]:
    """Give checked lengths.

    Raises:
        ConfigurationError: no layer, or a length that is no positive whole number.
    """
    checked = tuple(whole_number(length, "the length of a layer", 1, MAX_DIM) for length in lengths)
    if not checked:
        raise ConfigurationError("layers are missing: give their lengths")
    return checked


def per_layer(values: Sequence[float], lengths: Sequence[int], name: str) -> tuple[float, ...]:
    """Give one positive number per layer.

    Raises:
        ConfigurationError: another number of them than layers, or one that is no ordinary positive number.
    """
    if len(values) != len(lengths):
        raise ConfigurationError(f"{len(lengths)} layers need as many values of {name}, not {len(values)}")
    return tuple(positive_bound(value, name) for value in values)


def runs_of(lengths: Sequence[int]) -> Iterator[slice]:
    """Give the run of coordinates of every layer."""
    start = 0
    for length in lengths:
        yield slice(start, start + length)
        start += length


def check_layers(lengths: Sequence[int], dim: int) -> None:
    """Refuse layers that do not make up the vector.

    Raises:
        ConfigurationError: saying both sizes.
    """
    if sum(lengths) != dim:
        raise ConfigurationError(f"the layers have {sum(lengths)} coordinates together, the vector has {dim}")


@dataclass(frozen=True, slots=True)
class ClipPerLayer:
    """Scale every layer down to its own Euclidean norm bound; the whole then has at most their root sum of squares.

    Exact and bounded as `ClipL2`, layer by layer (McMahan et al. 2018, "Learning differentially private recurrent
    language models", per-layer clipping).
    """

    lengths: tuple[int, ...]
    bounds: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse lengths and bounds that do not go together."""
        object.__setattr__(self, "lengths", layer_lengths(self.lengths))
        object.__setattr__(self, "bounds", per_layer(self.bounds, self.lengths, "the clip bound of a layer"))

    @property
    def bound(self) -> float:
        """Bound on the norm of the whole vector: rounded up, so that it holds in real arithmetic."""
        return math.nextafter(math.sqrt(math.fsum(bound**2 for bound in self.bounds)) * (1 + 2.0**-50), math.inf)

    def check_dim(self, dim: int) -> None:
        """Refuse vectors of another length."""
        check_layers(self.lengths, dim)

    def apply(self, x: FloatVector) -> FloatVector:
        """Clip one vector; gives ``x`` itself if every layer is inside of its bound.

        Raises:
            InputError: ``x`` is not a vector of the layers' size, or holds NaN or infinity.
        """
        x = as_vector(x, sum(self.lengths))
        parts = [ClipL2(bound).apply(x[run]) for run, bound in zip(runs_of(self.lengths), self.bounds, strict=True)]
        if all(np.may_share_memory(part, x) for part in parts):
            return x
        clipped = np.empty_like(x)
        np.concatenate(parts, out=clipped)
        return clipped

    def narrow(self, bounds: Bounds) -> Bounds:
        """The norm is at most the root sum of squares, a coordinate at most the largest bound."""
        return bounds.narrowed(l2=self.bound).narrowed(linf=max(self.bounds))

    def config(self) -> dict[str, object]:
        """Give the preset keys."""
        return {"layers": list(self.lengths), "layer_clips": list(self.bounds)}


@dataclass(frozen=True, slots=True)
class LayerScales:
    """Divide every layer (or channel) by its public scale, so that all of them fill the same grid.

    Linear and exactly invertible in real arithmetic. Bounded: one float rounding forth and one back per coordinate.
    The decoded error of a layer is its scale times the grid's.
    """

    lengths: tuple[int, ...]
    scales: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse lengths and scales that do not go together."""
        object.__setattr__(self, "lengths", layer_lengths(self.lengths))
        object.__setattr__(self, "scales", per_layer(self.scales, self.lengths, "the scale of a layer"))

    @property
    def public_labels(self) -> tuple[str, ...]:
        """Nothing is drawn."""
        return ()

    @property
    def unbiased(self) -> bool:
        """Scales are undone."""
        return True

    def gain(self, dim: int) -> float:
        """Nothing is amplified."""
        return 1.0

    def out_dim(self, dim: int) -> int:
        """Give ``dim``, if the layers make up the vector."""
        check_layers(self.lengths, dim)
        return dim

    def forward(self, x: FloatVector, public: PublicRandomness | None) -> FloatVector:
        """Divide.

        Raises:
            InputError: a quotient beyond the float type.
        """
        limit = float(np.finfo(x.dtype).max) * min(1.0, *self.scales) / 2
        if magnitude(x) > limit:
            raise InputError(
                f"a coordinate is too large for its layer's scale in {x.dtype.name}: clip the update first"
            )
        with np.errstate(under="ignore"):
            scaled = np.empty_like(x)
            np.divide(x, self._vector(), out=scaled, casting="same_kind")
            return scaled

    def backward(self, y: FloatVector, dim: int, public: PublicRandomness | None) -> FloatVector:
        """Multiply."""
        scaled = np.empty_like(y)
        np.multiply(y, self._vector(), out=scaled, casting="same_kind")
        return scaled

    def narrow(self, bounds: Bounds, dim: int) -> Bounds:
        """Norms grow by one over the least scale, at most, and one rounding."""
        growth = (1 + 2.0**-22) / min(self.scales)
        return Bounds(*(None if bound is None else bound * growth for bound in (bounds.l2, bounds.linf)))

    def config(self) -> dict[str, object]:
        """Give the preset keys."""
        return {"layers": list(self.lengths), "layer_scales": list(self.scales)}

    def _vector(self) -> NDArray[np.float64]:
        """Give the scale of every coordinate."""
        return np.repeat(self.scales, self.lengths)


def bits_by_range(lengths: Sequence[int], ranges: Sequence[float], bits: float, most: int = 16) -> tuple[int, ...]:
    """Give every layer its bits: least sum of squared steps, with at most ``bits`` per coordinate on average.

    Greedy, and optimal among whole numbers as far as layers divide the budget evenly: a bit more in layer l reduces
    its error by 3/4 length (range / 2^bits)^2 and costs ``length`` bits, so the next bit goes where
    range / 2^bits is largest.

    Args:
        lengths: sizes of the layers.
        ranges: public range of each (an earlier aggregate's, not one site's).
        bits: budget per coordinate, at least 1.
        most: no layer gets more.

    Raises:
        ConfigurationError: a budget below one bit per coordinate, or lists that do not go together.
    """
    sizes = layer_lengths(lengths)
    reaches = per_layer(ranges, sizes, "the range of a layer")
    if not bits >= 1:
        raise ConfigurationError(f"every coordinate needs at least one bit, the budget is {bits}")
    given = [1] * len(sizes)
    left = bits * sum(sizes) - sum(sizes)
    while True:
        open_ = [i for i, size in enumerate(sizes) if size <= left and given[i] < most]
        if not open_:
            return tuple(given)
        best = max(open_, key=lambda i: (reaches[i] / 2 ** given[i], -i))
        given[best] += 1
        left -= sizes[best]
