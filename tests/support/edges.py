"""Edges of the checks: for every rule, calls that just pass and calls that just do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from protocols.pairwise import RoundParams
from protocols.pairwise import messages as m
from protocols.suites import CLASSICAL
from tests.support.cohort import ACTIVE, CURIOUS, SPARSE_CURIOUS, Cohort, Variant, identity, make_cohort

SESSION = bytes(range(32))
PLAIN, SIGNED, SPARSE = make_cohort(CURIOUS, 5, 4), make_cohort(ACTIVE, 5, 4), make_cohort(SPARSE_CURIOUS)
MEMBERS = SIGNED.policy
"""The policy that knows the roster of ``SIGNED``."""


NOBODY = 0
"""In place of a culprit: the refusal must name nobody, since whoever passed something on could have made it."""


@dataclass(frozen=True)
class Case:
    """Calls of one check.

    Attributes:
        rule: its number.
        check: the function.
        good: arguments that pass.
        bad: arguments that do not, by what is wrong with them.
        culprit: who must be named; ``NOBODY`` if nobody may be; ``None`` if it does not matter.
    """

    rule: str
    check: Callable[..., Any]
    good: tuple[Any, ...]
    bad: dict[str, tuple[Any, ...]]
    culprit: int | None = None


def round_of(variant: Variant = CURIOUS, **changes: Any) -> RoundParams:
    return make_cohort(variant, **{"n": 5, "threshold": 4, **changes}).params


def keys(client: int, cohort: Cohort) -> m.AdvertisedKeys:
    """The entry that ``client`` advertises in this cohort."""
    sent = cohort.client(client).state.advertised
    return m.AdvertisedKeys(client, sent.enc_key, sent.mask_key, sent.commitment, sent.signature)


def sent_keys(entry: m.AdvertisedKeys) -> m.AdvertiseKeys:
    return m.AdvertiseKeys(entry.enc_key, entry.mask_key, entry.commitment, entry.signature)


def instead(value: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(value, **changes)


def sign(client: int, usage: str, *statement: Any) -> bytes:
    return CLASSICAL.sign(identity(client), usage, *statement)
