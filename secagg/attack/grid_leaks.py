"""What quantization itself gives away: saturation, widths, sparsity patterns, dither that comes twice."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import quant
from protocols.primitives import bitpack
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
    rng = np.random.default_rng()
    update = rng.standard_normal(setting.dim) * 1e-3
    update[0] = 1e6
    stream = AesCtrStream(CLASSICAL.hash("rehearsal", rng.bytes(32)))
    public = JointRandomness(CLASSICAL, rng.bytes(32)) if codec.public_labels else None
    total = sum(
        (codec.encode(codec.clip(update), stream, public=public, client=client) for client in range(setting.least)),
        np.zeros(codec.facts.encoded_dim, dtype=np.int64),
    )
    at_edge = bool((total == setting.least * codec.facts.upper).any())
    if at_edge and not setting.noise_multiplier:
        return Result(0, name, Outcome.POSSIBLE, f"one sum of {setting.least} sites tells of each of them", NOISE)
    return Result(0, name, Outcome.STOPPED, "no coordinate reaches the edge of the grid, or noise moves the sum")


def bit_width(setting: Setting) -> Result:
    """Widths per site tell sites apart: the server guesses from the length of a message whose update is the large one.

    A site with few patients has larger updates. With ``own_grid`` each site takes the bits that its own update needs,
    at the common step (as quantizers do that follow the range of their input).
    """
    name = "bit width per site"
    facts = quant.from_config(setting.quantization, setting.dim).facts
    direction = np.random.default_rng().standard_normal(setting.dim)
    direction *= (facts.l2_bound or facts.linf_bound) / np.linalg.norm(direction)
    lengths = [_message_length(setting, direction * size) for size in (0.01, 1.0)]
    if lengths[0] != lengths[1]:
        by = f"{lengths[0]:,} and {lengths[1]:,} bytes: the length tells which site has the larger update"
        return Result(0, name, Outcome.POSSIBLE, by, "own_grid = false: one grid for all, bound into the task")
    return Result(0, name, Outcome.STOPPED, f"one grid for all: {lengths[0]:,} bytes whatever the update")


def _message_length(setting: Setting, update: NDArray[np.float64]) -> int:
    codec = quant.from_config(setting.quantization, setting.dim)
    if setting.own_grid:
        step, reach = codec.facts.step, float(np.abs(codec.clip(update)).max())
        bits = max(math.ceil(math.log2(2 * reach / step + 1)), 1)
        codec = quant.from_config({"bits": bits, "range": step * (2**bits - 1) / 2}, setting.dim)
    public = JointRandomness(CLASSICAL, bytes(32)) if codec.public_labels else None
    lanes = codec.facts.lanes(setting.clients)
    stream = AesCtrStream(CLASSICAL.hash("rehearsal", b"coins"))
    packed = codec.encode_packed(update, lanes, stream, public=public, client=1)
    return len(bitpack.pack(packed, lanes.lane_bits))


def sparsity_pattern(setting: Setting) -> Result:
    """A top-k of one's own tells which coordinates (words, codes) one has: who treats a rare disease?

    Every site has codes of its own speciality; the server knows the victim's and looks for it among the sites. With
    ``own_pattern`` sites send their k largest coordinates and where they are, as top-k does.
    """
    name = "sparsity pattern per site"
    sites, rng = setting.least, np.random.default_rng()
    per_site = max(setting.dim // (2 * sites), 1)
    codes = rng.permutation(setting.dim)[: sites * per_site].reshape(sites, per_site)
    victim = int(rng.integers(sites))
    overlaps = []
    for site in range(sites):
        update = rng.standard_normal(setting.dim) * 1e-3
        update[codes[site]] += 0.1
        overlaps.append(len(set(_sent_places(setting, update, per_site)) & set(codes[victim].tolist())))
    if overlaps.count(max(overlaps)) == 1 and overlaps.index(max(overlaps)) == victim:
        by = f"one of {sites} sites is recognized by {max(overlaps)} of its {per_site} codes"
        return Result(0, name, Outcome.POSSIBLE, by, "keep or random_k: a pattern that is the same for all")
    return Result(0, name, Outcome.STOPPED, "the pattern is the same for all; quant refuses one's own")


def _sent_places(setting: Setting, update: NDArray[np.float64], count: int) -> list[int]:
    """Coordinates that a site sends, as the server sees them."""
    if setting.own_pattern or _takes_top_k(setting):
        return [int(place) for place in np.argsort(-np.abs(update))[:count]]
    return list(range(quant.from_config(setting.quantization, setting.dim).facts.encoded_dim))


def _takes_top_k(setting: Setting) -> bool:
    for scheme in ("top_k", "topk", "top-k"):
        try:
            quant.from_config({**setting.quantization, "scheme": scheme}, setting.dim)
        except quant.QuantError:
            continue
        return True
    return False


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
