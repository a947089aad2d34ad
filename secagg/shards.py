"""A large cohort as shards: rounds of their own, one to a worker, whose sums are added.

A shard's sum is seen by whoever opens it, so a shard is a cohort in its own right: it has its own keys, its own
threshold, and at least as many clients as a site's policy asks of a cohort. A worker's time and memory are those of one
shard. Whoever lists the clients chooses who shares a shard; against a server that would put one site among its friends,
deal them by a joint seed instead (``groups`` of ``secagg.aggregate``).
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

import quant
from protocols.pairwise import LocalPolicy
from protocols.pairwise.server import Apply
from secagg.attempts import run_attempts
from secagg.config import RoundConfig
from secagg.contribution import Contribution
from secagg.errors import RoundRefused, UsageError
from secagg.record import RoundRecord
from secagg.session import ClientSession

Source = Callable[[int], quant.Update]
"""Gives a client's update; for workers in other processes, something that can be pickled."""


@dataclass(frozen=True)
class ShardTask:
    """One shard, as it is sent to a worker: no keys and no seeds, which are made there and stay there.

    Attributes:
        config: the shard's round.
        model_hash: 32-byte hash of the model that everybody trained.
        source: of updates.
        dropouts: client -> the phase that it does not complete.
    """

    config: RoundConfig
    model_hash: bytes
    source: Source
    dropouts: Mapping[int, str]


@dataclass(frozen=True)
class ShardSum:
    """What comes back of a shard.

    Attributes:
        clients: who was invited.
        included: whose updates are in the sum; nobody if the shard ended without one.
        total: the decoded sum, float64 of shape (dim,); ``None`` without one.
        weight: the sum of the weights of the included.
        record: bytes and seconds.
        seconds: from beginning to end.
        peak_rss_bytes: the most memory that the worker had so far.
        refused: why there is no sum.
    """

    clients: tuple[int, ...]
    included: tuple[int, ...]
    total: NDArray[np.float64] | None
    weight: int
    record: RoundRecord
    seconds: float
    peak_rss_bytes: int
    refused: str = ""


@dataclass(frozen=True)
class ShardedSum:
    """The sum over all shards that gave one.

    Attributes:
        total: the decoded sum, float64 of shape (dim,).
        weight: the sum of the weights of the included.
        shards: what each gave, in order.
    """

    total: NDArray[np.float64]
    weight: int
    shards: tuple[ShardSum, ...]

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean over all included clients, float64 of shape (dim,)."""
        return self.total / self.weight

    @property
    def included(self) -> tuple[int, ...]:
        """Whose updates are in the sum."""
        return tuple(client for shard in self.shards for client in shard.included)

    @property
    def exact(self) -> bool:
        """Whether every opened sum equals the sum of its clients' integers."""
        return all(shard.record.exact for shard in self.shards if shard.total is not None)


def shard_rounds(config: RoundConfig, shards: int, policy: LocalPolicy | None = None) -> list[RoundConfig]:
    """Cut a round into rounds of shards: stretches of the ascending client ids, of equal size to within one.

    Raises:
        UsageError: a threshold, which each shard finds itself; or shards smaller than ``policy`` asks of a cohort.
    """
    if config.threshold is not None:
        raise UsageError("shards find their thresholds themselves: leave threshold out")
    least = (policy or LocalPolicy()).min_clients
    if shards < 1 or len(config.clients) // shards < least:
        raise UsageError(
            f"{len(config.clients)} clients make at most {len(config.clients) // least} shards: each has at least "
            f"{least} clients, since its sum is seen"
        )
    cuts = [round(number * len(config.clients) / shards) for number in range(shards + 1)]
    return [
        replace(config, clients=config.clients[low:high], study=f"{config.study}, shard {number} of {shards}")
        for number, (low, high) in enumerate(pairwise(cuts), start=1)
    ]


def run_shards(
    config: RoundConfig,
    shards: int,
    model_hash: bytes,
    source: Source,
    *,
    dropouts: Mapping[int, str] | None = None,
    apply: Apply = map,
    done: Callable[[ShardSum], None] = lambda shard: None,
) -> ShardedSum:
    """Run a cohort in shards and add their sums. A shard that ends without a sum is left out.

    Args:
        config: the round of the whole cohort.
        shards: how many.
        model_hash: 32-byte hash of the model that everybody trained.
        source: of updates.
        dropouts: client -> the phase that it does not complete.
        apply: runs a function over a list, here or elsewhere: ``map``, the ``map`` of a process pool,
            ``secagg.integrations.ray.ray_map``.
        done: called with every shard that is done.

    Raises:
        UsageError: see ``shard_rounds``.
        RoundRefused: no shard gave a sum.
    """
    gone = dict(dropouts or {})
    tasks = [
        ShardTask(part, model_hash, source, {client: phase for client, phase in gone.items() if client in part.clients})
        for part in shard_rounds(config, shards)
    ]
    return add_shards(_watched(apply(run_shard, tasks), done))


def _watched(shards: Iterable[ShardSum], done: Callable[[ShardSum], None]) -> list[ShardSum]:
    found = []
    for shard in shards:
        found.append(shard)
        done(shard)
    return found


def run_shard(task: ShardTask) -> ShardSum:
    """Run one shard's round in this process."""
    config, started = task.config, time.perf_counter()

    def contribute(client: int, session: ClientSession) -> Contribution:
        return session.prepare(task.source(client))

    try:
        opened, attempt = run_attempts(config, task.model_hash, contribute, dropouts=task.dropouts)
    except RoundRefused as error:
        nothing = RoundRecord(config.lanes.width, config.params.threshold)
        return ShardSum(config.clients, (), None, 0, nothing, time.perf_counter() - started, _peak(), str(error))
    seconds = time.perf_counter() - started
    return ShardSum(config.clients, opened.included, opened.sum, opened.total_weight, attempt.record, seconds, _peak())


def add_shards(shards: Sequence[ShardSum]) -> ShardedSum:
    """Add the sums of shards.

    Raises:
        RoundRefused: no shard gave one.
    """
    totals = [shard.total for shard in shards if shard.total is not None]
    if not totals:
        raise RoundRefused(f"no shard gave a sum: {'; '.join(sorted({shard.refused for shard in shards}))}")
    total = np.zeros_like(totals[0])
    for part in totals:
        total += part
    return ShardedSum(total, sum(shard.weight for shard in shards), tuple(shards))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
