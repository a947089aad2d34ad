"""Metrics inside the masked sum: a loss or an accuracy of one site tells about its data, so only the mean leaves.

A metric v with public bound B goes as the whole number round((v / B + 1) / 2 * 2^20) times the site's weight, in a
vector of its own beside the update. Sums are exact; a decoded mean errs by at most B / 2^20.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secagg.errors import UsageError

LEVELS = 1 << 20

MOST_BOUND = sys.float_info.max


@dataclass(frozen=True)
class MetricGrid:
    """How the metrics of a round become whole numbers.

    Attributes:
        bounds: (name, bound) ascending by name; a value beyond its bound is cut to it, and ``cut`` names it.
        max_weight: public bound on a weight; 1 in an unweighted round.
    """

    bounds: tuple[tuple[str, float], ...]
    max_weight: int

    @classmethod
    def of(cls, metrics: Mapping[str, float], max_weight: int | None) -> MetricGrid:
        """Check names and bounds.

        Raises:
            UsageError: a name that is empty or no text, or a bound that is not positive and finite.
        """
        given: Mapping[Any, Any] = metrics  # from the user, or out of a server's message
        for name, bound in given.items():
            if not isinstance(name, str) or not name:
                raise UsageError(f"a metric needs a name, not {name!r}")
            if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 < bound <= MOST_BOUND:
                raise UsageError(f"metric {name!r} needs a bound on its size, a positive number, not {bound!r}")
        return cls(tuple(sorted((name, float(bound)) for name, bound in metrics.items())), max_weight or 1)

    def modulus(self, clients: int) -> int:
        """Return the power of two that no sum over ``clients`` sites reaches.

        Raises:
            UsageError: weights so large that the sum does not fit into 64 bits.
        """
        bits = (clients * self.max_weight * LEVELS).bit_length()
        if bits > 64:
            raise UsageError(
                f"metrics of {clients} sites with weights up to {self.max_weight} need {bits} bits: 64 fit"
            )
        return 1 << bits

    def encode(self, values: Mapping[str, float], weight: int) -> NDArray[np.uint64]:
        """Return the whole numbers of one site, ``uint64`` of shape (metrics,), in the order of ``bounds``.

        Raises:
            UsageError: a metric is missing, unknown, or not finite.
        """
        names = [name for name, _ in self.bounds]
        if set(values) != set(names):
            raise UsageError(f"this round takes exactly the metrics {names}, not {sorted(values)}")
        numbers = []
        for name, bound in self.bounds:
            if not _is_finite(values[name]):
                raise UsageError(f"metric {name!r} is not finite")
            share = min(max(values[name] / bound, -1.0), 1.0)
            numbers.append(round((share + 1) / 2 * LEVELS) * weight)
        return np.array(numbers, dtype=np.uint64)

    def cut(self, values: Mapping[str, float]) -> tuple[str, ...]:
        """Return the names of the metrics that lie beyond their bounds."""
        return tuple(name for name, bound in self.bounds if abs(values.get(name, 0.0)) > bound)

    def decode(self, sums: NDArray[np.uint64], total_weight: int) -> dict[str, float]:
        """Return the weighted means, by name.

        Args:
            sums: of the whole numbers, of shape (metrics,).
            total_weight: sum of the weights of the same sites, at least 1.
        """
        shares = [int(total) / (total_weight * LEVELS) for total in sums]
        return {name: (2 * share - 1) * bound for (name, bound), share in zip(self.bounds, shares, strict=True)}

    def config(self) -> dict[str, float]:
        """Return the public description, which is hashed into the round."""
        return dict(self.bounds)


def _is_finite(value: Any) -> bool:
    """Whether this is a number that a float can hold."""
    try:
        return math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        return False
