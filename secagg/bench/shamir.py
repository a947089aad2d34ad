"""Shamir sharing against Flower's functions: 500 clients, threshold 334."""

from __future__ import annotations

from protocols import SystemEntropy
from protocols.primitives import shamir
from secagg.bench.measure import Effort, Row, median_seconds, seconds


def bench(effort: Effort) -> list[Row]:
    """Rows with ``case, seconds, peer, peer_seconds, ratio``; Flower's times are for one secret, scaled as said."""
    n, t = (50, 34) if effort.quick else (500, 334)
    entropy, points = SystemEntropy(), range(1, n + 1)
    secrets = [entropy.take(32, "bench") for _ in range(n)]

    effort.tick("share one client's two secrets")
    share = median_seconds(lambda: [shamir.share(secret, t, points, entropy) for secret in secrets[:2]], 5)

    effort.tick(f"reconstruct {n} secrets")
    dealt = [dict(zip(points, shamir.share(secret, t, points, entropy), strict=True)) for secret in secrets]

    def reconstruct_all() -> None:
        shamir.lagrange_at_zero.cache_clear()
        if [shamir.reconstruct(shares, t) for shares in dealt] != secrets:
            raise RuntimeError("reconstruction gave other secrets")

    reconstruct = median_seconds(reconstruct_all, effort.repeats(5))
    theirs = _flower(n, t, secrets[0], effort)
    shared, opened = theirs if theirs is not None else (None, None)
    rows = [
        ("share one client's two secrets", share, None if shared is None else 2 * shared, "one secret, times 2"),
        (f"reconstruct {n} clients' secrets", reconstruct, None if opened is None else n * opened, f"one, times {n}"),
    ]
    return [
        {
            "case": f"{case}, n={n}, t={t}",
            "seconds": ours,
            "peer": "flwr shamir" if peer is not None else "flwr is not installed",
            "peer_seconds": peer,
            "scaled": scaled,
            "ratio": None if peer is None else peer / ours,
        }
        for case, ours, peer, scaled in rows
    ]


def _flower(n: int, t: int, secret: bytes, effort: Effort) -> tuple[float, float] | None:
    """Time Flower's functions on one secret: (share, reconstruct), or ``None`` without Flower."""
    try:
        from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
    except ImportError:
        return None
    effort.tick("flwr: share one secret")
    shares: list[bytes] = []
    shared = seconds(lambda: shares.extend(create_shares(secret, t, n)))
    effort.tick("flwr: reconstruct one secret")
    return shared, seconds(lambda: combine_shares(shares[:t]))
