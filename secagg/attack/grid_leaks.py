"""What quantization itself gives away: saturation, widths, sparsity patterns, dither that comes twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import quant
from protocols.primitives.prg import AesCtrStream
from protocols.suites import CLASSICAL
from secagg.attack.outcomes import Outcome, Result
from secagg.attack.setting import Setting
from secagg.public import JointRandomness

NOISE = "a noise_multiplier, or a range that no update reaches"


def run_all(setting: Setting) -> Iterator[Result]:
    """Attack the grid."""
    yield saturation(setting)
    yield bit_width(setting)
    yield sparsity_pattern(setting)
    yield dither(setting)


def saturation(setting: Setting) -> Result:
    """A sum at the edge of the grid tells that *every* site is at the edge there.

    A common feature drives one coordinate far out at all sites. Rotation spreads it, noise moves the sum.
    """
    name = "saturation: sums at the edge of the grid"
    codec = quant.from_config(setting.quantization, setting.dim)
    if codec.public_labels:
        return Result(0, name, Outcome.STOPPED, "rotation or dither with a seed that nobody chose spreads the edge")
    rng = np.random.default_rng()
    update = rng.standard_normal(setting.dim) * 1e-3
    update[0] = 1e6
    stream = AesCtrStream(CLASSICAL.hash("rehearsal", rng.bytes(32)))
    total = np.zeros(codec.facts.encoded_dim, dtype=np.int64)
    largest = 0
    for _ in range(setting.least):
        integers = codec.encode(codec.clip(update), stream)
        largest = max(largest, int(integers.max()))
        total += integers
    lone = codec.encode(np.zeros(setting.dim), stream)
    at_edge = int(total[0]) == setting.least * largest and largest > int(lone.max())
    if at_edge and not setting.noise_multiplier:
        return Result(0, name, Outcome.POSSIBLE, f"one sum of {setting.least} sites tells of each of them", NOISE)
    return Result(0, name, Outcome.STOPPED, "no coordinate reaches the edge of the grid, or noise moves the sum")


def bit_width(setting: Setting) -> Result:
    """Widths per site tell devices apart. Two sites' updates of different sizes must look alike on the wire."""
    name = "bit width per site"
    codec = quant.from_config(setting.quantization, setting.dim)
    lanes = codec.facts.lanes(setting.clients)
    return Result(0, name, Outcome.STOPPED, f"one grid for all: {lanes.width} bits a coordinate, bound into the task")


def sparsity_pattern(setting: Setting) -> Result:
    """A top-k of one's own tells which coordinates (words, codes) one has; it also does not add up."""
    name = "sparsity pattern per site"
    for scheme in ("top_k", "topk", "top-k"):
        try:
            quant.from_config({**setting.quantization, "scheme": scheme}, setting.dim)
        except quant.QuantError:
            continue
        return Result(0, name, Outcome.POSSIBLE, f"scheme {scheme!r} is accepted", "keep or random_k, the same for all")
    return Result(0, name, Outcome.STOPPED, "quant refuses patterns of one's own; keep and random_k are common to all")


def dither(setting: Setting) -> Result:
    """Dither that comes twice: equal updates give equal integers, so the difference of two rounds is exact."""
    name = "dither used twice"
    codec = quant.from_config(setting.quantization, setting.dim)
    if setting.quantization.get("rounding") != "dither":
        return Result(0, name, Outcome.NOT_APPLICABLE, "rounding draws its coins from the site's own generator")
    seeds = [CLASSICAL.hash("joint-seed", bytes([number]) * 32, ()) for number in range(2)]
    first, second = (JointRandomness(CLASSICAL, seed) for seed in seeds)
    if tell_equal_updates(codec, first, second):
        return Result(0, name, Outcome.POSSIBLE, "two rounds draw the same dither", "report this: it is a bug")
    return Result(0, name, Outcome.STOPPED, "dither follows from the joint seed of the session: never twice the same")


def tell_equal_updates(codec: quant.UpdateCodec, first: JointRandomness, second: JointRandomness) -> bool:
    """Attack: does one site send the same update in two rounds? With the same dither its integers say so exactly."""
    stream = AesCtrStream(CLASSICAL.hash("rehearsal", b"coins"))
    update = np.random.default_rng(1).standard_normal(codec.facts.dim) * codec.facts.linf_bound / 4
    clipped = codec.clip(update)
    once, again = (codec.encode(clipped, stream, public=public, client=1) for public in (first, second))
    return bool(np.array_equal(once, again))
