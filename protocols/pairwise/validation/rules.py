"""The numbered rules, and what every check shares."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import pairwise
from typing import NoReturn

from protocols.errors import RemoteProtocolError
from protocols.pairwise.params import Roster, RoundParams
from protocols.primitives import signing
from protocols.suites import Context


class Rule(Enum):
    """The numbered rules; names say what must hold."""

    SUITE_ACCEPTED = "C1"
    COHORT_LARGE_ENOUGH = "C2"
    THRESHOLD_SAFE = "C3"
    INPUTS_HIDDEN = "C4"
    ADVERSARY_WITHSTOOD = "C5"
    SELF_INVITED = "C6"
    ROSTER_KNOWN = "C7"
    UPLOAD_BOUNDED = "C8"
    TASK_KNOWN = "C9"
    DIRECTORY_IDS = "C10"
    DIRECTORY_OWN_ENTRY = "C11"
    DIRECTORY_LARGE_ENOUGH = "C12"
    DIRECTORY_KEYS_DISTINCT = "C13"
    DIRECTORY_SIGNED = "C14"
    SHARED_IDS = "C15"
    SHARED_LARGE_ENOUGH = "C16"
    RELAYED_COMPLETE = "C17"
    SHARE_AUTHENTIC = "C18"
    SHARE_AS_PUBLISHED = "C19"
    MODEL_AGREED = "C20"
    SURVIVOR_IDS = "C21"
    SURVIVORS_ENOUGH = "C22"
    SURVIVOR_SELF = "C23"
    SURVIVORS_AS_SIGNED = "C24"
    SURVIVORS_SIGNED = "C25"
    SURVIVORS_OR_DROPPED = "C26"
    KEY_CONTRIBUTORY = "C27"
    RANDOMNESS_AS_COMMITTED = "C28"
    SURVIVORS_CONNECTED = "C29"
    ATTEMPTS_FEW = "C30"
    ONE_CONTRIBUTION = "C31"
    ONE_ANSWER = "C32"
    COHORTS_APART = "C33"
    ONE_SESSION = "C34"

    SENDER_INVITED = "S1"
    IN_PHASE = "S2"
    SAID_ONCE = "S3"
    KEYS_ACCEPTABLE = "S4"
    SHARES_COMPLETE = "S5"
    CHUNK_FITS = "S6"
    CONSISTENCY_SIGNED = "S7"
    ANSWER_COMPLETE = "S8"
    OPENING_AS_PUBLISHED = "S9"
    SECRET_AS_ADVERTISED = "S10"
    PART_AS_COMMITTED = "S11"
    INPUT_SIGNED = "S12"


def refuse(rule: Rule, reason: str, culprit: int | None = None) -> NoReturn:
    """Raise the typed refusal of ``rule``."""
    raise RemoteProtocolError(rule, reason, culprit)


def ascending(ids: Sequence[int]) -> bool:
    """Tell whether ids ascend strictly (so none is repeated)."""
    return all(left < right for left, right in pairwise(ids))


def signed(
    params: RoundParams,
    roster: Roster | None,
    client: int,
    signature: bytes,
    usage: str,
    statement: tuple[Context, ...],
) -> bool:
    """Tell whether ``signature`` is what this round asks for: one by ``client``, or none in a round without roster."""
    if params.adversary == "curious":
        return not signature
    key = roster.key(client) if roster is not None else None
    if key is None or len(signature) != signing.SIGNATURE_BYTES:
        return False
    return params.cipher_suite.verify(key, signature, usage, *statement)
