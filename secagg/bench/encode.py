"""A million coordinates put on the grid: clipped, rounded by a cipher's coins and packed, against Flower's quantize.

Flower's function clips coordinates and rounds with numpy's generator; it neither bounds a norm nor packs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quant
from secagg.bench import distortion
from secagg.bench.measure import Effort, Row, median_seconds, paired

CLIENTS = 10
FLOWER_CLIP, FLOWER_LEVELS = 8.0, 1 << 22
"""The defaults of Flower's SecAgg+ workflow."""

DEVIATION = 1e-3

CASES: dict[str, tuple[dict[str, object], float]] = {
    "L2 clip, stochastic, pack": ({"bits": 8, "range": 4 * DEVIATION, "coin_bits": 16}, 0.5),
    "L2 clip (inside), stochastic, pack": ({"bits": 8, "range": 4 * DEVIATION, "coin_bits": 16}, 2.0),
    "L2 clip, stochastic with 32-bit coins, pack": ({"bits": 8, "range": 4 * DEVIATION}, 0.5),
    "L2 clip, rotation, dither, pack": ({"levels": 26, "rotation": True, "rounding": "dither"}, 0.5),
    "L2 clip, rotation, stochastic, pack": ({"levels": 26, "rotation": True, "coin_bits": 16}, 0.5),
}
"""Settings, and the L2 clip as a part of the vector's norm."""


def bench(effort: Effort) -> list[Row]:
    """Rows with ``case, dim, seconds, peer, peer_seconds, ratio``; all on one core, peer and ours in turn."""
    dim = 50_000 if effort.quick else 1_000_000
    x = np.random.default_rng(0).normal(scale=DEVIATION, size=dim).astype(np.float32)
    norm = quant.l2_norm(x)
    peer = _flower(x)
    rows = []
    with one_core():
        for case, (settings, share) in CASES.items():
            effort.tick(case)
            work = _encoder(quant.from_config(settings | {"clip": share * norm}, dim), x)
            work()
            row: Row = {"case": case, "dim": dim, "peer": "flwr quantize"}
            if peer is None:
                seconds = median_seconds(work, effort.repeats(31))
                rows.append(row | {"seconds": seconds, "peer_seconds": None, "ratio": None, "missing": "no flwr here"})
            else:
                ours, theirs, ratio = paired(work, peer, effort.repeats(31))
                rows.append(row | {"seconds": ours, "peer_seconds": theirs, "ratio": ratio})
    return rows


def _encoder(codec: quant.Chain, x: NDArray[np.float32]) -> Callable[[], object]:
    lanes, public = codec.facts.lanes(CLIENTS), distortion.public_streams("encode")
    return lambda: codec.encode_packed(x, lanes, distortion.private_stream("encode"), public=public, client=1)


def _flower(x: NDArray[np.float32]) -> Callable[[], object] | None:
    try:
        from flwr.common.secure_aggregation.quantization import quantize
    except ImportError:
        return None
    floats: list[NDArray[Any]] = [x]
    return lambda: quantize(floats, FLOWER_CLIP, FLOWER_LEVELS)


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process on one core, where the system offers that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
