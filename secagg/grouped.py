"""Robust averaging: secure sums of groups, combined by median or trimmed mean, so that a few bad sites move little.

Under one secure sum a single site can put any vector into the mean, up to the clip, and nobody sees whose it was. Here
the sites are dealt into groups by a seed that they make together, after everybody has said to take part, so that
nobody chooses a group; each group runs a round of its own; the server combines the means of the groups.

The price is privacy: the server sees sums of ``GroupCost.smallest_sum`` sites instead of all, and noise for
differential privacy would have to grow by ``GroupCost.noise_share_growth``. A least group size is enforced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import quant
from protocols.pairwise import LocalPolicy, Phase
from quant.robust import GroupCost
from secagg.attempts import run_attempts
from secagg.config import RoundConfig
from secagg.contribution import Contribution
from secagg.errors import RoundRefused, UsageError
from secagg.feedback import SiteResidual
from secagg.inprocess import Observer
from secagg.monitoring import Monitoring
from secagg.record import RoundRecord
from secagg.session import ClientSession

BEFORE_INPUT = (Phase.ADVERTISE_KEYS.value, Phase.REVEAL_RANDOMNESS.value, Phase.SHARE_KEYS.value)
"""Phases in which a client that vanishes is not dealt into a group."""


@dataclass(frozen=True)
class GroupSum:
    """One group of a grouped round.

    Attributes:
        clients: who was dealt into it.
        included: whose updates are in its sum.
        monitoring: what its sums told, if the round monitors.
    """

    clients: tuple[int, ...]
    included: tuple[int, ...]
    monitoring: Monitoring | None


@dataclass(frozen=True)
class GroupedRound:
    """A finished grouped round.

    Attributes:
        mean: the combined mean, float64 of shape (dim,).
        groups: what each group gave.
        cost: what grouping cost in privacy, and how many bad groups it stands.
        record: bytes and seconds of all groups and of the deal.
        residuals: with error feedback, what every client keeps.
    """

    mean: NDArray[np.float64]
    groups: tuple[GroupSum, ...]
    cost: GroupCost
    record: RoundRecord
    residuals: dict[int, SiteResidual]


def run_groups(
    config: RoundConfig,
    model_hash: bytes,
    contribute: Callable[[int, ClientSession], Contribution],
    grouped: quant.GroupedMean,
    *,
    dropouts: Mapping[int, str] | None = None,
    policy: LocalPolicy | None = None,
    workers: int = 1,
    observe: Observer | None = None,
    residuals: Mapping[int, SiteResidual] | None = None,
) -> GroupedRound:
    """Deal the clients into groups, run a round in each, and combine.

    Args:
        config: the round of the whole cohort; thresholds are the defaults of the groups.
        model_hash: 32-byte hash of the model that everybody trained.
        contribute: see ``InProcessRound.run``.
        grouped: how many groups, and how they are combined.
        dropouts: client -> the phase that it does not complete.
        policy: what every client insists on.
        workers: threads for taking off masks.
        observe: called as clients complete phases.
        residuals: with error feedback, what each client kept of earlier rounds.

    Raises:
        quant.ConfigurationError: groups would be smaller than their least size.
        UsageError: a threshold, which each group finds itself.
        RoundRefused: a group that ended without a sum: nothing is opened of it, and there is no combined mean.
    """
    if config.threshold is not None:
        raise UsageError("groups find their thresholds themselves: leave threshold out")
    grouped.cost(len(config.clients))
    gone = dict(dropouts or {})
    present, public, record = _deal_seed(config, model_hash, gone, policy)
    dealt = grouped.assign(present, public)
    sums, means, kept = [], [], dict(residuals or {})
    for number, clients in enumerate(dealt, start=1):
        of_group = replace(
            config,
            clients=clients,
            study=f"{config.study}, group {number} of {grouped.groups}",
            devices={client: shift for client, shift in config.devices.items() if client in clients},
        )
        try:
            opened, attempt = run_attempts(
                of_group,
                model_hash,
                contribute,
                dropouts={client: phase for client, phase in gone.items() if client in clients},
                policy=policy,
                workers=workers,
                observe=observe,
                residuals=None if residuals is None else {c: kept[c] for c in clients if c in kept},
            )
        except RoundRefused as error:
            raise RoundRefused(f"group {number} of {grouped.groups} ({len(clients)} sites): {error}") from error
        record.add(attempt.record)
        kept |= attempt.residuals
        means.append(opened.mean)
        sums.append(GroupSum(clients, opened.included, opened.monitoring))
    return GroupedRound(grouped.combine(np.stack(means)), tuple(sums), grouped.cost(len(present)), record, kept)


def _deal_seed(
    config: RoundConfig, model_hash: bytes, gone: Mapping[int, str], policy: LocalPolicy | None
) -> tuple[tuple[int, ...], quant.PublicRandomness, RoundRecord]:
    """Make a joint seed by a small round in which everybody adds a zero; give who is there, and its streams."""
    empty = np.zeros(1, dtype=np.float32)
    deal = RoundConfig(
        clients=config.clients,
        layout=quant.Layout.of(empty),
        quantization={"levels": 3, "range": 1.0},
        study=f"{config.study}, deal",
        round_index=config.round_index,
        adversary=config.adversary,
        roster=config.roster,
        colluders=config.colluders,
        joint_randomness=True,
        monitor=False,
    )
    early = {client: phase for client, phase in gone.items() if phase in BEFORE_INPUT}
    opened, attempt = run_attempts(
        deal, model_hash, lambda client, session: session.prepare(empty), dropouts=early, policy=policy
    )
    return opened.included, attempt.public, attempt.record
