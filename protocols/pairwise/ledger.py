"""What a client remembers from round to round, so that nothing is said twice differently.

A round's state dies with the round, and a restored backup does not know what was said since. The ledger does: it is
written before anything leaves, is never rolled back (keep it out of backups, or restore it from no earlier than the
last receipt), and holds no secret. Rules C30 to C34 are checked against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from protocols.pairwise.params import LocalPolicy, RoundParams
from protocols.pairwise.validation.rules import Rule, refuse

Said = Literal["keys", "session", "input", "signature", "answer"]


class Participation(msgspec.Struct, frozen=True):
    """One thing that a client said.

    Attributes:
        said: ``"keys"`` when a round began, ``"session"`` before anything was said to a key directory, ``"input"``
            before the masked input left, ``"signature"`` before the signature on the survivors (active rounds),
            ``"answer"`` before the shares.
        study: name of the study.
        round_index: number of the round.
        attempt: number of the try at it.
        task: hash of what lies above the protocol.
        model_hash: hash of the model trained (32 zero bytes with ``"keys"`` and ``"session"``: it is not known yet).
        data_version: the client's own name for the state of its data.
        session: session id (32 zero bytes with ``"keys"``).
        members: the survivors with ``"signature"`` and ``"answer"``, else the invited clients.
    """

    said: Said
    study: str
    round_index: int
    attempt: int
    task: bytes
    model_hash: bytes
    data_version: str
    session: bytes
    members: tuple[int, ...]


class Ledger(Protocol):
    """An append-only list. ``append`` returns only when the entry will survive a crash."""

    def entries(self) -> Sequence[Participation]:
        """Return all entries, oldest first."""
        ...

    def append(self, entry: Participation) -> None:
        """Add one entry, durably."""
        ...


class MemoryLedger:
    """A ledger for one process: what it remembers dies with it."""

    def __init__(self) -> None:
        self._entries: list[Participation] = []

    def entries(self) -> Sequence[Participation]:
        """Return all entries, oldest first."""
        return self._entries

    def append(self, entry: Participation) -> None:
        """Add one entry."""
        self._entries.append(entry)


NOTHING = bytes(32)


def begin(ledger: Ledger, params: RoundParams, policy: LocalPolicy, data_version: str) -> None:
    """Record that a round begins (rule C30: at most ``max_attempts`` of them for one round of a study).

    Attempts are counted here and not taken from the server's number, which it could repeat.
    """
    tries = [e for e in ledger.entries() if e.said == "keys" and _round(e) == (params.study, params.round_index)]
    if len(tries) >= policy.max_attempts:
        refuse(
            Rule.ATTEMPTS_FEW,
            f"round {params.round_index} of study {params.study!r} was tried {len(tries)} times; the local policy "
            f"allows {policy.max_attempts}",
        )
    ledger.append(_entry("keys", params, NOTHING, data_version, NOTHING, params.clients))


def join(ledger: Ledger, params: RoundParams, session: bytes, data_version: str) -> None:
    """Record that a session is joined (rule C34: one session for one attempt at a round).

    A client that is restored from a backup of the start has the same keys, and the same part of a joint seed. In a
    second session, its mask key could be opened where its self mask was in the first; and its part would be known
    before the directory is chosen. Whoever tries a round again gives the attempt another number.
    """
    this = (params.study, params.round_index, params.attempt)
    for entry in ledger.entries():
        if entry.said == "session" and (*_round(entry), entry.attempt) == this and entry.session != session:
            refuse(
                Rule.ONE_SESSION,
                f"this client has already joined another session in attempt {params.attempt} at round "
                f"{params.round_index} of study {params.study!r}",
            )
    ledger.append(_entry("session", params, NOTHING, data_version, session, params.clients))


def contribute(ledger: Ledger, params: RoundParams, session: bytes, model_hash: bytes, data_version: str) -> None:
    """Record that an input is about to leave (rule C31: one contribution per study, round and model, and per session).

    A second one, over another cohort or under other masks, would let the server subtract the two sums. A second one in
    the same session, for another model, would be masked with the same seeds, which are opened for the first.
    """
    this = (params.study, params.round_index, model_hash)
    for entry in ledger.entries():
        if entry.said != "input":
            continue
        if entry.session == session:
            refuse(
                Rule.ONE_CONTRIBUTION,
                "this client has already sent an input in this session: resend those bytes, or leave the round",
            )
        if (*_round(entry), entry.model_hash) == this:
            refuse(
                Rule.ONE_CONTRIBUTION,
                f"this client has already sent an input for round {params.round_index} of study {params.study!r} and "
                "this model: resend those bytes, or leave the round",
            )
    ledger.append(_entry("input", params, model_hash, data_version, session, params.clients))


def sign(
    ledger: Ledger,
    params: RoundParams,
    session: bytes,
    model_hash: bytes,
    data_version: str,
    survivors: tuple[int, ...],
) -> None:
    """Record that a signature on the survivors is about to leave (rule C32: one survivor list per session).

    That there are never t signatures on two lists (rule C25) rests on honest clients signing one list each: with
    several lists, shares for some add up to a sum of fewer than t inputs.
    """
    _check_one_list(ledger, "signature", session, survivors)
    ledger.append(_entry("signature", params, model_hash, data_version, session, survivors))


def _check_one_list(ledger: Ledger, said: Said, session: bytes, survivors: tuple[int, ...]) -> None:
    for entry in ledger.entries():
        if entry.said == said and entry.session == session and entry.members != survivors:
            refuse(Rule.ONE_ANSWER, f"this client has already given its {said} in this session, for other survivors")


def answer(
    ledger: Ledger,
    params: RoundParams,
    policy: LocalPolicy,
    session: bytes,
    model_hash: bytes,
    data_version: str,
    survivors: tuple[int, ...],
) -> tuple[str, ...]:
    """Record that shares are about to leave, and return warnings.

    Rule C32: one answer per session. Rule C33: no combination of the sums over the cohorts in which the same query
    (task, model, data) was answered tells fewer than ``min_cohort_difference`` members apart from the others. Across
    training rounds the model differs and so does the query; a small difference of cohorts is then only warned about.

    Members that are in the same of these cohorts have the same weight in every linear combination of the sums. So if
    each such group is large enough, no combination singles out fewer members.
    """
    _check_one_list(ledger, "answer", session, survivors)
    answers = [entry for entry in ledger.entries() if entry.said == "answer"]
    this = (params.task, model_hash, data_version)
    same = [set(entry.members) for entry in answers if (entry.task, entry.model_hash, entry.data_version) == this]
    cohorts = [*same, set(survivors)]
    groups = Counter(tuple(member in cohort for cohort in cohorts) for member in set().union(*cohorts))
    smallest = min(groups.values())
    if len(groups) > 1 and smallest < policy.min_cohort_difference:
        refuse(
            Rule.COHORTS_APART,
            f"with the cohorts in which the same query was answered, this one would set {smallest} members apart from "
            f"the others; the local policy asks for at least {policy.min_cohort_difference}",
        )
    warnings = []
    for entry in answers:
        difference = len(set(entry.members) ^ set(survivors))
        if entry.study == params.study and 0 < difference < policy.min_cohort_difference:
            warnings.append(f"the cohort differs from that of round {entry.round_index} by {difference} members")
    ledger.append(_entry("answer", params, model_hash, data_version, session, survivors))
    return tuple(warnings)


def _round(entry: Participation) -> tuple[str, int]:
    return entry.study, entry.round_index


def _entry(
    said: Said, params: RoundParams, model_hash: bytes, data_version: str, session: bytes, members: tuple[int, ...]
) -> Participation:
    return Participation(
        said, params.study, params.round_index, params.attempt, params.task, model_hash, data_version, session, members
    )
