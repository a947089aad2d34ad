"""Edges of what is refused of shares, survivor lists and answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols import Secret
from protocols.pairwise import VectorSpec
from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.pairwise.graph import GraphSpec
from protocols.primitives import bitpack
from protocols.suites import CLASSICAL
from tests.support.cohort import MODEL, OTHER_MODEL, SPARSE_ACTIVE, Cohort, Variant, make_cohort
from tests.support.edges import MEMBERS, NOBODY, PLAIN, SESSION, SIGNED, SPARSE, Case, instead, sign

# -- shares (C15 to C20, S5) -------------------------------------------------------------------------------------------

PAIR = m.SharePair(2, 1, bytes(33), b"\1" * 33, b"")
COMMITMENTS = (check.self_mask_hash(CLASSICAL, SESSION, 2, bytes(32)), b"")
HASHES = check.share_hashes(CLASSICAL, SESSION, PAIR)


def relayed(*, session: bytes = SESSION, signer: int = 2, **changes: Any) -> m.RelayedShares:
    """Client 2's entry for client 1, signed by ``signer`` over what it says."""
    statement = check.dealt_statement(session, 2, 1, COMMITMENTS, HASHES, b"", b"sealed")
    entry = m.RelayedShares(2, *COMMITMENTS, b"", b"sealed", *HASHES, sign(signer, "share-keys", *statement))
    return instead(entry, **changes)


def passed_on(entry: m.RelayedShares) -> tuple[Any, ...]:
    return (SIGNED.params, MEMBERS, SESSION, entry, 1)


def published(pair: m.SharePair = PAIR, **changes: Any) -> tuple[Any, ...]:
    return (SIGNED.params, SESSION, relayed(**changes), pair)


def dealt(*holders: int, **changes: Any) -> tuple[Any, ...]:
    """The arguments of S5: client 2 deals to ``holders``; ``changes`` are of the entry for client 1."""
    entries = []
    for holder in holders:
        sealed = b"" if holder == 2 else b"sealed"
        given = {"holder": holder, "offers": b"", "sealed": sealed, "signer": 2, **(changes if holder == 1 else {})}
        statement = check.dealt_statement(SESSION, 2, holder, COMMITMENTS, HASHES, given["offers"], given["sealed"])
        signature = sign(given["signer"], "share-keys", *statement)
        entries.append(m.DealtShares(holder, given["offers"], given["sealed"], *HASHES, signature))
    message = m.ShareKeys(b"", *COMMITMENTS, tuple(entries))
    return (SIGNED.params, MEMBERS.roster, SESSION, 2, message, [1, 2, 3])


SHARES = [
    Case(
        "C15",
        check.check_shared_ids,
        ((1, 2, 3, 4), (1, 3), 3),
        {
            "repeated": ((1, 2, 3, 4), (1, 1, 3), 3),
            "reordered": ((1, 2, 3, 4), (3, 1), 3),
            "invented": ((1, 2, 3, 4), (1, 3, 5), 3),
            "left out": ((1, 2, 3, 4), (1, 2, 4), 3),
        },
    ),
    Case(
        "C16",
        check.check_shared_size,
        (PLAIN.params, (1, 2, 3, 4), (1, 2, 3, 4)),
        {
            "one too few": (PLAIN.params, (1, 2, 3, 4), (1, 2, 3)),
            "in a sparse graph": (SPARSE.params, (1, 2, 3, 4, 5, 6), (1, 2, 3)),
            "not all, against an active server": (make_cohort(SPARSE_ACTIVE).params, (1, 2, 3, 4, 5), (1, 2, 3, 4)),
        },
    ),
    Case(
        "C17",
        check.check_relayed,
        (SIGNED.params, 1, [relayed(), relayed(dealer=3)], [2, 3]),
        {
            "missing": (SIGNED.params, 1, [relayed()], [2, 3]),
            "repeated": (SIGNED.params, 1, [relayed(), relayed(), relayed(dealer=3)], [2, 3]),
            "reordered": (SIGNED.params, 1, [relayed(dealer=3), relayed()], [2, 3]),
            "of nobody asked": (SIGNED.params, 1, [relayed(), relayed(dealer=3), relayed(dealer=4)], [2, 3]),
            "with an offer": (SIGNED.params, 1, [relayed(), relayed(dealer=3, offers=b"x")], [2, 3]),
        },
    ),
    Case(
        "C18",
        check.check_share_pair,
        (PLAIN.params, PAIR, 2, 1),
        {
            "unopened": (PLAIN.params, None, 2, 1),
            "of another dealer": (PLAIN.params, PAIR, 3, 1),
            "for another holder": (PLAIN.params, PAIR, 2, 3),
        },
        culprit=NOBODY,
    ),
    Case(
        "C18",
        check.check_share_pair,
        (SIGNED.params, PAIR, 2, 1),
        {"unopened, but signed": (SIGNED.params, None, 2, 1), "for another holder": (SIGNED.params, PAIR, 2, 3)},
        culprit=2,
    ),
    Case(
        "C19",
        check.check_published_share,
        published(),
        {
            "another self-mask share": published(instead(PAIR, self_mask_share=b"\2" * 33)),
            "another mask-key share": published(instead(PAIR, mask_key_share=b"\2" * 33)),
            "shares exchanged": published(m.SharePair(2, 1, PAIR.mask_key_share, PAIR.self_mask_share, b"")),
            "another hash": published(mask_key_share_hash=bytes(32)),
        },
        culprit=2,
    ),
    Case(
        "C19",
        check.check_share_signed,
        passed_on(relayed()),
        {
            "another hash of a share": passed_on(relayed(self_mask_share_hash=bytes(32))),
            "another hash of the seed": passed_on(relayed(self_mask_hash=bytes(32))),
            "another sealed pair": passed_on(relayed(sealed=b"Sealed")),
            "another session": passed_on(relayed(session=bytes(32))),
            "unsigned": passed_on(relayed(signature=b"")),
            "signed by another": passed_on(relayed(signer=3)),
            "signed unasked": (PLAIN.params, PLAIN.policy, SESSION, relayed(), 1),
        },
        culprit=NOBODY,
    ),
    Case("C20", check.check_model, (MODEL, MODEL), {"another": (OTHER_MODEL, MODEL)}),
    Case(
        "S5",
        check.check_dealt_shares,
        dealt(1, 2, 3),
        {
            "a holder missing": dealt(1, 2),
            "itself missing": dealt(1, 3),
            "a holder too many": dealt(1, 2, 3, 4),
            "a holder twice": dealt(1, 1, 2, 3),
            "reordered": dealt(2, 1, 3),
            "left open": dealt(1, 2, 3, sealed=b""),
            "offered unasked": dealt(1, 2, 3, offers=b"x"),
            "signed by another": dealt(1, 2, 3, signer=3),
        },
        culprit=2,
    ),
]

# -- survivors (C21 to C26, C29, S7) -----------------------------------------------------------------------------------

LIST = (1, 2, 3, 4)
STATEMENT = (SESSION, MODEL, LIST)
RING = GraphSpec(tuple(range(1, 13)), 4, bytes(32))
_PLACES = RING.build()._ring  # type: ignore[union-attr]


def signatures(*clients: int, over: tuple[Any, ...] = STATEMENT) -> list[m.SurvivorSignature]:
    return [m.SurvivorSignature(client, sign(client, "survivors", *over)) for client in clients]


def voted(found: list[m.SurvivorSignature], cohort: Cohort = SIGNED) -> tuple[Any, ...]:
    return (cohort.params, cohort.policy, STATEMENT, LIST, LIST, found)


def kept(*gone: int, variant: Variant = SPARSE_ACTIVE) -> tuple[Any, ...]:
    """Survivors when those at these places of the ring dropped out."""
    cohort = make_cohort(variant, 12, min_survivors=6)
    return (cohort.params, cohort.policy, RING, [c for place, c in enumerate(_PLACES) if place not in gone])


SURVIVORS = [
    Case(
        "C21",
        check.check_survivors,
        (PLAIN.params, (1, 2, 3, 4, 5), LIST, 4),
        {
            "repeated": (PLAIN.params, (1, 2, 3, 4, 5), (1, 2, 2, 3, 4), 4),
            "reordered": (PLAIN.params, (1, 2, 3, 4, 5), (1, 3, 2, 4), 4),
            "invented": (PLAIN.params, (1, 2, 3, 4), (1, 2, 3, 4, 5), 4),
        },
    ),
    Case(
        "C22",
        check.check_survivors,
        (SPARSE.params, (1, 2, 3, 4, 5), LIST, 4),
        {
            "one too few": (PLAIN.params, (1, 2, 3, 4, 5), (1, 2, 4), 4),
            "in a sparse graph": (SPARSE.params, (1, 2, 3, 4, 5), (1, 2, 4), 4),
        },
    ),
    Case(
        "C23",
        check.check_survivors,
        (PLAIN.params, (1, 2, 3, 4, 5), LIST, 1),
        {"left out": (PLAIN.params, (1, 2, 3, 4, 5), LIST, 5)},
    ),
    Case(
        "C24",
        check.check_same_survivors,
        (LIST, LIST),
        {"one less": (LIST, (1, 2, 3)), "one more": (LIST, (1, 2, 3, 4, 5)), "another": (LIST, (1, 2, 3, 5))},
    ),
    Case(
        "C25",
        check.check_survivor_signatures,
        voted(signatures(1, 2, 3, 4)),
        {
            "one too few": voted(signatures(1, 2, 3)),
            "repeated": voted(signatures(1, 2, 3, 3)),
            "reordered": voted(signatures(4, 3, 2, 1)),
            "of one who dropped": voted(signatures(1, 2, 3, 5)),
            "on another list": voted([*signatures(1, 2, 3), *signatures(4, over=(SESSION, MODEL, (1, 2, 3, 4, 5)))]),
            "on another model": voted([*signatures(1, 2, 3), *signatures(4, over=(SESSION, OTHER_MODEL, LIST))]),
            "in another session": voted([*signatures(1, 2, 3), *signatures(4, over=(bytes(32), MODEL, LIST))]),
            "unwanted": voted(signatures(1), PLAIN),
        },
    ),
    Case(
        "C26",
        check.check_partition,
        ((1, 2, 3, 4, 5), (1, 2, 4), (3, 5)),
        {
            "both": ((1, 2, 3, 4, 5), (1, 2, 4), (2, 3, 5)),
            "neither": ((1, 2, 3, 4, 5), (1, 2, 4), (5,)),
            "invented": ((1, 2, 3, 4, 5), (1, 2, 4), (3, 5, 6)),
            "repeated": ((1, 2, 3, 4, 5), (1, 2, 4), (3, 3, 5)),
            "reordered": ((1, 2, 3, 4, 5), (1, 2, 4), (5, 3)),
        },
    ),
    Case(
        "C29",
        check.check_connected,
        kept(0, 2, 4, 6, 8, 10),
        {"two in a row": kept(3, 4), "across the end of the ring": kept(0, 11)},
    ),
    Case(
        "S7",
        check.check_consistency_signature,
        (SIGNED.params, MEMBERS.roster, 3, STATEMENT, sign(3, "survivors", *STATEMENT)),
        {
            "on something else": (SIGNED.params, MEMBERS.roster, 3, STATEMENT, sign(3, "survivors", SESSION)),
            "for another use": (SIGNED.params, MEMBERS.roster, 3, STATEMENT, sign(3, "share-keys", *STATEMENT)),
            "of another": (SIGNED.params, MEMBERS.roster, 3, STATEMENT, sign(4, "survivors", *STATEMENT)),
            "none": (SIGNED.params, MEMBERS.roster, 3, STATEMENT, b""),
        },
        culprit=3,
    ),
]

# -- answers (S1 to S3, S6, S8 to S10, S12) ----------------------------------------------------------------------------

VECTORS = (VectorSpec("x", 5, 1 << 3), VectorSpec("odd", 3, 5))
CHUNK_STATEMENT = check.chunk_statement(SESSION, MODEL, 0, 0, bytes(32))


def chunk(vector: int, offset: int, payload: bytes) -> m.MaskedInput:
    return m.MaskedInput(vector, offset, payload, b"")


def answered(self_masks: tuple[int, ...], mask_keys: tuple[int, ...]) -> tuple[Any, ...]:
    revealed = [tuple(m.RevealedShare(dealer, bytes(33)) for dealer in ids) for ids in (self_masks, mask_keys)]
    return (3, m.Unmasking(*revealed, ()), (1, 2, 3), (4, 5))


ODD = {value: bitpack.pack(np.array([0, value, 4], dtype=np.uint64), 3) for value in (4, 5)}

ANSWERS = [
    Case("S1", check.check_sender, (PLAIN.params, 5), {"uninvited": (PLAIN.params, 6)}, culprit=6),
    Case("S2", check.check_in_phase, ((1, 2), 2, "ShareKeys"), {"out": ((1, 2), 3, "ShareKeys")}, culprit=3),
    Case("S3", check.check_same_again, (b"a", b"a", 4), {"another": (b"a", b"b", 4)}, culprit=4),
    Case(
        "S6",
        check.check_chunk,
        (VECTORS, (0, 0), chunk(0, 0, bytes(2)), 2),
        {
            "another vector": (VECTORS, (0, 0), chunk(1, 0, bytes(2)), 2),
            "another place": (VECTORS, (0, 0), chunk(0, 2, bytes(2)), 2),
            "after the last": (VECTORS, None, chunk(0, 0, bytes(2)), 2),
            "too long": (VECTORS, (0, 0), chunk(0, 0, bytes(3)), 2),
            "too short": (VECTORS, (0, 0), chunk(0, 0, bytes(1)), 2),
            "padding": (VECTORS, (0, 0), chunk(0, 0, b"\x00\x80"), 2),
            "a residue too large": (VECTORS, (1, 0), chunk(1, 0, ODD[5]), 2),
        },
        culprit=2,
    ),
    Case(
        "S8",
        check.check_answer,
        answered((1, 2, 3), (4, 5)),
        {
            "a self mask missing": answered((1, 2), (4, 5)),
            "a mask key missing": answered((1, 2, 3), (5,)),
            "repeated": answered((1, 2, 2, 3), (4, 5)),
            "reordered": answered((1, 3, 2), (4, 5)),
            "both of one": answered((1, 2, 3, 4), (4, 5)),
            "exchanged": answered((4, 5), (1, 2, 3)),
        },
        culprit=3,
    ),
    Case("S9", check.check_opening, (SESSION, SESSION, 3, 1), {"another": (SESSION, MODEL, 3, 1)}, culprit=3),
    Case(
        "S10",
        check.check_secret,
        (SESSION, SESSION, Secret(b"s"), 1),
        {"another": (SESSION, MODEL, Secret(b"s"), 1), "none": (SESSION, None, None, 1)},
        culprit=1,
    ),
    Case(
        "S12",
        check.check_chunk_signed,
        (SIGNED.params, MEMBERS.roster, 2, CHUNK_STATEMENT, sign(2, "masked-input", *CHUNK_STATEMENT)),
        {
            **{
                about: (SIGNED.params, MEMBERS.roster, 2, CHUNK_STATEMENT, sign(2, "masked-input", *statement))
                for about, statement in {
                    "another session": check.chunk_statement(bytes(32), MODEL, 0, 0, bytes(32)),
                    "another model": check.chunk_statement(SESSION, OTHER_MODEL, 0, 0, bytes(32)),
                    "another vector": check.chunk_statement(SESSION, MODEL, 1, 0, bytes(32)),
                    "another place": check.chunk_statement(SESSION, MODEL, 0, 1, bytes(32)),
                    "another payload": check.chunk_statement(SESSION, MODEL, 0, 0, SESSION),
                }.items()
            },
            "none": (SIGNED.params, MEMBERS.roster, 2, CHUNK_STATEMENT, b""),
            "unasked": (PLAIN.params, None, 2, CHUNK_STATEMENT, bytes(64)),
        },
        culprit=2,
    ),
]
