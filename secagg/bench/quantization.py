"""``secagg bench quant``: the error of a mean, by scheme, data and bits on the wire, and what a scheme costs."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np

import quant
from secagg.bench import distortion, joint_seed
from secagg.bench.distortion import CLIENTS, DATA, DIM, REPEATS
from secagg.bench.measure import Effort, Row, median_seconds
from secagg.bench.schemes import FLOAT16, SCHEMES, WIRE_BITS, Ground

TABLE_DATA = ("lognormal", "identical")
WIDTHS = range(4, 13)
EDEN_BITS = range(1, 5)
FIXED_SIGMAS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)
FIXED_REPEATS = 12
LONG = 245 * DIM
"""About a million coordinates, to time encoding."""


def bench(effort: Effort) -> list[Row]:
    """Rows with ``scheme, data, wire_bits, clients, dim, nmse, overflows``, in three parts.

    First rotation with dither and with stochastic rounding, as the planner sets them, at 4 to 12 bits, beside EDEN;
    ``over_best_fixed`` is the planner's error over the least of 54 fixed settings (9 ranges x 3 roundings x rotation or
    not) in the same rounds, less 1. Then every scheme at 8 bits, with ``packed_bytes`` and ``encode_seconds`` of a
    million float32, the public streams that it draws on (``shared_state``) and what the joint seed behind them costs
    each client (``extra_phases, extra_uplink_bytes, extra_downlink_bytes, extra_seconds``, measured on small rounds).
    Then references that cannot be summed.
    """
    widths = (6, 8) if effort.quick else WIDTHS
    rows = [row for data in TABLE_DATA for width in widths for row in _planned(data, width, effort)]
    rows += [row for data in TABLE_DATA for row in _eden(data, effort)]
    grounds = {data: Ground(distortion.sample(data)) for data in DATA}
    effort.tick("the joint seed")
    seed = joint_seed.measure(CLIENTS, effort.repeats(9))
    for scheme in SCHEMES:
        effort.tick(f"{scheme}: seconds")
        seconds = _encode_seconds(scheme, grounds["lognormal"], effort)
        for data in DATA:
            effort.tick(f"{scheme}: {data}")
            row = _scheme(scheme, data, grounds[data], effort) | {"encode_seconds": seconds}
            rows.append(row | _shared(SCHEMES[scheme](grounds[data], DIM), seed))
    return rows


def _row(scheme: str, data: str, wire_bits: int, found: distortion.Distortion) -> Row:
    return {
        "scheme": scheme,
        "data": data,
        "wire_bits": wire_bits,
        "clients": CLIENTS,
        "dim": DIM,
        "nmse": found.nmse,
        "overflows": found.overflows,
        "saturated": found.saturated,
        "packed_bytes": found.packed_bytes,
    }


def _planned(data: str, width: int, effort: Effort) -> list[Row]:
    """Measure the planner's two rotated settings, and its choice against all fixed ones."""
    effort.tick(f"{data}, {width} bits")
    known = quant.Updates.sampled(distortion.sample(data))
    found = quant.plan(CLIENTS, known, width=width)
    shown = [s for s in found.alternatives if s.rotation and s.rounding in ("dither", "stochastic")]
    rows = []
    for setting in dict.fromkeys([found.best, *shown]):
        codec = quant.from_config(setting.config(), DIM)
        measured = distortion.measure(codec, data, effort.rounds(REPEATS))
        row = _row(f"planned {_name(setting)}", data, width, measured) | {"predicted": setting.error}
        rows.append(row | (_against_fixed(setting, known, data, effort) if setting == found.best else {}))
    return rows


def _name(setting: quant.Setting) -> str:
    return f"rotation + {setting.rounding}" if setting.rotation else setting.rounding


def _against_fixed(chosen: quant.Setting, known: quant.Updates, data: str, effort: Effort) -> Row:
    """Compare with every fixed setting of the same field, in the same rounds and with the same streams."""
    repeats = effort.rounds(FIXED_REPEATS)
    ours = distortion.measure(quant.from_config(chosen.config(), DIM), data, repeats).nmse
    deviation = known.norm / math.sqrt(DIM)
    best, name = math.inf, ""
    for sigmas in FIXED_SIGMAS[1:6:2] if effort.quick else FIXED_SIGMAS:
        effort.tick(f"{data}, {chosen.width} bits, fixed ranges of {sigmas} deviations")
        for rounding in ("dither", "stochastic", "nearest"):
            for rotation in (True, False):
                keys = {"levels": chosen.levels, "range": sigmas * deviation}
                codec = quant.from_config(keys | {"rounding": rounding, "rotation": rotation}, DIM)
                error = distortion.measure(codec, data, repeats).nmse
                if error < best:
                    best, name = error, f"{'rotation + ' if rotation else ''}{rounding}, {sigmas} sigma"
    return {"best_fixed": name, "over_best_fixed": ours / best - 1}


def _eden(data: str, effort: Effort) -> list[Row]:
    rows = []
    for bits in (1, 4) if effort.quick else EDEN_BITS:
        effort.tick(f"{data}, EDEN at {bits} bits")
        rows.append(_reference("EDEN", data, bits, distortion.measure_eden(bits, data, effort.rounds(REPEATS))))
    qsgd = distortion.measure_qsgd(WIRE_BITS // 2, data, effort.rounds(REPEATS))
    return [*rows, _reference("QSGD", data, WIRE_BITS // 2, qsgd)]


def _reference(scheme: str, data: str, bits: int, nmse: float) -> Row:
    """Give a row of what cannot be summed: there is no sum that could overflow."""
    sent = math.ceil(DIM * bits / 8) + 4  # and a float32 scale in the clear
    bare = distortion.Distortion(nmse, 0.0, 0, 0.0, sent)
    return _row(f"{scheme} (not summable)", data, bits, bare) | {"saturated": None}


def _scheme(scheme: str, data: str, ground: Ground, effort: Effort) -> Row:
    codec = SCHEMES[scheme](ground, DIM)
    dtype = np.float16 if scheme == FLOAT16 else np.float64
    found = distortion.measure(codec, data, effort.rounds(REPEATS // 3), dtype)
    width = codec.facts.field_width(CLIENTS) if scheme == FLOAT16 else WIRE_BITS
    return _row(scheme, data, width, found)


def _shared(codec: quant.Chain, seed: joint_seed.SeedCost) -> Row:
    """Give what sites and server must share besides the configuration, and its cost: nothing where nothing is drawn."""
    cost = seed if codec.public_labels else joint_seed.SeedCost(0, 0, 0, 0.0)
    return {"shared_state": list(codec.public_labels)} | {f"extra_{key}": value for key, value in asdict(cost).items()}


def _encode_seconds(scheme: str, ground: Ground, effort: Effort) -> float:
    """Time one packed encoding of about a million coordinates."""
    dim = DIM * 4 if effort.quick else LONG
    codec = SCHEMES[scheme](ground, dim)
    short = ground.sample[0].astype(np.float16 if scheme == FLOAT16 else np.float32)
    x = np.repeat(short, dim // DIM).astype(np.float32)
    parts = distortion.layouts(codec)
    public = distortion.public_streams("seconds")

    def encode() -> None:
        private = distortion.private_stream("seconds")
        if len(parts) == 1:
            codec.encode_packed(x, parts[0][1], private, public=public, client=1)
            return
        integers = codec.encode(x, private, public=public, client=1)
        for run, lanes in parts:
            lanes.pack(integers[run])

    encode()
    return median_seconds(encode, effort.repeats(5))
