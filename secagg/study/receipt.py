"""What a site keeps of a round: the coordinator's signed statement of who was in it and what came out."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from protocols.suites import CLASSICAL
from secagg.study.definition import Study
from secagg.study.identity import Identity

USAGE = "round-receipt"


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The statement; no number in it depends on one site's data alone.

    Attributes:
        study: hash of the study, hexadecimal.
        round: number of the round, from 0.
        attempt: number of the try.
        outcome: ``"opened"``, or ``"aborted"`` with a ``reason``.
        params: hash of the round's protocol parameters, hexadecimal.
        model: hash of the weights that the sites began with, hexadecimal.
        clients: ids of the invited sites.
        included: ids of the sites whose inputs are in the sum.
        result: hash of the weights after the round, hexadecimal; empty if it was aborted.
        reason: why it was aborted.
        counters: the opened sums of the counters.
        total_weight: the opened sum of weights.
        spent: epsilon of all rounds so far in which data were used, in a private study; see ``[privacy]``.
        answers: what a study of kind analytics found (``secagg.analytics.Answers.as_dict``).
        head: hash of the coordinator's transcript up to this round.
    """

    study: str
    round: int
    attempt: int
    outcome: str
    params: str
    model: str
    clients: tuple[int, ...]
    included: tuple[int, ...] = ()
    result: str = ""
    reason: Annotated[str, Meta(max_length=500)] = ""
    counters: dict[str, int] = {}
    total_weight: int = 0
    spent: float = 0.0
    answers: dict[str, Any] = {}
    head: str = ""

    def statement(self) -> bytes:
        """Return the bytes that are signed: JSON with the fields in their order."""
        return msgspec.json.encode(self, order="sorted")


class SignedReceipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A receipt and the coordinator's signature on it (hexadecimal)."""

    receipt: Receipt
    signature: Annotated[str, Meta(pattern="^[0-9a-f]{128}$")]


def sign(receipt: Receipt, coordinator: Identity) -> SignedReceipt:
    """Sign as the coordinator."""
    return SignedReceipt(receipt, coordinator.sign(USAGE, receipt.statement()).hex())


def is_valid(study: Study, signed: SignedReceipt) -> bool:
    """Tell whether the coordinator of ``study`` signed this receipt, for this study."""
    key, signature = bytes.fromhex(study.study.coordinator_key), bytes.fromhex(signed.signature)
    about_this = signed.receipt.study == study.hash.hex()
    return about_this and CLASSICAL.verify(key, signature, USAGE, signed.receipt.statement())
