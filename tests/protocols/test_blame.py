"""Whom a client names: in an active round only a peer whose own signature proves it, so that a server frames nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from protocols import RemoteProtocolError
from protocols.pairwise import Rule
from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.wire import Message
from secagg.attack.network import Delivery, Network, edit, read_frame
from tests.support.cohort import ACTIVE, SPARSE_ACTIVE, Variant, identity, make_cohort

pytestmark = pytest.mark.fast

VICTIM, DEALER = 1, 2
"""The client that refuses, and the peer whose entry comes first in what it receives (in the sparse graph: any peer)."""


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def first_peer(field: str, **changes: Callable[[bytes], bytes]) -> Callable[[Message], Message]:
    """Change the first entry of the list ``field`` that is not the victim's own."""

    def change(request: Any) -> Any:
        entries = list(getattr(request, field))
        place = next(i for i, e in enumerate(entries) if getattr(e, "client", None) != VICTIM)
        values = {name: new(getattr(entries[place], name)) for name, new in changes.items()}
        entries[place] = msgspec.structs.replace(entries[place], **values)
        return msgspec.structs.replace(request, **{field: tuple(entries)})

    return change


TAMPERINGS = {
    "keys": (ACTIVE, m.ShareKeysRequest, first_peer("directory", mask_key=flipped), Rule.DIRECTORY_SIGNED),
    "low order": (
        ACTIVE,
        m.ShareKeysRequest,
        first_peer("directory", enc_key=lambda _: bytes(32)),
        Rule.DIRECTORY_SIGNED,
    ),
    "signature": (ACTIVE, m.ShareKeysRequest, first_peer("directory", signature=flipped), Rule.DIRECTORY_SIGNED),
    "part": (SPARSE_ACTIVE, m.NeighboursRequest, first_peer("parts", part=flipped), Rule.RANDOMNESS_AS_COMMITTED),
    "sealed": (ACTIVE, m.MaskedInputRequest, first_peer("relayed", sealed=flipped), Rule.SHARE_AS_PUBLISHED),
    "hash": (
        ACTIVE,
        m.MaskedInputRequest,
        first_peer("relayed", self_mask_share_hash=flipped),
        Rule.SHARE_AS_PUBLISHED,
    ),
    "seed hash": (ACTIVE, m.MaskedInputRequest, first_peer("relayed", self_mask_hash=flipped), Rule.SHARE_AS_PUBLISHED),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_a_server_that_tampers_frames_nobody(what: str) -> None:
    variant, message, change, rule = TAMPERINGS[what]
    refusal = refusal_of_the_victim(variant, edit(message, change, client=VICTIM))
    assert (refusal.rule, refusal.culprit) == (rule, None)


def lies(delivery: Delivery, change: Callable[[m.DealtShares], m.DealtShares]) -> list[bytes]:
    """The dealer's message with another entry for the victim, signed by the dealer."""
    session, message = read_frame(delivery.frame)
    if not isinstance(message, m.ShareKeys) or delivery.client != DEALER:
        return [delivery.frame]
    dealt = []
    for honest in message.dealt:
        if honest.holder != VICTIM:
            dealt.append(honest)
            continue
        entry = change(honest)
        about = (session, DEALER, VICTIM, message.commitments, entry.hashes)
        statement = check.dealt_statement(*about, b"", entry.sealed)
        signature = make_cohort(ACTIVE).params.cipher_suite.sign(identity(DEALER), "share-keys", *statement)
        dealt.append(msgspec.structs.replace(entry, signature=signature))
    return [m.CODEC.encode(session, msgspec.structs.replace(message, dealt=tuple(dealt)))]


@pytest.mark.parametrize(("field", "rule"), [("sealed", "C18"), ("mask_key_share_hash", "C19")])
def test_a_dealer_that_signed_a_lie_is_named(field: str, rule: str) -> None:
    def change(entry: m.DealtShares) -> m.DealtShares:
        return msgspec.structs.replace(entry, **{field: flipped(getattr(entry, field))})

    refusal = refusal_of_the_victim(ACTIVE, lambda delivery: lies(delivery, change))
    assert (refusal.rule, refusal.culprit) == (Rule(rule), DEALER)


def refusal_of_the_victim(variant: Variant, tamper: Any) -> RemoteProtocolError:
    cohort = make_cohort(variant)
    network = Network(cohort, tampers=[tamper])
    while VICTIM not in network.refusals:
        network.step()
    refusal = network.refusals[VICTIM]
    assert isinstance(refusal, RemoteProtocolError)
    return refusal
