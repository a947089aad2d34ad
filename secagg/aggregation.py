"""``secagg.aggregate``: one call, in process, through the real protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

import quant
from protocols import Secret
from protocols.pairwise import LocalPolicy
from protocols.pairwise.params import NO_ROSTER
from quant.robust import GroupCost
from secagg.attempts import run_attempts
from secagg.broadcast import hash_of
from secagg.config import RoundConfig
from secagg.contribution import Contribution
from secagg.errors import UsageError
from secagg.feedback import SiteResidual
from secagg.grouped import GroupedRound, GroupSum, run_groups
from secagg.inprocess import Observer, roster_of
from secagg.noised import PrivateUpdate
from secagg.privacy import NoiseLevel, PatientUpdates, RoundPrivacy, SitePrivacy, Unit
from secagg.record import RoundRecord
from secagg.session import ClientSession
from secagg.witness import StudyWitness

NO_MODEL = hashlib.sha256(b"secagg: no model").digest()
"""Model hash of a call that aggregates something else than updates of a known model."""


@dataclass(frozen=True)
class Aggregate:
    """What ``aggregate`` returns.

    Attributes:
        value: the decoded mean or sum, in the container, shapes and dtypes of one update.
        included: ids of the clients whose updates are in it, ascending.
        dropped: client -> the phase that it did not complete (one that only vanished at unmasking is included).
        record: bytes, seconds, exactness, monitoring, and what the server saw.
        residuals: with error feedback, what every client keeps for the next round.
        inside: with an adaptive clip, how many of the included had a norm inside of it.
        groups: with groups, what each of them gave.
        cost: with groups, what they cost in privacy: the smallest sum that the server saw, the factor on noise.
        noise: in a private round, how much noise is in the sum, and how much of it protects.
    """

    value: Any
    included: tuple[int, ...]
    dropped: dict[int, str]
    record: RoundRecord
    residuals: dict[int, SiteResidual] = field(default_factory=dict)
    inside: int | None = None
    groups: tuple[GroupSum, ...] = ()
    cost: GroupCost | None = None
    noise: NoiseLevel | None = None


def aggregate(
    updates: Mapping[int, PrivateUpdate] | Sequence[quant.Update | PatientUpdates],
    *,
    weights: Mapping[int, int] | Sequence[int] | None = None,
    max_weight: int | None = None,
    reduce: Literal["mean", "sum"] = "mean",
    quantization: Mapping[str, object] | None = None,
    include: str | Sequence[str] | None = None,
    threshold: int | None = None,
    dropouts: Mapping[int, str] | None = None,
    model_hash: bytes = NO_MODEL,
    study: str = "aggregate",
    round_index: int = 0,
    policy: LocalPolicy | None = None,
    workers: int = 1,
    view: bool = False,
    observe: Observer | None = None,
    identities: Mapping[int, Secret] | None = None,
    witness: StudyWitness | None = None,
    keep_evidence: bool = False,
    model: bytes | None = None,
    downlink_bits: int | None = None,
    monitor: bool | None = None,
    adaptive_clip: quant.AdaptiveClip | None = None,
    residuals: Mapping[int, SiteResidual] | None = None,
    devices: Mapping[int, int] | None = None,
    groups: int | None = None,
    combine: Literal["median", "trimmed"] = "median",
    trim: int = 1,
    privacy: RoundPrivacy | None = None,
    sites: Mapping[int, SitePrivacy] | None = None,
) -> Aggregate:
    """Add up updates so that the (in-process) server sees only the sum.

    Every update is clipped, quantized, packed and masked by a client machine of its own, and the server machine gets
    bytes only. It is the real protocol; what is not real is that all parties live in one process.

    Args:
        updates: one update per client: flat vectors, lists of arrays, or (nested) dicts such as torch ``state_dict``s,
            all of one layout. A sequence numbers its clients from 1; a mapping names them (ids from 1 to 65535). A
            callable is asked for its update when its client sends it, so that one update is in memory at a time.
        weights: integer weight of every client, such as its number of examples. Weights are masked too.
        max_weight: public upper bound on a weight; by default the largest one given (in a real round, agree on it).
        reduce: ``"mean"`` for sum(w_i x_i) / sum(w_i), ``"sum"`` for sum(w_i x_i).
        quantization: see ``quant.presets``; by default ``quant.DEFAULTS``.
        include: names of the leaves to aggregate, such as ``"head.*"``; others are passed through from the first
            update.
        threshold: least number of clients that must stay to the end; by default floor(2n/3) + 1.
        dropouts: client -> the phase it does not complete, to try out what happens.
        model_hash: 32-byte hash of the model that everybody trained; bound into the masks.
        study: name that is bound into the round.
        round_index: number that is bound into the round.
        policy: what every client insists on.
        workers: threads that take off masks.
        view: keep what the server saw of one client in ``record.view``.
        observe: called with (phase, client) as clients complete phases.
        identities: 32-byte Ed25519 secrets by client. With them the round withstands an active server: keys, inputs and
            survivor lists are signed, and ``consistency-check`` is one more phase.
        witness: keeps the transcript for an auditor.
        keep_evidence: keep masked inputs in the transcript too, which proves the sum; see ``secagg.transcript``.
        model: the bytes of the model that everybody was sent (see ``secagg.broadcast``), in place of ``model_hash``.
        downlink_bits: bits of a coordinate in them; bound into the round.
        monitor: send clipped, saturated and squared error of every site inside the secure sum; by default unless the
            round is private.
        adaptive_clip: the L2 clip and how it moves; the next one is ``adaptive_clip.update(inside, len(included))``.
        residuals: error feedback: what every client kept of the last round; ``{}`` in the first.
        devices: client -> shift, for those whose step is 2^shift steps of the grid.
        groups: robust averaging: deal the sites into so many groups, sum each securely, and combine their means. The
            server then sees sums of a group, not of all; see ``Aggregate.cost``. Set ``clip`` in ``quantization``, too:
            it bounds what a site with bad data can do in its group.
        combine: ``"median"`` (stands fewer than half of the groups being bad) or ``"trimmed"`` mean, by coordinate.
        trim: how many of the least and of the largest values ``"trimmed"`` drops.
        privacy: makes the sum differentially private; with its ``quantization``, from ``secagg.privacy.fit``. For unit
            patient updates are ``PatientUpdates``, the value is a flat vector, and ``reduce`` is ``"sum"``.
        sites: every client's ledger and policy, for several rounds on one budget; by default each client has a budget
            in memory of what ``privacy`` promises, and forgets it.

    Raises:
        UsageError: no updates, or weights that do not fit them.
        quant.QuantError: an update that is not finite or of another layout, or quantization that this cohort overflows.
        protocols.ParameterError: a cohort or threshold that makes no protocol.
        RoundRefused: too few clients stayed.
    """
    by_client = _numbered(updates)
    if privacy is not None and privacy.unit is Unit.PATIENT and reduce != "sum":
        raise UsageError("how many patients there are is private, so there is no mean: reduce='sum'")
    weight_of = None if weights is None else _weights(weights, by_client)
    if weight_of is None:
        max_weight = None
    elif max_weight is None:
        max_weight = max(1, *weight_of.values())
    first = by_client[min(by_client)] = _resolve(by_client[min(by_client)])
    like = np.zeros(first.dim) if isinstance(first, PatientUpdates) else first
    roster = None if identities is None else roster_of({client: identities[client] for client in by_client})
    config = RoundConfig(
        clients=tuple(by_client),
        layout=quant.Layout.of(like, include),
        quantization=quantization or {},
        max_weight=max_weight,
        threshold=threshold,
        study=study,
        round_index=round_index,
        adversary="curious" if roster is None else "active",
        roster=NO_ROSTER if roster is None else roster.hash(),
        monitor=monitor,
        adaptive_clip=adaptive_clip,
        error_feedback=residuals is not None,
        devices=devices or {},
        downlink_bits=downlink_bits,
        privacy=privacy,
    )
    if config.privacy_terms is not None and sites is None:
        sites = {client: SitePrivacy.rehearsal(config.privacy_terms) for client in by_client}
    _check_all(config, by_client, weight_of)

    def contribute(client: int, session: ClientSession) -> Contribution:
        weight = None if weight_of is None else weight_of[client]
        with _naming(client):
            update = by_client[client]
            return session.prepare(update if privacy is not None else _resolve(update), weight)

    bound = model_hash if model is None else hash_of(model)
    if groups is not None:
        beside = (adaptive_clip, identities, witness, privacy)
        if reduce != "mean" or view or any(given is not None for given in beside):
            raise UsageError(
                "groups are combined to a mean, without adaptive clip, view, identities, witness or privacy"
            )
        grouped = run_groups(
            config,
            bound,
            contribute,
            quant.GroupedMean(groups, combine, trim),
            dropouts=dropouts,
            policy=policy,
            workers=workers,
            observe=observe,
            residuals=residuals,
        )
        return _of_groups(config, grouped, like, dropouts)
    opened, attempt = run_attempts(
        config,
        bound,
        contribute,
        dropouts=dropouts,
        policy=policy,
        identities=identities,
        roster=roster,
        workers=workers,
        view=view,
        observe=observe,
        residuals=residuals,
        witness=None if witness is None else lambda attempted: witness.round(attempted, bound, keep=keep_evidence),
        privacy=sites,
    )
    if model is not None:
        attempt.record.model_bytes = dict.fromkeys(attempt.record.uplink_bytes["advertise-keys"], len(model))
    vector = opened.mean if reduce == "mean" else opened.sum
    return Aggregate(
        config.layout.unflatten(vector, like=like),
        opened.included,
        dict(dropouts or {}),
        attempt.record,
        attempt.residuals,
        opened.inside,
        noise=opened.noise,
    )


def _of_groups(
    config: RoundConfig, grouped: GroupedRound, like: quant.Update, dropouts: Mapping[int, str] | None
) -> Aggregate:
    included = tuple(sorted(client for group in grouped.groups for client in group.included))
    return Aggregate(
        config.layout.unflatten(grouped.mean, like=like),
        included,
        dict(dropouts or {}),
        grouped.record,
        grouped.residuals,
        groups=grouped.groups,
        cost=grouped.cost,
    )


def _numbered(
    updates: Mapping[int, PrivateUpdate] | Sequence[quant.Update | PatientUpdates],
) -> dict[int, PrivateUpdate]:
    by_client = dict(updates) if isinstance(updates, Mapping) else dict(enumerate(updates, start=1))
    if not by_client:
        raise UsageError("there are no updates to aggregate")
    ids: list[object] = list(by_client)
    if not all(isinstance(client, int) and 1 <= client < 1 << 16 for client in ids):
        raise UsageError("updates are keyed by client ids, integers from 1 to 65535")
    return dict(sorted(by_client.items()))


def _weights(weights: Mapping[int, int] | Sequence[int], by_client: Mapping[int, object]) -> dict[int, int]:
    weight_of = dict(weights) if isinstance(weights, Mapping) else dict(zip(by_client, weights, strict=False))
    if len(weights) != len(by_client) or set(weight_of) != set(by_client):
        raise UsageError(f"{len(by_client)} updates need exactly as many weights, of the same clients")
    return weight_of


def _resolve(update: PrivateUpdate) -> quant.Update | PatientUpdates:
    return update() if callable(update) else update


def _check_all(
    config: RoundConfig,
    by_client: Mapping[int, PrivateUpdate],
    weight_of: Mapping[int, int] | None,
) -> None:
    """Refuse bad input before the round begins, naming the client."""
    for client, update in by_client.items():
        with _naming(client):
            if not callable(update) and config.privacy is None:
                if isinstance(update, PatientUpdates):
                    raise UsageError("PatientUpdates are for private rounds: give privacy, or updates")
                config.layout.flatten(update)
            if config.weighting is not None:
                config.weighting.check((weight_of or {}).get(client, 0))


@contextmanager
def _naming(client: int) -> Iterator[None]:
    """Say whose input it was that could not be used."""
    try:
        yield
    except quant.InputError as error:
        raise quant.InputError(f"client {client}: {error}") from None
