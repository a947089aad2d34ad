"""From the opened vectors of a round to floats, and to what travelled beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import quant
from secagg.config import COUNTERS, INSIDE, METRICS, UPDATE, WEIGHT, RoundConfig
from secagg.monitoring import MONITOR, Monitoring


@dataclass(frozen=True)
class Opened:
    """The opened sum of a round. Large vectors are made when asked for, anew each time.

    Attributes:
        config: the round.
        included: ids of the clients whose updates are in the sum (the survivors, U3).
        vectors: the opened vectors as the protocol gave them, uint64 by name, each below its modulus.
        sum: the decoded sum of (weighted) updates, float64 of shape (dim,).
    """

    config: RoundConfig
    included: tuple[int, ...]
    vectors: dict[str, NDArray[np.uint64]]
    sum: NDArray[np.float64]

    @property
    def integers(self) -> NDArray[np.int64]:
        """The sum of the grid integers, int64 of shape (encoded_dim,)."""
        return self.config.lanes.unpack(self.vectors[UPDATE])

    @property
    def total_weight(self) -> int:
        """The sum of the weights of the included; their number in an unweighted round."""
        return len(self.included) if self.config.weighting is None else int(self.vectors[WEIGHT][0])

    @property
    def mean(self) -> NDArray[np.float64]:
        """The decoded (weighted) mean, float64 of shape (dim,)."""
        return self.sum / self.total_weight

    @property
    def counters(self) -> dict[str, int]:
        """The exact sums of the round's counters, by name."""
        return dict(zip(self.config.counters, map(int, self.vectors.get(COUNTERS, ())), strict=True))

    @property
    def metrics(self) -> dict[str, float]:
        """The (weighted) means of the round's metrics, by name."""
        if not self.config.metrics:
            return {}
        return self.config.metric_grid.decode(self.vectors[METRICS], self.total_weight)

    @property
    def monitoring(self) -> Monitoring | None:
        """What the round tells about its quantization, if it monitors."""
        if not self.config.monitor:
            return None
        scale = 1 if self.config.weighting is None else self.config.weighting.max_weight
        square = float(np.dot(self.sum, self.sum)) / self.total_weight**2
        facts, count = self.config.codec.facts, len(self.included)
        return Monitoring.of(self.vectors[MONITOR], facts, count, square, scale / self.total_weight)

    @property
    def inside(self) -> int | None:
        """With an adaptive clip, how many of the included had a norm inside of it."""
        return None if self.config.adaptive_clip is None else int(self.vectors[INSIDE][0])


def open_sums(
    config: RoundConfig,
    sums: dict[str, NDArray[np.uint64]],
    included: tuple[int, ...],
    public: quant.PublicRandomness,
) -> Opened:
    """Decode the sums of a round, by vector name, each below its modulus.

    Raises:
        quant.InputError: every included weight is zero, so there is no mean; or sums that no such round has.
    """
    total = config.codec.decode_packed(sums[UPDATE], config.lanes, len(included), public=public, clients=included)
    if config.weighting is not None:
        config.weighting.check_total(int(sums[WEIGHT][0]))
        total *= config.weighting.max_weight
    return Opened(config, included, sums, total)
