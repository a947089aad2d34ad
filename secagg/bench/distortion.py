"""How far a decoded mean is from the true one: real packing, real AES-CTR streams, made-up updates.

NMSE = |mean error|^2 / mean |x|^2, averaged over rounds. Everything is derived from fixed keys, so that the figures
are the same on every machine (up to the last bits of its BLAS).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import quant
from protocols.primitives import bitpack
from protocols.primitives.prg import AesCtrStream
from protocols.suites import CLASSICAL
from quant.references import eden, qsgd
from secagg.public import JointRandomness

DIM, CLIENTS, REPEATS = 4096, 10, 60

LAYER_SCALES = (1.0, 0.3, 0.1, 0.03)
"""Standard deviations of the four equal layers of the data "layers"."""

Updates = NDArray[np.float64]
Generator = np.random.Generator


def lognormal(rng: Generator) -> Updates:
    """Heavy-tailed coordinates with a common mean: updates that agree by about a third."""
    return rng.lognormal(size=(CLIENTS, DIM))


def identical(rng: Generator) -> Updates:
    """All sites alike: errors that depend on the update do not average out at all."""
    return np.repeat(rng.lognormal(size=(1, DIM)), CLIENTS, axis=0)


def layers(rng: Generator) -> Updates:
    """Four layers of falling scale; half of each update is common, and the same few coordinates are always large."""
    profile = np.abs(np.random.default_rng(4).standard_t(3, DIM)) * np.repeat(LAYER_SCALES, DIM // len(LAYER_SCALES))
    common, own = rng.normal(size=(1, DIM)), rng.normal(size=(CLIENTS, DIM))
    return np.asarray((common + own) * profile / math.sqrt(2))


DATA: dict[str, Callable[[Generator], Updates]] = {"lognormal": lognormal, "identical": identical, "layers": layers}


def sample(data: str) -> list[NDArray[np.float64]]:
    """Give what a planner may see: a round of other draws than those that are measured."""
    return list(DATA[data](np.random.default_rng(987_654)))


def rounds(data: str, repeats: int) -> Iterator[tuple[int, Updates]]:
    """Give numbered rounds, the same ones to every scheme."""
    rng = np.random.default_rng(1)
    for repeat in range(repeats):
        yield repeat, DATA[data](rng)


def public_streams(*context: str | int) -> JointRandomness:
    """Give the public streams of one round, as the product derives them from a joint seed."""
    return JointRandomness(CLASSICAL, CLASSICAL.hash("bench seed", *context))


def private_stream(*context: str | int) -> AesCtrStream:
    """Give the private coins of one client."""
    return AesCtrStream(CLASSICAL.hash("bench coins", *context))


@dataclass(frozen=True)
class Distortion:
    """What was measured of one codec.

    Attributes:
        nmse: the mean over rounds.
        standard_error: of that mean.
        overflows: coordinates of unpacked totals that differ from the sum of the integers, or that wrapped.
        saturated: share of encoded coordinates beyond the range.
        packed_bytes: what one client sends, counted after packing.
    """

    nmse: float
    standard_error: float
    overflows: int
    saturated: float
    packed_bytes: int


def measure(
    codec: quant.Chain, data: str, repeats: int = REPEATS, dtype: type[np.float16 | np.float64] = np.float64
) -> Distortion:
    """Run ``repeats`` sums of all clients through encode, pack, add, unpack and decode.

    Args:
        codec: of dimension DIM.
        data: a name in DATA.
        repeats: number of rounds.
        dtype: the updates are rounded to it before anything is measured.
    """
    errors, overflows, saturated, sent = [], 0, 0, 0
    clients = range(1, CLIENTS + 1)
    for repeat, drawn in rounds(data, repeats):
        updates, public = drawn.astype(dtype), public_streams(data, repeat)
        total = np.zeros(codec.facts.encoded_dim, np.int64)
        packed = [np.zeros(lanes.lanes, np.uint64) for _, lanes in layouts(codec)]
        for client, x in zip(clients, updates, strict=True):
            integers = codec.encode(x, private_stream(repeat, client), public=public, client=client)
            saturated += codec.saturated(x, public=public)
            total += integers
            for summed, (run, lanes) in zip(packed, layouts(codec), strict=True):
                np.add(summed, lanes.pack(integers[run]), out=summed)
        opened = np.concatenate([lanes.unpack(lane) for lane, (_, lanes) in zip(packed, layouts(codec), strict=True)])
        who = clients if codec.public_labels else ()
        decoded = codec.decode(opened, CLIENTS, public=public, clients=who)
        if codec.facts.wraps:
            true = sum(codec.transform(x, public) for x in updates) - codec.transform(decoded, public)
            overflows += int(np.count_nonzero(np.abs(true) > codec.facts.levels / 2 * codec.facts.step))
        else:
            overflows += int(np.count_nonzero(opened != total))
        errors.append(relative(decoded / CLIENTS, updates.astype(np.float64)))
        if not repeat:
            pairs = zip(packed, layouts(codec), strict=True)
            sent = sum(len(bitpack.pack(lane, lanes.lane_bits)) for lane, (_, lanes) in pairs)
    share = saturated / (repeats * CLIENTS * codec.facts.encoded_dim)
    return Distortion(mean(errors), float(np.std(errors)) / math.sqrt(repeats), overflows, share, sent)


def layouts(codec: quant.Chain) -> list[tuple[slice, quant.LaneLayout]]:
    """Give the lanes of each masked vector: one per layer if the layers have grids of their own."""
    if not isinstance(codec.grid, quant.LayeredGrid):
        return [(slice(0, codec.facts.encoded_dim), codec.facts.lanes(CLIENTS))]
    stops = np.cumsum(codec.grid.lengths).tolist()
    starts = [0, *stops[:-1]]
    runs = [slice(start, stop) for start, stop in zip(starts, stops, strict=True)]
    return list(zip(runs, codec.grid.lanes(CLIENTS), strict=True))


def measure_eden(bits: int, data: str, repeats: int = REPEATS) -> float:
    """Give the NMSE of EDEN, every client with its own rotation. It cannot be summed."""
    return _of_estimates(data, repeats, lambda repeat, c, x: eden(x, bits, public_streams("eden", repeat, c)))


def measure_qsgd(bits: int, data: str, repeats: int = REPEATS) -> float:
    """Give the NMSE of QSGD with its scale per client. It cannot be summed."""

    def estimate(repeat: int, client: int, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return qsgd(x, bits, np.random.default_rng([repeat, client]).random(x.size))

    return _of_estimates(data, repeats, estimate)


def _of_estimates(
    data: str, repeats: int, estimate: Callable[[int, int, NDArray[np.float64]], NDArray[np.float64]]
) -> float:
    errors = []
    for repeat, updates in rounds(data, repeats):
        found = [estimate(repeat, client, x) for client, x in enumerate(updates)]
        errors.append(relative(np.mean(found, axis=0), updates))
    return mean(errors)


def relative(decoded: NDArray[np.float64], updates: Updates) -> float:
    """Give |decoded - mean|^2 / mean |x|^2."""
    return float(np.sum((decoded - updates.mean(axis=0)) ** 2) / np.mean(np.sum(updates**2, axis=1)))


def mean(values: list[float]) -> float:
    """Give the average, rounded once."""
    return math.fsum(values) / len(values)
