"""What a round costs as it grows: bytes up, and the server's work over the masks that it expands."""

from __future__ import annotations

import random
import statistics
import time

from protocols import Secret, SystemEntropy
from protocols.pairwise import VectorSpec, finder, masking, server
from protocols.primitives import prg, shamir
from protocols.suites import CLASSICAL
from secagg.bench.measure import Effort, Row
from secagg.simulate.run import Simulation, simulate

LONG = 1_000_000
"""Rounds of updates as long as this are timed once."""


def bench(effort: Effort) -> list[Row]:
    """Rows of uplink (``bytes, limit_bytes, ratio``), of growth with clients and of growth with length.

    With clients: ``clients, seconds, masks, ns_per_byte``; with length: ``dim, client_seconds, server_seconds``.
    """
    sizes = (100, 1000) if effort.quick else (100, 300, 1000, 3000, 10_000)
    lengths = (1000, 10_000) if effort.quick else (1000, 10_000, 100_000, 1_000_000, 10_000_000)
    growth = [*(_growth(clients, effort) for clients in sizes), *(_longer(dim, effort) for dim in lengths)]
    return [_uplink(effort), *growth]


def _uplink(effort: Effort) -> Row:
    effort.tick("everything that one of 100 clients sends")
    dim = 100_000 if effort.quick else 1_000_000
    done = simulate(Simulation(clients=100, dim=dim, bits=8, dropout=0.05))
    sent = max(done.record.uplink_total(client) for client in done.opened.included)
    bare = dim * 15 / 8
    return {
        "case": f"uplink, 100 clients, dim {dim:,}, 8 bits",
        "bytes": sent,
        "limit_bytes": bare,
        "ratio": sent / bare,
    }


def _longer(dim: int, effort: Effort) -> Row:
    """Time whole rounds of 20 clients over the complete graph, one of whom vanishes: median client, and server."""
    effort.tick(f"a round of 20 clients, dim {dim:,}")
    simulation = Simulation(clients=20, dim=dim, bits=8, dropout=0.05)
    records = [simulate(simulation).record for _ in range(effort.repeats(3 if dim < LONG else 1))]
    return {
        "case": f"round, secagg, 20 clients, dim {dim:,}",
        "dim": dim,
        "client_seconds": statistics.median(sum(one.median_client_seconds().values()) for one in records),
        "server_seconds": statistics.median(sum(one.server_seconds.values()) for one in records),
    }


def _growth(clients: int, effort: Effort) -> Row:
    """Time the server's end of a SecAgg+ round: reconstruct, agree, expand; 5 % dropped, 5 % corrupt, 1e6 coordinates.

    The round's secrets are made up here, as thousands of clients are not run; the work on them is the server's own.
    """
    effort.tick(f"server work for {clients:,} clients")
    dropped = corrupt = clients // 20
    found = finder.find(clients, corrupt, dropped, "curious", absent=dropped)
    spec = VectorSpec("update", 5_000 if effort.quick else 250_000, 1 << 60)
    dice, entropy = random.Random(clients), SystemEntropy()
    survivors = clients - dropped
    degree, t = found.degree, found.threshold
    dealt = [_shares(entropy.take(32, "bench"), degree, t, clients, dice) for _ in range(clients)]
    keys = [CLASSICAL.key_pair(entropy, "bench")[1] for _ in range(64)]

    started = time.perf_counter()
    secrets = [Secret(shamir.reconstruct(shares, t)) for shares in dealt]
    terms = [masking.self_mask(client + 1, secrets[client]) for client in range(survivors)]
    for dealer in range(survivors, clients):
        loaded = CLASSICAL.agreement.load(secrets[dealer].reveal())
        for neighbour in range(degree * survivors // clients):
            agreed = loaded.initiated(keys[neighbour % len(keys)])
            seed = masking.pairwise_seed(CLASSICAL, bytes(32), agreed, dealer + 1, neighbour + 1)
            terms.append(masking.pairwise_mask(dealer + 1, neighbour + 1, seed))
    put_together = time.perf_counter() - started
    stretch = (spec, 0, prg.aligned_words(spec.length))
    server.unmask_range(stretch, terms, masking.MaskContext(CLASSICAL, bytes(32), bytes(32)))
    total = time.perf_counter() - started
    size = 8 * spec.length * len(terms)
    return {
        "case": f"server, secagg+, {clients:,} clients, k={degree}, t={t}",
        "clients": clients,
        "seconds": total,
        "reconstruct_seconds": put_together,
        "masks": len(terms),
        "ns_per_byte": 1e9 * total / size,
        "expand_ns_per_byte": 1e9 * (total - put_together) / size,
    }


def _shares(secret: bytes, degree: int, t: int, clients: int, dice: random.Random) -> dict[int, int]:
    points = sorted(dice.sample(range(1, clients + 1), min(degree + 1, clients)))[:t]
    return dict(zip(points, shamir.share(secret, t, points, SystemEntropy()), strict=True))
