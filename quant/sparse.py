"""Sparsity that sums: every site keeps the same coordinates, chosen without looking at its own update.

Indices that one site picks from its data neither add up nor stay secret. Indices that all know before (a public seed,
the previous aggregate, a pruned architecture) do both, and need not be sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant.checks import whole_number
from quant.clip import Bounds
from quant.errors import ConfigurationError, InputError
from quant.lanes import MAX_DIM
from quant.public import PATTERN, PublicRandomness, need_public
from quant.streams import RandomStream
from quant.vectors import FloatVector, as_vector


@dataclass(frozen=True, slots=True)
class SharedRandomK:
    """Keep ``k`` coordinates, the same random ones at all sites (stream "pattern"); after a rotation: SRHT.

    With ``amplify`` the decoder multiplies by dim / k, so the decoded sum is unbiased over patterns:
    E[estimate] = x, with E|estimate - x|^2 = (dim / k - 1) |x|^2 exactly. This error is common to all sites and does
    not shrink with their number; a rotation first does not change its mean, but makes it the same for all x of
    one norm. Without ``amplify`` the decoder puts zeros where nothing was sent, |estimate - x| <= |x|: what
    `ErrorFeedback` needs. The pattern is a uniform k-subset, up to a bias of dim^2 2^-63 (ties of random keys).

    Source: Konecny et al. 2016 ("Federated learning: strategies for improving communication efficiency"), random mask;
    with rotation Woolfe et al. 2008, the subsampled randomized Hadamard transform.
    """

    k: int
    amplify: bool = True

    def __post_init__(self) -> None:
        """Refuse a count that is none."""
        object.__setattr__(self, "k", whole_number(self.k, "random_k", 1, MAX_DIM))
        if not isinstance(self.amplify, bool):
            raise ConfigurationError(f"amplify must be true or false, not {self.amplify!r}")

    @property
    def public_labels(self) -> tuple[str, ...]:
        """The pattern is common to all sites."""
        return (PATTERN,)

    @property
    def unbiased(self) -> bool:
        """On average over patterns, if what is kept stands for what is not."""
        return self.amplify

    def gain(self, dim: int) -> float:
        """Give dim / k, or 1 without ``amplify``."""
        return dim / self.k if self.amplify else 1.0

    def out_dim(self, dim: int) -> int:
        """Give ``k``.

        Raises:
            ConfigurationError: there are fewer than ``k`` coordinates.
        """
        if self.k > dim:
            raise ConfigurationError(f"random_k keeps {self.k} of {dim} coordinates; it must be at most {dim}")
        return self.k

    def forward(self, x: FloatVector, public: PublicRandomness | None) -> FloatVector:
        """Give the kept coordinates, in ascending order of their places.

        Raises:
            ConfigurationError: no public randomness.
        """
        return x[self._places(x.size, public)]

    def backward(self, y: FloatVector, dim: int, public: PublicRandomness | None) -> FloatVector:
        """Put the kept coordinates back, multiplied by the gain, and zeros elsewhere.

        Raises:
            ConfigurationError: no public randomness.
        """
        x = np.zeros(dim, y.dtype)
        x[self._places(dim, public)] = y * y.dtype.type(self.gain(dim))
        return x

    def narrow(self, bounds: Bounds, dim: int) -> Bounds:
        """A part is no longer than the whole."""
        return bounds

    def config(self) -> dict[str, object]:
        """Give the preset keys."""
        keys: dict[str, object] = {"random_k": self.k}
        return keys if self.amplify else keys | {"amplify": False}

    def _places(self, dim: int, public: PublicRandomness | None) -> NDArray[np.int64]:
        """Give the pattern of a vector of ``dim`` coordinates."""
        return random_subset(need_public(public, self.public_labels).stream(PATTERN), dim, self.k)


@dataclass(frozen=True, slots=True)
class KeepCoordinates:
    """Keep the coordinates of public runs [start, stop), in order: a pruning mask, or a top-k that the server chose.

    Exact: what is kept is unchanged, everything else decodes to zero. So the decoded sum is biased wherever an update
    is not zero outside of the runs; that is the point of a mask, and the price of top-k. Every site must get the same
    runs, and they must come from what is public anyway (`server_top_k`, `top_groups`, an architecture).
    """

    runs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        """Refuse runs that are empty, out of order or touch each other."""
        edge = -1
        for run in self.runs:
            if not edge < run[0] < run[1] <= MAX_DIM:
                raise ConfigurationError(f"kept runs are ascending, separate [start, stop) pairs; {run!r} is not")
            edge = whole_number(run[1], "the end of a run", 1, MAX_DIM)
        if not self.runs:
            raise ConfigurationError("no coordinate is kept: give at least one run")

    @classmethod
    def of(cls, places: ArrayLike) -> "KeepCoordinates":
        """Keep the coordinates with these indices, in any order, or where a boolean mask is true.

        Raises:
            ConfigurationError: no indices, negative ones, or what is neither indices nor a mask.
        """
        given = np.asarray(places)
        if given.dtype == np.bool_:
            given = np.flatnonzero(given)
        if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer) or not given.size or given.min() < 0:
            raise ConfigurationError("kept coordinates are a list of indices or a boolean mask, with at least one")
        kept = np.unique(given.astype(np.int64))
        breaks = np.flatnonzero(np.diff(kept) != 1)
        starts, stops = kept[np.r_[0, breaks + 1]], kept[np.r_[breaks, kept.size - 1]] + 1
        return cls(tuple(zip(starts.tolist(), stops.tolist(), strict=True)))

    @property
    def public_labels(self) -> tuple[str, ...]:
        """Nothing is drawn."""
        return ()

    @property
    def unbiased(self) -> bool:
        """What is left out is lost."""
        return False

    def gain(self, dim: int) -> float:
        """Nothing is amplified."""
        return 1.0

    def out_dim(self, dim: int) -> int:
        """Give how many are kept.

        Raises:
            ConfigurationError: a run goes beyond ``dim``.
        """
        if self.runs[-1][1] > dim:
            raise ConfigurationError(f"coordinate {self.runs[-1][1] - 1} is kept, but there are only {dim}")
        return sum(stop - start for start, stop in self.runs)

    def forward(self, x: FloatVector, public: PublicRandomness | None) -> FloatVector:
        """Give the kept coordinates."""
        return np.concatenate([x[start:stop] for start, stop in self.runs])

    def backward(self, y: FloatVector, dim: int, public: PublicRandomness | None) -> FloatVector:
        """Put the kept coordinates back, and zeros elsewhere."""
        x = np.zeros(dim, y.dtype)
        first = 0
        for start, stop in self.runs:
            x[start:stop] = y[first : first + stop - start]
            first += stop - start
        return x

    def narrow(self, bounds: Bounds, dim: int) -> Bounds:
        """A part is no longer than the whole."""
        return bounds

    def config(self) -> dict[str, object]:
        """Give the preset key."""
        return {"keep": [list(run) for run in self.runs]}


def random_subset(stream: RandomStream, dim: int, k: int) -> NDArray[np.int64]:
    """Give a uniform k-subset of range(dim), ascending: those with the k smallest 64-bit keys.

    Key i are bytes 8i to 8i + 7 of the stream, little-endian, with their lowest bits replaced by i to break ties.
    """
    raw = np.empty(8 * dim, np.uint8)
    stream.fill(raw)
    low = np.uint64((1 << dim.bit_length()) - 1)
    keys = raw.view("<u8").astype(np.uint64, copy=False)
    keys &= ~low
    keys |= np.arange(dim, dtype=np.uint64)
    smallest = np.partition(keys, k - 1)[:k]
    return np.sort(smallest & low).astype(np.int64)


def server_top_k(aggregate: FloatVector, k: int) -> KeepCoordinates:
    """Keep the ``k`` largest magnitudes of the previous (published) aggregate; of equal ones, the first.

    No site's own indices are used, so nothing leaks beyond that aggregate. The price: a coordinate that was small
    stays out until a round asks for all of them again.

    Raises:
        InputError: ``aggregate`` is not a vector, or has fewer than ``k`` coordinates.
    """
    aggregate = as_vector(aggregate)
    k = whole_number(k, "top_k", 1, aggregate.size, InputError)
    order = np.argsort(-np.abs(aggregate), kind="stable")
    return KeepCoordinates.of(order[:k])


def top_groups(aggregate: FloatVector, lengths: Sequence[int], keep: int) -> KeepCoordinates:
    """Keep the ``keep`` groups (channels, neurons, layers) of largest root mean square in the previous aggregate.

    Args:
        aggregate: what was published, shape (dim,).
        lengths: sizes of consecutive groups, which add up to dim.
        keep: number of groups.

    Raises:
        InputError: lengths that do not add up, or fewer groups than ``keep``.
    """
    aggregate = as_vector(aggregate)
    sizes = [whole_number(length, "the length of a group", 1, aggregate.size, InputError) for length in lengths]
    if sum(sizes) != aggregate.size:
        raise InputError(f"groups of {sum(sizes)} coordinates do not make up a vector of {aggregate.size}")
    keep = whole_number(keep, "the number of groups to keep", 1, len(sizes), InputError)
    stops = np.cumsum(sizes)
    starts = stops - sizes
    means = np.add.reduceat(aggregate.astype(np.float64) ** 2, starts.tolist()) / sizes
    chosen = np.sort(np.argsort(-means, kind="stable")[:keep])
    return KeepCoordinates.of(np.concatenate([np.arange(starts[i], stops[i]) for i in chosen]))
