"""One measured round on synthetic vectors."""

from __future__ import annotations

import hashlib
import math
import resource
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quant
from protocols.pairwise import Phase, finder
from protocols.pairwise.params import NO_ROSTER, Adversary, Protocol
from protocols.pairwise.server import Apply
from secagg.config import RoundConfig
from secagg.errors import UsageError
from secagg.inprocess import InProcessRound, Observer, round_phases, simulated_identities
from secagg.opened import Opened
from secagg.record import RoundRecord
from secagg.shards import ShardedSum, ShardSum, run_shards

MODEL_HASH = hashlib.sha256(b"secagg simulate").digest()


@dataclass(frozen=True)
class Simulation:
    """What to simulate.

    Attributes:
        clients: number of clients.
        dim: coordinates of the synthetic vectors.
        bits: quantization bits, 1 to 32.
        protocol: ``"secagg"`` (complete graph) or ``"secagg+"`` (as few neighbours as are safe).
        dropout: clients that drop out: below 1 a fraction of them, else a count.
        phase: the phase that they do not complete, or ``"mixed"`` for all phases in turn.
        corrupt: clients assumed to collude with the server.
        adversary: ``"curious"`` or ``"active"``.
        threshold: least number of clients that must stay; ``None`` for the default.
        workers: threads that take off masks.
        seed: fixes data and the choice of drop-outs; never masks, keys or rounding.

    Raises:
        UsageError: a value that cannot be simulated.
    """

    clients: int = 10
    dim: int = 100_000
    bits: int = 8
    protocol: Protocol = "secagg"
    dropout: float = 0.0
    phase: str = Phase.MASKED_INPUT.value
    corrupt: int = 1
    adversary: Adversary = "curious"
    threshold: int | None = None
    workers: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse at construction."""
        if self.protocol not in ("secagg", "secagg+"):
            raise UsageError(f"unknown protocol {self.protocol!r}; known are secagg and secagg+")
        if self.adversary not in ("curious", "active"):
            raise UsageError(f"unknown adversary {self.adversary!r}; known are curious and active")
        if self.dim < 1:
            raise UsageError(f"--dim {self.dim}: an update has at least one coordinate")
        if self.workers < 1:
            raise UsageError(f"--workers {self.workers}: at least one thread is needed")
        if self.corrupt < 0:
            raise UsageError(f"--corrupt {self.corrupt}: a number of clients, 0 or more")
        if self.phase not in (*self.phases, "mixed"):
            raise UsageError(f"unknown phase {self.phase!r}; phases are {', '.join(self.phases)}, or mixed")
        if not 0 <= count_dropouts(self.dropout, self.clients) <= self.clients:
            raise UsageError(f"--dropout {self.dropout:g}: a fraction below 1 or a count up to {self.clients}")

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of this round."""
        return round_phases(self.adversary, sparse=self.protocol == "secagg+" and self.clients >= finder.COMPLETE_BELOW)

    def dropouts(self) -> dict[int, str]:
        """Choose who drops out, by the seed."""
        count = count_dropouts(self.dropout, self.clients)
        rng = np.random.default_rng([self.seed, 0])
        chosen = rng.permutation(np.arange(1, self.clients + 1))[:count]
        phases: tuple[str, ...] = (self.phase,)
        if self.phase == "mixed":  # phases that end a sparse round when somebody is missing are not in the mix
            fatal = {Phase.REVEAL_RANDOMNESS.value}
            if self.adversary == "active" and Phase.REVEAL_RANDOMNESS.value in self.phases:
                fatal.add(Phase.SHARE_KEYS.value)
            phases = tuple(name for name in self.phases if name not in fatal)
        return {int(client): phases[i % len(phases)] for i, client in enumerate(chosen)}


def count_dropouts(dropout: float, clients: int) -> int:
    """Read a drop-out option: below 1 a fraction of the clients (rounded up), else a count.

    Raises:
        UsageError: neither.
    """
    if not math.isfinite(dropout) or dropout < 0 or (dropout >= 1 and dropout != int(dropout)):
        raise UsageError(f"--dropout {dropout:g}: below 1 it is a fraction of the clients, else a whole number of them")
    return math.ceil(dropout * clients - 1e-9) if dropout < 1 else int(dropout)


@dataclass(frozen=True)
class Simulated:
    """A finished simulation."""

    simulation: Simulation
    config: RoundConfig
    opened: Opened
    record: RoundRecord
    peak_rss_bytes: int


def simulate(simulation: Simulation, *, view: bool = False, observe: Observer | None = None) -> Simulated:
    """Run one round.

    Raises:
        quant.QuantError: bits that this cohort overflows.
        protocols.ParameterError: a cohort or threshold that makes no protocol.
        RoundRefused: too few clients stayed.
    """
    clients = range(1, simulation.clients + 1)
    identities, roster = simulated_identities(clients) if simulation.adversary == "active" else ({}, None)
    config = _config(simulation, NO_ROSTER if roster is None else roster.hash())
    in_process = InProcessRound(
        config,
        MODEL_HASH,
        dropouts=simulation.dropouts(),
        identities=identities,
        roster=roster,
        workers=simulation.workers,
        view=view,
        observe=observe,
    )
    source = Synthetic(simulation)
    opened = in_process.run(lambda client, session: session.prepare(source(client)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Simulated(simulation, config, opened, in_process.record, peak)


def simulate_shards(
    simulation: Simulation, shards: int, apply: Apply = map, done: Callable[[ShardSum], None] = lambda shard: None
) -> ShardedSum:
    """Run the cohort in shards, each a round of its own in a worker of ``apply``; see ``secagg.shards``.

    Raises:
        UsageError: shards that are too small, or an active server: its roster needs a real consortium's shards.
    """
    if simulation.adversary == "active":
        raise UsageError("shards are simulated against a curious server: leave --adversary out")
    config = replace(_config(simulation), tolerated_dropouts=None)
    return run_shards(
        config, shards, MODEL_HASH, Synthetic(simulation), dropouts=simulation.dropouts(), apply=apply, done=done
    )


def _config(simulation: Simulation, roster: bytes = NO_ROSTER) -> RoundConfig:
    return RoundConfig(
        clients=tuple(range(1, simulation.clients + 1)),
        layout=quant.Layout.of(np.zeros(simulation.dim, dtype=np.float32)),
        quantization={"bits": simulation.bits, "range": 4.0},
        threshold=simulation.threshold,
        study="simulate",
        adversary=simulation.adversary,
        roster=roster,
        colluders=simulation.corrupt,
        protocol=simulation.protocol,
        tolerated_dropouts=max(len(simulation.dropouts()), math.ceil(simulation.clients / 20)),
    )


@dataclass(frozen=True)
class Synthetic:
    """Standard normal updates, made when they are asked for; each is the same at every call."""

    simulation: Simulation

    def __call__(self, client: int) -> NDArray[np.float32]:
        """Return the update of one client."""
        rng = np.random.default_rng([self.simulation.seed, client])
        return rng.standard_normal(self.simulation.dim, dtype=np.float32)


def shards_to_json(simulation: Simulation, opened: ShardedSum, seconds: float) -> dict[str, Any]:
    """Return the figures of a sharded simulation; seconds are those of the slowest shard where a shard is meant."""
    given = [shard for shard in opened.shards if shard.total is not None]
    medians = [sum(shard.record.median_client_seconds().values()) for shard in given]
    return {
        **{name: getattr(simulation, name) for name in ("protocol", "clients", "dim", "bits", "seed")},
        "shards": len(opened.shards),
        "refused": len(opened.shards) - len(given),
        "survivors": len(opened.included),
        "smallest_sum": min(len(shard.included) for shard in given),
        "exact": opened.exact,
        "uplink_bytes_per_client": max(_sent_by_one(shard) for shard in given),
        "client_seconds": statistics.median(medians),
        "server_seconds_per_shard": max(sum(shard.record.server_seconds.values()) for shard in given),
        "seconds_per_shard": max(shard.seconds for shard in given),
        "seconds": seconds,
        "peak_rss_bytes": max(shard.peak_rss_bytes for shard in given),
    }


def _sent_by_one(shard: ShardSum) -> int:
    return max(shard.record.uplink_total(client) for client in shard.included)


def to_json(done: Simulated) -> dict[str, Any]:
    """Return the figures of a simulation under the names of the command-line contract.

    Bytes by phase are the most that any client sent or received; seconds are medians over the clients of a phase.
    """
    simulation, record = done.simulation, done.record
    return {
        "protocol": simulation.protocol,
        "adversary": simulation.adversary,
        "clients": simulation.clients,
        "survivors": len(done.opened.included),
        "dim": simulation.dim,
        "bits": simulation.bits,
        "modulus_bits": record.field_bits,
        "degree": done.config.params.degree or simulation.clients - 1,
        "threshold": record.threshold,
        "exact": record.exact,
        "dropout": len(simulation.dropouts()),
        "phase": simulation.phase,
        "seed": simulation.seed,
        "uplink_bytes_per_client": _most(record.uplink_bytes),
        "downlink_bytes_per_client": _most(record.downlink_bytes),
        "monitoring": None if record.monitoring is None else record.monitoring.to_json(),
        "client_seconds": record.median_client_seconds(),
        "server_seconds": record.server_seconds,
        "peak_rss_bytes": done.peak_rss_bytes,
    }


def _most(by_phase: dict[str, dict[int, int]]) -> dict[str, int]:
    return {phase: max(by_client.values(), default=0) for phase, by_client in by_phase.items()}
