"""What every round tells about its quantization, from sums only: was the range right, how large is the error.

Each site adds three whole numbers to the secure sum, as a masked vector of their own: whether the clip cut its update,
how many of its coordinates lay beyond the grid, and the squared error that quantization made in it. The server sees
their sums. They are exact and carry no noise, so under differential privacy they are off, or noised and charged.
They are what sites say of themselves: a site that lies can make them say anything.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant import CodecFacts

MONITOR = "monitor"
"""Name of the masked vector."""

FIGURES = ("clipped", "saturated", "squared error")
"""Its elements, in order."""

FRACTION_BITS = 10
"""The squared error of a coordinate is counted in 2^-10 squared steps, so that its sum is a whole number too."""

MOST = 1 << 40
"""Largest value of one site's figure: sums over any cohort stay far below the modulus 2^64."""

BAD_SATURATION = 1e-3
"""Share of coordinates beyond the grid above which the sum is visibly biased."""

BAD_ERROR = 0.5
"""Squared error, relative to the squared mean update, above which the grid drowns the update."""

BAD_CLIPPING = 0.9
"""Share of clipped sites above which the clip, and not the data, sets the length of the mean."""


def observe(
    facts: CodecFacts,
    *,
    clipped: bool,
    saturated: int,
    error: NDArray[np.floating[Any]],
) -> NDArray[np.uint64]:
    """Give what one site adds: uint64 of shape (3,), in the order of ``FIGURES``.

    Args:
        facts: of the round's codec.
        clipped: whether the clip cut the update.
        saturated: encoded coordinates beyond the grid.
        error: decoded minus encoded vector, shape (dim,).
    """
    with np.errstate(over="ignore", under="ignore"):  # a value far beyond the grid: infinitely many steps are ``MOST``
        steps = float(np.sum(np.square(error / facts.step))) / facts.encoded_dim
    fixed = round(min(steps * (1 << FRACTION_BITS), MOST))
    return np.array([int(clipped), min(saturated, MOST), fixed], dtype=np.uint64)


@dataclass(frozen=True)
class Monitoring:
    """What a round's sums tell about its quantization.

    Attributes:
        clients: sites in the sum.
        clipped_fraction: share of them whose update was clipped.
        saturated_fraction: share of their encoded coordinates that lay beyond the grid (the overflow indicator).
        squared_error: estimated squared Euclidean error of the (weighted) mean, in squared model units: the sum of the
            sites' own squared errors times the squared share of each in the mean. Exact up to 2^-11 squared steps a
            coordinate, if errors of different sites are independent and unbiased.
        relative_error: the same over the squared norm of the mean (NMSE); ``None`` for a mean of zero.
    """

    clients: int
    clipped_fraction: float
    saturated_fraction: float
    squared_error: float
    relative_error: float | None

    @classmethod
    def of(cls, sums: NDArray[np.uint64], facts: CodecFacts, clients: int, square: float, scale: float) -> Monitoring:
        """Read the opened sums of a round.

        Args:
            sums: uint64 of shape (3,).
            facts: of the round's codec.
            clients: sites in the sum.
            square: squared Euclidean norm of the decoded (weighted) mean.
            scale: factor from the decoded sum to the mean.
        """
        clipped, saturated, fixed = (int(value) for value in sums)
        steps = fixed / (1 << FRACTION_BITS) * facts.encoded_dim
        error = steps * (facts.step * scale) * (facts.step * scale) if fixed else 0.0  # a lossless step may be huge
        return cls(
            clients,
            clipped / clients,
            saturated / (clients * facts.encoded_dim),
            error,
            error / square if square > 0 and math.isfinite(error / square) else None,
        )

    def warnings(self) -> tuple[str, ...]:
        """Say, one sentence each, what is wrong with range, bits or clip, and what to do."""
        found = []
        if self.saturated_fraction > BAD_SATURATION:
            found.append(
                f"{self.saturated_fraction:.2%} of the coordinates lie beyond the grid and were cut: widen the range, "
                "or clip the updates"
            )
        if self.relative_error is not None and self.relative_error > BAD_ERROR:
            found.append(
                f"the quantization error is {math.sqrt(self.relative_error):.1f} times as long as the mean update: "
                "use more bits, or a range that fits the updates"
            )
        if self.clipped_fraction > BAD_CLIPPING:
            found.append(f"{self.clipped_fraction:.0%} of the sites were clipped: raise the clip, or let it adapt")
        return tuple(found)

    def line(self) -> str:
        """Give the figures in one line for people."""
        error = "none" if self.relative_error is None else f"{math.sqrt(self.relative_error):.2%} of the mean"
        return (
            f"quantization error {error}, clipped {self.clipped_fraction:.0%} of {self.clients} sites, "
            f"beyond the grid {self.saturated_fraction:.3%}"
        )

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON types."""
        return asdict(self)
