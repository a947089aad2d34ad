"""Rules T4 to T7: who takes part, what was agreed, whether it is safe, and whether sums fit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

import quant
from protocols.pairwise import finder
from protocols.pairwise.params import NO_ROSTER, RoundParams
from protocols.primitives import signing
from secagg.audit import derive
from secagg.audit.privacy import release_of
from secagg.audit.reading import Round, StudyRecords
from secagg.audit.verdicts import Finding, Rule, Verdict
from secagg.transcript import records as r

UPDATE, WEIGHT = "update", "weight"
"""Names of the masked vectors of an update and of a site's weight."""

HIDDEN = 2
"""Least number of inputs in a sum that nobody knows."""


def check_roster(study: r.Study, trusted: tuple[tuple[int, str], ...] | None) -> Iterator[Finding]:
    """T4 for the study: a well-formed roster, and the one that the auditor was given."""
    ids, keys = [client for client, _ in study.roster], [key for _, key in study.roster]
    wrong = None
    if ids != sorted(set(ids)) or len(set(keys)) != len(keys):
        wrong = "members are not listed once each, ascending, with keys of their own"
    elif any(signing.is_small_order(bytes.fromhex(key)) for key in keys):
        wrong = "an identity key of small order: anybody could sign for that member"
    elif trusted is not None and study.roster != trusted:
        wrong = "the roster is not the one that the auditor was given"
    if wrong:
        yield Finding(Rule.ROSTER, Verdict.BROKEN, wrong, study.number)
    elif not study.roster:
        yield Finding(Rule.ROSTER, Verdict.UNCHECKABLE, "no identities: who sent what rests on the coordinator's word")
    elif trusted is None:
        evidence = f"{len(ids)} identities stand in the transcript; give the roster you know with --roster"
        yield Finding(Rule.ROSTER, Verdict.UNCHECKABLE, evidence)
    else:
        yield Finding(Rule.ROSTER, Verdict.VERIFIED, f"{len(ids)} identities, those of the roster given", study.number)


def check_parameters(study: r.Study, one: Round) -> Iterator[Finding]:
    """T4 and T5 for one round: roster, hashes of parameters and task."""
    begin, params = one.begin, one.begin.params
    expected = derive.roster_hash(study.roster) if params.adversary == "active" else NO_ROSTER
    strangers = set(params.clients) - {client for client, _ in study.roster}
    wrong = []
    if params.roster != expected:
        wrong.append("the parameters name another roster than the study's")
    elif params.adversary == "active" and strangers:
        wrong.append(f"clients {sorted(strangers)[:5]} are not on the roster")
    if wrong or params.adversary == "active":
        yield one.judge(Rule.ROSTER, wrong, "the parameters name the study's roster")
    wrong = []
    if begin.params_hash != derive.params_hash(params).hex():
        wrong.append("the hash is not that of the parameters")
    if params.study != study.study:
        wrong.append(f"the round belongs to study {params.study!r}")
    if begin.task and hashlib.sha256(begin.task.encode()).digest() != params.task:
        wrong.append("the task is not the one that the parameters name")
    yield one.judge(Rule.PARAMETERS, wrong, "parameters and task have the hashes that keys and signatures are bound to")


def check_threshold(study: r.Study, one: Round) -> Iterator[Finding]:
    """T6: t > c (curious), 2t > n + c (active), t - max(c, 1) >= 2, and the bounds of a sparse graph."""
    params, colluders = one.begin.params, study.colluders
    clients, threshold = len(params.clients), params.threshold
    least, curious, wrong = params.min_survivors or threshold, max(colluders, 1), []
    if least - curious < HIDDEN:
        wrong.append(f"a sum of {least} inputs hides fewer than {HIDDEN} from {curious} curious")
    if params.sparse:
        wrong += _sparse_bounds(study, params)
    elif params.adversary == "curious" and not threshold > colluders:
        wrong.append(f"threshold {threshold} falls to {colluders} colluders")
    elif params.adversary == "active" and not 2 * threshold > clients + colluders:
        wrong.append(f"threshold {threshold} of {clients} falls to an active server and {colluders} colluders")
    server = f"an {params.adversary}" if params.adversary == "active" else "a curious"
    yield one.judge(
        Rule.THRESHOLD, wrong, f"t = {threshold} of {clients} withstands {server} server and c = {colluders}"
    )


def _sparse_bounds(study: r.Study, params: RoundParams) -> list[str]:
    bits = finder.graph_bits(study.sigma, study.max_attempts)
    clients, least = len(params.clients), params.min_survivors
    around = finder.most_marked(clients, study.colluders, params.degree, bits)
    if params.adversary == "active":
        safe = 2 * params.threshold > params.degree + 1 + around
    else:
        safe = params.threshold > around
        removed = study.colluders + clients - least
        if finder.connectivity_bits(clients, removed, params.degree) < bits:
            return [f"a graph of degree {params.degree} may fall apart"]
    return [] if safe else [f"threshold {params.threshold} falls to {around} corrupt neighbours"]


def check_capacity(one: Round) -> Iterator[Finding]:
    """T7: levels, field width, lanes and weights of the task, against the vectors of the protocol."""
    params = one.begin.params
    if not one.begin.task:
        yield one.say(Rule.CAPACITY, Verdict.UNCHECKABLE, "the transcript holds no task")
        return
    try:
        task = msgspec.json.decode(one.begin.task.encode(), type=dict)
        described = task["quantization"]
        facts = quant.from_config(described, int(described["dim"])).facts
        release = release_of(one)
        noise = 0 if release is None else release.reach
        lanes = facts.lanes(len(params.clients), noise=noise)
        width, bound = task["field_width"], task["max_weight"]
    except (msgspec.DecodeError, quant.QuantError, KeyError, TypeError, ValueError) as error:
        yield one.say(Rule.CAPACITY, Verdict.BROKEN, f"the task cannot be read: {error}")
        return
    vectors, wrong = {spec.name: spec for spec in params.vectors}, []
    update, weight = vectors.get(UPDATE), vectors.get(WEIGHT)
    if width < facts.field_width(len(params.clients), noise=noise):
        with_noise = " and its noise" if noise else ""
        wrong.append(f"fields of {width} bits cannot hold the sum of {len(params.clients)} clients{with_noise}")
    elif update is None or (update.length, update.modulus) != (lanes.lanes, 1 << lanes.lane_bits):
        wrong.append("the masked vector has another shape than the task's lanes")
    if (weight is None) != (bound is None):
        wrong.append("weights are in the task or in the vectors, not in both")
    elif weight is not None and bound is not None and weight.modulus <= bound * len(params.clients):
        wrong.append(f"the sum of {len(params.clients)} weights up to {bound} leaves its modulus")
    room = f" and noise up to {noise:,} steps" if noise else ""
    yield one.judge(Rule.CAPACITY, wrong, f"fields of {width} bits hold {len(params.clients)} clients{room}")


def check_all(found: StudyRecords, study: r.Study) -> Iterator[Finding]:
    """T4 to T7 for every round."""
    for one in found.rounds:
        yield from check_parameters(study, one)
        yield from check_threshold(study, one)
        yield from check_capacity(one)
