"""From the opened vectors of a round to floats, and to what travelled beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import quant
from protocols import Secret
from secagg.config import COUNTERS, INSIDE, METRICS, UPDATE, WEIGHT, RoundConfig
from secagg.errors import UsageError
from secagg.monitoring import MONITOR, Monitoring
from secagg.privacy import NoiseLevel, Unit
from secagg.privacy.site import draw_excess


@dataclass(frozen=True)
class Opened:
    """The opened sum of a round. Large vectors are made when asked for, anew each time.

    Attributes:
        config: the round.
        included: ids of the clients whose updates are in the sum (the survivors, U3).
        vectors: the opened vectors as the protocol gave them, uint64 by name, each below its modulus.
        sum: the decoded sum of (weighted) updates, float64 of shape (dim,); in a private round with its noise.
        excess: in a private round, the noise that was removed again, int64 of shape (encoded_dim,); ``None`` if none.
    """

    config: RoundConfig
    included: tuple[int, ...]
    vectors: dict[str, NDArray[np.uint64]]
    sum: NDArray[np.float64]
    excess: NDArray[np.int64] | None = None

    @property
    def integers(self) -> NDArray[np.int64]:
        """The sum of the grid integers, int64 of shape (encoded_dim,); in a private round with its noise."""
        lanes = _released(self.config, self.vectors[UPDATE], self.excess)
        return self.config.lanes.unpack(lanes, -self.config.noise_reach)

    @property
    def noise(self) -> NoiseLevel | None:
        """How much noise is in the sum, and how much of it protects; ``None`` if the round is not private."""
        privacy, clients = self.config.privacy, len(self.config.clients)
        if privacy is None:
            return None
        return privacy.expected_noise(len(self.included), clients, self.config.codec.facts.step)

    @property
    def total_weight(self) -> int:
        """The sum of the weights of the included; their number in an unweighted round."""
        return len(self.included) if self.config.weighting is None else int(self.vectors[WEIGHT][0])

    @property
    def mean(self) -> NDArray[np.float64]:
        """The decoded (weighted) mean, float64 of shape (dim,): per unit of weight, per site in an unweighted round.

        Raises:
            UsageError: unit patient, where the number of patients is nobody's to know; divide ``sum`` by a public
                number.
        """
        if self.config.privacy is not None and self.config.privacy.unit is Unit.PATIENT:
            raise UsageError(
                "how many patients are in the sum is private, so there is no mean: divide sum by a public number, "
                "or count patients by a coordinate of their vectors"
            )
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
    revealed: Mapping[int, Sequence[Secret]] | None = None,
) -> Opened:
    """Decode the sums of a round, by vector name, each below its modulus.

    Args:
        config: the round.
        sums: by vector name, each below its modulus.
        included: the survivors.
        public: the round's joint randomness.
        revealed: in a private round with removable noise, survivor -> seeds of its components D + 1 .. K.

    Raises:
        quant.InputError: every included weight is zero, so there is no mean; or sums that no such round has.
    """
    excess = None
    if config.privacy is not None and config.params.noise_components and revealed:
        sharing = config.privacy.sharing(len(config.clients))
        excess = draw_excess(sharing, config.codec.facts.encoded_dim, revealed)
    total = config.codec.decode_packed(
        _released(config, sums[UPDATE], excess),
        config.lanes,
        len(included),
        public=public,
        clients=included,
        noise=config.noise_reach,
    )
    if config.weighting is not None:
        config.weighting.check_total(int(sums[WEIGHT][0]))
        total *= config.weighting.max_weight
    return Opened(config, included, sums, total, excess)


def _released(config: RoundConfig, lanes: NDArray[np.uint64], excess: NDArray[np.int64] | None) -> NDArray[np.uint64]:
    """Subtract excess noise from summed lanes, in their own ring: before that, totals may wrap."""
    if excess is None:
        return lanes
    return (lanes - config.lanes.fold(excess)) & np.uint64(2**config.lanes.lane_bits - 1)
