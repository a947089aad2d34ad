"""Exact integer noise: draws a second of one core, against the cipher alone and against OpenDP's exact sampler.

Time is processor time of this process, which works on one core only: other work on the machine disturbs it least.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from protocols import SystemEntropy
from protocols.primitives import prg
from quant.noise import DiscreteGaussian, Family, Sampler, Skellam, draw_discrete_gaussian
from secagg.bench.measure import Effort, Row

SIGMAS = (1, 3, 10, 100, 1000)
FAMILIES: dict[str, Family] = {
    "skellam": Skellam,
    "discrete gaussian": DiscreteGaussian,
}
PEER = "opendp make_gaussian"


def bench(effort: Effort) -> list[Row]:
    """Rows with ``law, sigma, draws_per_second, peer, peer_draws_per_second, ratio, limit_draws_per_second, fraction``.

    The limit is AES-256-CTR alone over the bytes that the draws read; ``build_seconds`` is spent once for each law. The
    peer, exact as well, draws discrete Gaussians of the same sigma (it has no Skellam). Last comes the slow reference.
    """
    count = 1 << 16 if effort.quick else 1 << 22
    sigmas = SIGMAS[:2] if effort.quick else SIGMAS
    peers = {sigma: _peer(sigma, effort) for sigma in sigmas}
    rows = [_row(law, sigma, count, peers[sigma], effort) for law in FAMILIES for sigma in sigmas]
    return [*rows, _reference(effort)]


class _Counted:
    """AES-CTR that counts the bytes read."""

    def __init__(self) -> None:
        self.stream, self.read = prg.AesCtrStream(SystemEntropy().take(prg.KEY_BYTES, "bench")), 0

    def fill(self, out: NDArray[np.uint8]) -> None:
        self.read += out.size
        self.stream.fill(out)


def _row(law: str, sigma: int, count: int, peer: Row, effort: Effort) -> Row:
    effort.tick(f"{law}, sigma {sigma}")
    samplers: list[Sampler] = []
    built = _processor_seconds(lambda: samplers.append(Sampler(FAMILIES[law](Fraction(sigma**2)))))
    stream = _Counted()
    samplers[0].draw(count, stream)
    size, repeats = stream.read, effort.repeats(9)
    _cipher_alone(size)
    ours = statistics.median(_processor_seconds(lambda: samplers[0].draw(count, stream)) for _ in range(repeats))
    limit = statistics.median(_processor_seconds(lambda: _cipher_alone(size)) for _ in range(repeats))
    rate, theirs = count / ours, peer["peer_draws_per_second"]
    row: Row = {"law": law, "sigma": sigma, "draws_per_second": rate, **peer, "ratio": theirs and rate / theirs}
    return row | {"limit_draws_per_second": count / limit, "fraction": limit / ours, "build_seconds": built}


def _reference(effort: Effort) -> Row:
    sigma, count = 10, 200 if effort.quick else 5000
    effort.tick("rational arithmetic")
    stream = prg.AesCtrStream(SystemEntropy().take(prg.KEY_BYTES, "bench"))
    spent = _processor_seconds(lambda: draw_discrete_gaussian(Fraction(sigma**2), count, stream))
    row: Row = {"law": "discrete gaussian, rational arithmetic", "sigma": sigma, "draws_per_second": count / spent}
    return row | {"peer": None, "peer_draws_per_second": None}


def _peer(sigma: int, effort: Effort) -> Row:
    row: Row = {"peer": PEER, "peer_draws_per_second": None}
    try:
        import opendp.prelude as dp
    except ImportError:
        return row | {"missing": "opendp is not installed"}
    effort.tick(f"{PEER}, sigma {sigma}")
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    mechanism = dp.m.make_gaussian(*space, scale=float(sigma))
    zeros = [0] * (500 if effort.quick else 20_000)
    spent = statistics.median(_processor_seconds(lambda: mechanism(zeros)) for _ in range(effort.repeats(3)))
    return row | {"peer_draws_per_second": len(zeros) / spent}


def _cipher_alone(size: int) -> None:
    """Run AES-256-CTR over ``size`` bytes in the pieces that it likes best."""
    context, zeros, out = prg.encryptor(bytes(prg.KEY_BYTES)), bytes(1 << 20), bytearray((1 << 20) + 16)
    for _ in range(size >> 20):
        context.update_into(zeros, out)
    context.update_into(zeros[: size % (1 << 20)], out)


def _processor_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
