"""From an update to what a site masks: quantized, packed, and with it what travels beside it in the secure sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import quant
from protocols import Entropy
from protocols.primitives.prg import AesCtrStream
from secagg.config import COUNTERS, INSIDE, MAX_COUNT, METRICS, UPDATE, WEIGHT, RoundConfig
from secagg.errors import UsageError
from secagg.feedback import SiteResidual
from secagg.monitoring import MONITOR, observe


@dataclass(frozen=True)
class Contribution:
    """A quantized update that waits to be masked.

    Attributes:
        integers: the grid integers, int64 of shape (encoded_dim,).
        saturated: coordinates that lay beyond the grid's range.
        vectors: what the protocol masks: packed lanes; weight, clip bit and monitoring in rounds that have them.
        residual: with error feedback, what the site keeps for later.
        noised: whether the release was charged and its noise is in the integers: a private round takes no other.
    """

    integers: NDArray[np.int64]
    saturated: int
    vectors: dict[str, NDArray[np.uint64]]
    residual: SiteResidual | None = None
    noised: bool = False


def encode(
    config: RoundConfig,
    update: quant.Update,
    weight: int | None,
    entropy: Entropy,
    *,
    public: quant.PublicRandomness | None = None,
    client: int | None = None,
    residual: SiteResidual | None = None,
) -> Contribution:
    """Flatten, correct, clip, weigh, round and pack one update of the round's layout.

    The residual comes before the clip and the clip before the weight, so that the clip bounds what a site says of one
    example, whatever its weight and whatever it kept.

    Raises:
        quant.InputError: an update that is not finite or not of the layout, or a weight outside its bounds.
        secagg.UsageError: a weight in an unweighted round, or none in a weighted one.
    """
    if (weight is None) != (config.weighting is None):
        expected = "no weight (max_weight is not set)" if config.weighting is None else "a weight for every update"
        raise UsageError(f"this round takes {expected}")
    codec, facts = config.codec, config.codec.facts
    whole = config.layout.flatten(update)
    if residual is not None:
        whole = residual.add_to(whole)
    clipped = flat = codec.clip(whole)
    vectors: dict[str, NDArray[np.uint64]] = {}
    share = 1.0
    if config.weighting is not None and weight is not None:
        flat = config.weighting.apply(clipped, weight)
        share = weight / config.weighting.max_weight
        vectors[WEIGHT] = np.array([config.weighting.check(weight)], dtype=np.uint64)
    stream = AesCtrStream(entropy.take(32, "rounding"))
    integers = config.precision.encode(flat, stream, public=public, client=client)
    vectors[UPDATE] = config.lanes.pack(integers)
    if config.adaptive_clip is not None:
        vectors[INSIDE] = config.adaptive_clip.bit(whole).astype(np.uint64)
    saturated = codec.saturated(flat, public=public)
    if config.monitor or residual is not None:
        sent = codec.decode(integers, 1, public=public, clients=() if client is None else (client,))
        if config.monitor:
            cut = not np.array_equal(clipped, whole)
            vectors[MONITOR] = observe(facts, clipped=cut, saturated=saturated, error=sent - flat)
        residual = residual and residual.after(whole, sent, share)
    return Contribution(integers, saturated, vectors, residual)


def extras(
    config: RoundConfig, *, counters: Mapping[str, int], metrics: Mapping[str, float], weight: int | None
) -> dict[str, NDArray[np.uint64]]:
    """Give the vectors of the round's counters and metrics, where it has any.

    Raises:
        secagg.UsageError: other names than the round's, a counter that is not a whole number from 0 to ``MAX_COUNT``,
            or a metric that is not finite.
    """
    counted = count(config, counters)
    measured = config.metric_grid.encode(metrics, 1 if weight is None else weight)
    return {name: vector for name, vector in ((COUNTERS, counted), (METRICS, measured)) if vector.size}


def count(config: RoundConfig, counters: Mapping[str, int]) -> NDArray[np.uint64]:
    """Put the round's counters in order: uint64 of shape (counters,).

    Raises:
        secagg.UsageError: other names than the round's, or a value that is not a whole number from 0 to ``MAX_COUNT``.
    """
    if set(counters) != set(config.counters):
        raise UsageError(f"this round counts {list(config.counters)}, not {list(counters)}")
    for name, value in counters.items():
        if type(value) is not int or not 0 <= value <= MAX_COUNT:
            raise UsageError(f"counter {name!r} is a whole number from 0 to {MAX_COUNT}, not {value!r}")
    return np.array([counters[name] for name in config.counters], dtype=np.uint64)
