"""Every scheme of ``quant`` at eight bits on the wire, set from a public sample alone, as the planner would."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import quant
from secagg.bench.distortion import CLIENTS, DIM, LAYER_SCALES

WIRE_BITS = 8
LAYERS = len(LAYER_SCALES)
GROUP = 64
"""Coordinates of one group (a channel, say) that structured pruning keeps or drops."""

WRAP_PROBABILITY = 1e-9
CLIP_ROOM = 1.25
"""The L2 clip of conditional rounding, in units of the largest norm of the sample: nothing is clipped."""


@dataclass(frozen=True)
class Ground:
    """What is known before the round: a public sample, and what the planner makes of it.

    Attributes:
        sample: one update per site, shape (DIM,) each.
    """

    sample: Sequence[NDArray[np.float64]]

    @cached_property
    def known(self) -> quant.Updates:
        """The sample in the planner's numbers."""
        return quant.Updates.sampled(self.sample)

    @cached_property
    def aggregate(self) -> NDArray[np.float64]:
        """The sample's mean: what an earlier round would have published."""
        return np.asarray(np.mean(self.sample, axis=0))

    @cached_property
    def _alternatives(self) -> tuple[quant.Setting, ...]:
        return quant.plan(CLIENTS, self.known, width=WIRE_BITS).alternatives

    def grid(self, rounding: quant.Rounding, *, rotation: bool) -> quant.UniformGrid:
        """Give the grid that the planner found best for this combination."""
        pairs = ((s.rounding, s.rotation) == (rounding, rotation) for s in self._alternatives)
        setting = next(s for s, fits in zip(self._alternatives, pairs, strict=True) if fits)
        return quant.UniformGrid(setting.levels, setting.range, rounding, 16)


Build = Callable[[Ground, int], quant.Chain]
"""Makes the codec for vectors of ``dim`` coordinates, a multiple of DIM, that repeat the pattern of the sample."""


def _plain(rounding: quant.Rounding) -> Build:
    return lambda ground, dim: quant.chain(ground.grid(rounding, rotation=False), dim=dim)


def _rotated(rounding: quant.Rounding) -> Build:
    return lambda ground, dim: quant.chain(quant.HadamardRotation(), ground.grid(rounding, rotation=True), dim=dim)


def _conditional(ground: Ground, dim: int) -> quant.Chain:
    grid = ground.grid("stochastic", rotation=True)
    odd = quant.UniformGrid((grid.levels - 1) | 1, grid.bound, "conditional", 16)
    norm = max(quant.l2_norm(x) for x in ground.sample) * math.sqrt(dim / DIM)
    return quant.chain(quant.ClipL2(CLIP_ROOM * norm), quant.HadamardRotation(), odd, dim=dim)


def _random_k(ground: Ground, dim: int) -> quant.Chain:
    return quant.chain(quant.SharedRandomK(dim // 2), ground.grid("dither", rotation=False), dim=dim)


def _srht(ground: Ground, dim: int) -> quant.Chain:
    grid = ground.grid("dither", rotation=True)
    return quant.chain(quant.HadamardRotation(), quant.SharedRandomK(dim // 2), grid, dim=dim)


def _top_k(ground: Ground, dim: int) -> quant.Chain:
    kept = quant.server_top_k(_stretched(ground.aggregate, dim), dim // 2)
    return quant.chain(kept, ground.grid("dither", rotation=False), dim=dim)


def _pruned(ground: Ground, dim: int) -> quant.Chain:
    kept = quant.top_groups(_stretched(ground.aggregate, dim), [GROUP] * (dim // GROUP), dim // GROUP // 2)
    return quant.chain(kept, ground.grid("dither", rotation=False), dim=dim)


def _stretched(x: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """Make every coordinate ``dim / DIM`` coordinates, so that layers stay layers."""
    return np.repeat(x, dim // DIM)


def _layer_scales(ground: Ground, dim: int) -> quant.Chain:
    parts = [np.stack(ground.sample)[:, run] for run in _layer_runs()]
    scales = [math.sqrt(float(np.mean(part**2))) for part in parts]
    scaled = np.concatenate([part / scale for part, scale in zip(parts, scales, strict=True)], axis=1)
    grid = Ground(list(scaled)).grid("dither", rotation=False)
    return quant.chain(quant.LayerScales((dim // LAYERS,) * LAYERS, tuple(scales)), grid, dim=dim)


def _layered(ground: Ground, dim: int) -> quant.Chain:
    parts = [np.stack(ground.sample)[:, run] for run in _layer_runs()]
    ranges = [math.sqrt(float(np.mean(part**2))) for part in parts]
    least = CLIENTS.bit_length()
    lengths = (dim // LAYERS,) * LAYERS
    widths = [least + more for more in quant.bits_by_range(lengths, ranges, WIRE_BITS - least)]
    grids = []
    for part, width in zip(parts, widths, strict=True):
        found = quant.plan(CLIENTS, quant.Updates.sampled(list(part)), width=width).alternatives
        setting = next(s for s in found if s.rounding == "dither" and not s.rotation)
        grids.append(quant.UniformGrid(setting.levels, setting.range, "dither", 16))
    return quant.chain(quant.LayeredGrid(lengths, tuple(grids)), dim=dim)


def _layer_runs() -> list[slice]:
    return [slice(start, start + DIM // LAYERS) for start in range(0, DIM, DIM // LAYERS)]


def _modular(ground: Ground, dim: int) -> quant.Chain:
    deviation = ground.known.norm / math.sqrt(DIM)
    step = quant.modular_step(WIRE_BITS, CLIENTS * deviation, WRAP_PROBABILITY)
    return quant.chain(quant.HadamardRotation(), quant.ModularGrid(WIRE_BITS, step, "dither"), dim=dim)


def _lossless(ground: Ground, dim: int) -> quant.Chain:
    return quant.chain(quant.LosslessGrid.float16(), dim=dim)


FLOAT16 = "lossless, float16 updates"

SCHEMES: dict[str, Build] = {
    "nearest": _plain("nearest"),
    "stochastic": _plain("stochastic"),
    "dither": _plain("dither"),
    "rotation + nearest": _rotated("nearest"),
    "rotation + stochastic": _rotated("stochastic"),
    "rotation + conditional": _conditional,
    "rotation + dither": _rotated("dither"),
    "random half (random_k)": _random_k,
    "rotation + random half (SRHT)": _srht,
    "server's top half (keep)": _top_k,
    "top half of the groups (keep)": _pruned,
    "layer_scales + dither": _layer_scales,
    "a grid per layer (layer_levels)": _layered,
    "rotation + modular": _modular,
    FLOAT16: _lossless,
}
