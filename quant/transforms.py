"""Transforms: public linear maps between the clips and the grid, the same at all sites, undone on the sum.

What is linear commutes with the sum: the server adds first and inverts once. A transform here never lengthens a vector
beyond what `Transform.narrow` says, so clips made before it keep their meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quant.checks import whole_number
from quant.clip import Bounds
from quant.errors import ConfigurationError, InputError
from quant.hadamard import hadamard_columns, hadamard_error
from quant.public import ROTATION, PublicRandomness, need_public
from quant.streams import RandomStream
from quant.vectors import WIDE_SLICE, FloatVector, magnitude, slices

MAX_BLOCK = 2**20
DEFAULT_BLOCK = 4096


class Transform(Protocol):
    """A public linear map of vectors, made for every length by its setting alone."""

    @property
    def public_labels(self) -> tuple[str, ...]:
        """The public streams that it draws from."""
        ...

    @property
    def unbiased(self) -> bool:
        """Whether ``backward`` after ``forward`` gives the vector, on average over the public randomness."""
        ...

    def gain(self, dim: int) -> float:
        """What ``backward`` multiplies by to be unbiased; 1 if it does not."""
        ...

    def out_dim(self, dim: int) -> int:
        """Coordinates that come out of ``dim``; refuses lengths that it does not fit."""
        ...

    def forward(self, x: FloatVector, public: PublicRandomness | None) -> FloatVector:
        """Map a finite vector of shape (dim,) to shape (out_dim,), dtype as ``x``."""
        ...

    def backward(self, y: FloatVector, dim: int, public: PublicRandomness | None) -> FloatVector:
        """Map a (sum of) transformed vectors of shape (out_dim,) back to shape (dim,)."""
        ...

    def narrow(self, bounds: Bounds, dim: int) -> Bounds:
        """Give what is known after ``forward``, from what was known before."""
        ...

    def config(self) -> dict[str, object]:
        """Give the preset keys."""
        ...


@dataclass(frozen=True, slots=True)
class HadamardRotation:
    """Random signs, then a Walsh-Hadamard transform of blocks: spreads every update over the whole grid.

    y = H D x / sqrt(block): D are public random signs (stream "rotation", one bit per coordinate, lowest bit of a byte
    first). The vector is padded with zeros to whole blocks, at most block - 1 of them, and laid out as a matrix of
    ``block`` rows; every *column* is a block. So a block takes its coordinates from all over the model, and blocks
    have about the same norm even where layers have not. A block that is not given is 4096, or for shorter vectors
    their length, rounded up to a power of two. Larger blocks mix better and pad more.

    Exact: linear; orthonormal in real arithmetic, hence its own inverse, errors keep their Euclidean norm.
    Bounded: float arithmetic moves a vector by at most `hadamard_error` of its norm, and the bound on the L2 norm
    grows by that much. Not bounded by anything smaller than the L2 norm: a coordinate. For fixed x and random signs,
    P(|y_j| > t) <= 2 exp(-t^2 block / (2 |column|^2)) (Hoeffding); if the columns share the norm evenly, y_j behaves
    like a normal variable of standard deviation |x| / sqrt(out_dim). So a range of k such deviations saturates about
    erfc(k / sqrt(2)) of the coordinates (`range_for`), and ``saturated`` counts them.

    Source: Suresh et al. 2017 ("Distributed mean estimation with limited communication"), section 3.
    """

    block: int | None = None

    def __post_init__(self) -> None:
        """Refuse a block that is no power of two."""
        if self.block is None:
            return
        block = whole_number(self.block, "the rotation block", 2, MAX_BLOCK)
        if block & (block - 1):
            raise ConfigurationError(f"the rotation block must be a power of two, not {block}")
        object.__setattr__(self, "block", block)

    @property
    def public_labels(self) -> tuple[str, ...]:
        """Signs are common to all sites."""
        return (ROTATION,)

    @property
    def unbiased(self) -> bool:
        """The inverse is exact in real arithmetic."""
        return True

    def gain(self, dim: int) -> float:
        """Nothing is amplified."""
        return 1.0

    def rows(self, dim: int) -> int:
        """Length of one block for a vector of ``dim`` coordinates."""
        if self.block is not None:
            return self.block
        return min(DEFAULT_BLOCK, max(2, 1 << (dim - 1).bit_length()))

    def out_dim(self, dim: int) -> int:
        """Give ``dim``, rounded up to whole blocks."""
        rows = self.rows(dim)
        return -(-dim // rows) * rows

    def forward(self, x: FloatVector, public: PublicRandomness | None) -> FloatVector:
        """Rotate one vector.

        Raises:
            ConfigurationError: no public randomness.
            InputError: NaN, infinity, or values so large that sums of a block could leave the dtype: clip first.
        """
        rows = self.rows(x.size)
        if magnitude(x) > float(np.finfo(x.dtype).max) / (4 * rows):
            raise InputError(f"a coordinate is too large to be rotated in {x.dtype.name}: clip the update first")
        padded = np.zeros(self.out_dim(x.size), x.dtype)
        stream = need_public(public, self.public_labels).stream(ROTATION)
        flip_signs(x, stream, out=padded[: x.size])
        with np.errstate(under="ignore"):
            return _rotate(padded, rows, padded)

    def backward(self, y: FloatVector, dim: int, public: PublicRandomness | None) -> FloatVector:
        """Rotate back.

        Raises:
            ConfigurationError: no public randomness.
        """
        stream = need_public(public, self.public_labels).stream(ROTATION)
        with np.errstate(under="ignore"):
            rotated = _rotate(y, self.rows(dim))
        return flip_signs(rotated[:dim], stream)

    def narrow(self, bounds: Bounds, dim: int) -> Bounds:
        """The L2 bound grows by float error; a coordinate is bounded by L2, or by sqrt(block) times what it was."""
        rows = self.rows(dim)
        growth = 1 + hadamard_error(rows, np.dtype(np.float32)) + 2.0**-40  # what rounds near zero is far below
        l2 = None if bounds.l2 is None else bounds.l2 * growth
        linf = None if bounds.linf is None else bounds.linf * rows**0.5 * growth
        return Bounds().narrowed(l2=l2, linf=linf)

    def config(self) -> dict[str, object]:
        """Give the preset key."""
        return {"rotation": True if self.block is None else self.block}


def flip_signs(x: FloatVector, stream: RandomStream, out: FloatVector | None = None) -> FloatVector:
    """Give x_i or -x_i, by bit i of the stream (lowest bit of a byte first): ceil(dim / 8) bytes. Exact."""
    word = np.dtype(np.uint32 if x.dtype == np.float32 else np.uint64)
    words = np.ascontiguousarray(x).view(word)
    out = np.empty_like(x) if out is None else out
    flips = np.empty((min(WIDE_SLICE, -(-x.size // 8) * 8) // 8, 8), word)
    for part in slices(x.size, WIDE_SLICE):
        random = np.empty(-(-(part.stop - part.start) // 8), np.uint8)
        stream.fill(random)
        signs = np.take(_sign_bits(word.itemsize), random, axis=0, out=flips[: random.size], mode="clip").reshape(-1)
        np.bitwise_xor(words[part], signs[: part.stop - part.start], out=out.view(word)[part])
    return out


@lru_cache(maxsize=2)
def _sign_bits(size: int) -> NDArray[np.uint32] | NDArray[np.uint64]:
    """Give for every byte what flips the signs of 8 floats of ``size`` bytes, lowest bit first."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return bits.astype(np.uint32) << np.uint32(31) if size == 4 else bits.astype(np.uint64) << np.uint64(63)


def _rotate(x: FloatVector, rows: int, out: FloatVector | None = None) -> FloatVector:
    """Transform the columns of the matrix of ``rows`` rows that ``x`` fills, row by row; ``out`` may be ``x``."""
    contiguous: FloatVector = np.require(x, requirements="C")
    return hadamard_columns(contiguous.reshape(rows, -1), None if out is None else out.reshape(rows, -1)).reshape(-1)


def out_dims(transforms: Sequence[Transform], dim: int) -> tuple[int, ...]:
    """Give the number of coordinates before each transform, and after the last."""
    dims = [dim]
    for transform in transforms:
        dims.append(transform.out_dim(dims[-1]))
    return tuple(dims)
