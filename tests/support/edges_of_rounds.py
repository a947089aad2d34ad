"""Edges of what a client refuses of a round and of a key directory, and of what a server refuses of keys."""

from __future__ import annotations

from typing import Any

from protocols.pairwise import LocalPolicy, VectorSpec
from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.suites import CLASSICAL
from tests.support.cohort import ACTIVE, JOINT, SPARSE_ACTIVE, SPARSE_CURIOUS, make_cohort
from tests.support.edges import (
    MEMBERS,
    NOBODY,
    PLAIN,
    SESSION,
    SIGNED,
    SPARSE,
    Case,
    instead,
    keys,
    round_of,
    sent_keys,
    sign,
)
from tests.support.scenarios import BROKEN_SUITE

# -- the round (C1 to C9, C30) -----------------------------------------------------------------------------------------

ALIEN = make_cohort(ACTIVE, ids=(1, 2, 3, 4, 6)).policy

ROUND = [
    Case(
        "C1",
        check.check_suite,
        (round_of(), LocalPolicy()),
        {"test suite": (round_of(suite=BROKEN_SUITE), LocalPolicy())},
    ),
    Case(
        "C2",
        check.check_cohort,
        (round_of(), LocalPolicy(min_clients=5)),
        {"one too few": (round_of(), LocalPolicy(min_clients=6))},
    ),
    Case(
        "C3",
        check.check_threshold,
        (round_of(), LocalPolicy(min_threshold=4, colluders=3)),
        {
            "below the own minimum": (round_of(), LocalPolicy(min_threshold=5)),
            "as many colluders": (round_of(), LocalPolicy(colluders=4)),
            "2t = n + c": (round_of(ACTIVE), LocalPolicy(colluders=3)),
            "2t < n + c": (round_of(ACTIVE, threshold=3), LocalPolicy()),
        },
    ),
    Case(
        "C3",
        check.check_threshold,
        (round_of(ACTIVE), LocalPolicy(colluders=2)),
        {
            "few survivors in a sparse graph": (SPARSE.params, LocalPolicy(min_threshold=5)),
            "all neighbours corrupt": (SPARSE.params, LocalPolicy(colluders=3)),
            "colluders are all that survive": (SPARSE.params, LocalPolicy(colluders=4)),
            "the ring can be cut": (make_cohort(SPARSE_CURIOUS, degree=2).params, LocalPolicy()),
        },
    ),
    Case(
        "C4",
        check.check_hidden_inputs,
        (round_of(), LocalPolicy(colluders=2)),
        {
            "one hidden input": (round_of(), LocalPolicy(colluders=3)),
            "somebody is always curious": (round_of(threshold=2), LocalPolicy(colluders=0)),
            "in a sparse graph": (SPARSE.params, LocalPolicy(colluders=3)),
        },
    ),
    Case(
        "C5",
        check.check_adversary,
        (round_of(ACTIVE), LocalPolicy(adversary="active")),
        {"downgrade": (round_of(), LocalPolicy(adversary="active"))},
    ),
    Case("C6", check.check_invited, (round_of(), 5), {"not invited": (round_of(), 6)}),
    Case(
        "C7",
        check.check_roster,
        (SIGNED.params, MEMBERS),
        {
            "none known": (SIGNED.params, LocalPolicy()),
            "another": (SIGNED.params, ALIEN),
            "a stranger": (instead(SIGNED.params, clients=(1, 2, 3, 4, 6)), MEMBERS),
        },
    ),
    Case(
        "C8",
        check.check_upload,
        (round_of(vectors=[VectorSpec("x", 7, 1 << 12)]), LocalPolicy(max_packed_bytes=11)),
        {
            "one byte too many": (round_of(vectors=[VectorSpec("x", 7, 1 << 12)]), LocalPolicy(max_packed_bytes=10)),
            "in all vectors": (
                round_of(vectors=[VectorSpec("x", 7, 1 << 12), VectorSpec("y", 1, 2)]),
                LocalPolicy(max_packed_bytes=11),
            ),
        },
    ),
    Case(
        "C9",
        check.check_task,
        (round_of(), LocalPolicy(studies=("tests",), task=bytes(32))),
        {
            "another study": (round_of(), LocalPolicy(studies=("test", "tests2"))),
            "no study": (round_of(), LocalPolicy(studies=())),
            "another task": (round_of(), LocalPolicy(task=SESSION)),
        },
    ),
    Case(
        "C30",
        check.check_attempts,
        (round_of(JOINT, attempt=3), LocalPolicy(max_attempts=4)),
        {"one too many": (round_of(JOINT, attempt=4), LocalPolicy(max_attempts=4))},
    ),
]

# -- the directory (C10 to C14, C27, C28, S4, S11) ---------------------------------------------------------------------

ENTRIES = [keys(client, SIGNED) for client in SIGNED.ids]
BARE = [keys(client, PLAIN) for client in PLAIN.ids]
LOW_ORDER, SECOND_FORM = bytes(32), (2**255 - 19 + 9).to_bytes(32, "little")
KEY = CLASSICAL.agreement.load(b"\x07" * 32)
PARTS = tuple(m.RevealedPart(client, bytes([client]) * 32) for client in (1, 2, 3))
COMMITTED = {part.client: check.part_commitment(SPARSE.params, part.client, part.part) for part in PARTS}


def advertised(**changes: Any) -> tuple[Any, ...]:
    """The arguments of S4 for client 1's keys, changed, and signed anew unless the signature was changed."""
    entry = instead(ENTRIES[0], **changes)
    if "signature" not in changes:
        statement = (SIGNED.params.hash(), 1, entry.enc_key, entry.mask_key, entry.commitment)
        entry = instead(entry, signature=sign(1, "advertise-keys", *statement))
    return (SIGNED.params, MEMBERS.roster, 1, sent_keys(entry), {ENTRIES[1].enc_key, ENTRIES[1].mask_key})


DIRECTORY = [
    Case(
        "C10",
        check.check_directory_ids,
        (PLAIN.params, BARE),
        {
            "repeated": (PLAIN.params, [BARE[0], *BARE]),
            "reordered": (PLAIN.params, BARE[::-1]),
            "uninvited": (instead(PLAIN.params, clients=(1, 2, 3, 4)), BARE),
        },
    ),
    Case(
        "C11",
        check.check_own_entry,
        (ENTRIES, 1, sent_keys(ENTRIES[0])),
        {
            "left out": (ENTRIES[1:], 1, sent_keys(ENTRIES[0])),
            "under another id": ([instead(ENTRIES[0], client=2), *ENTRIES[2:]], 1, sent_keys(ENTRIES[0])),
            **{
                name: ([instead(ENTRIES[0], **{name: bytes(32)}), *ENTRIES[1:]], 1, sent_keys(ENTRIES[0]))
                for name in ("enc_key", "mask_key", "commitment", "signature")
            },
        },
    ),
    Case(
        "C12",
        check.check_directory_size,
        (PLAIN.params, PLAIN.policy, BARE[:4]),
        {
            "one too few": (PLAIN.params, PLAIN.policy, BARE[:3]),
            "a sparse graph of fewer": (
                make_cohort(SPARSE_ACTIVE, n=8, threshold=4).params,
                LocalPolicy(colluders=3),
                BARE,
            ),
        },
    ),
    Case(
        "C13",
        check.check_directory_keys,
        (PLAIN.params, BARE),
        {
            "one key for both uses": (PLAIN.params, [instead(BARE[0], enc_key=BARE[0].mask_key), *BARE[1:]]),
            "two clients with a mask key": (PLAIN.params, [instead(BARE[0], mask_key=BARE[4].mask_key), *BARE[1:]]),
            "a key in two roles": (PLAIN.params, [instead(BARE[0], mask_key=BARE[4].enc_key), *BARE[1:]]),
            "a short key": (PLAIN.params, [instead(BARE[0], mask_key=bytes(31)), *BARE[1:]]),
            "a long key": (PLAIN.params, [instead(BARE[0], enc_key=bytes(33)), *BARE[1:]]),
        },
    ),
    Case(
        "C14",
        check.check_directory_signatures,
        (SIGNED.params, MEMBERS, ENTRIES, 1),
        {
            "flipped": (
                SIGNED.params,
                MEMBERS,
                [*ENTRIES[:4], instead(ENTRIES[4], signature=ENTRIES[4].signature[:-1] + b"\0")],
                1,
            ),
            "none": (SIGNED.params, MEMBERS, [*ENTRIES[:4], instead(ENTRIES[4], signature=b"")], 1),
            "of another round": (instead(SIGNED.params, round_index=1), MEMBERS, ENTRIES, 1),
            "of another member": (
                SIGNED.params,
                MEMBERS,
                [*ENTRIES[:4], instead(ENTRIES[4], signature=ENTRIES[3].signature)],
                1,
            ),
            "keys exchanged": (
                SIGNED.params,
                MEMBERS,
                [*ENTRIES[:4], instead(ENTRIES[4], enc_key=ENTRIES[4].mask_key, mask_key=ENTRIES[4].enc_key)],
                1,
            ),
            "not on the roster": (SIGNED.params, ALIEN, ENTRIES, 1),
            "no roster": (SIGNED.params, LocalPolicy(), ENTRIES, 1),
            "unwanted": (PLAIN.params, PLAIN.policy, ENTRIES, 1),
        },
        culprit=NOBODY,
    ),
    Case(
        "C27",
        check.check_initiated,
        (KEY, BARE[0].enc_key, 3),
        {"low order": (KEY, LOW_ORDER, 3), "a second form": (KEY, SECOND_FORM, 3)},
        culprit=3,
    ),
    Case(
        "C27",
        check.check_responded,
        (KEY, BARE[0].enc_key, b"", 3),
        {"low order": (KEY, LOW_ORDER, b"", 3), "an offer": (KEY, BARE[0].enc_key, b"x", 3)},
        culprit=3,
    ),
    Case(
        "C28",
        check.check_parts,
        (SPARSE.params, COMMITTED, PARTS),
        {
            "missing": (SPARSE.params, COMMITTED, PARTS[:2]),
            "repeated": (SPARSE.params, COMMITTED, (*PARTS, PARTS[2])),
            "reordered": (SPARSE.params, COMMITTED, PARTS[::-1]),
            "invented": (SPARSE.params, COMMITTED, (*PARTS, m.RevealedPart(4, bytes(32)))),
            "another": (SPARSE.params, COMMITTED, (*PARTS[:2], m.RevealedPart(3, bytes(32)))),
            "another's": (SPARSE.params, COMMITTED, (*PARTS[:2], m.RevealedPart(3, PARTS[1].part))),
            "unasked": (SPARSE.params, {}, PARTS),
        },
        culprit=NOBODY,
    ),
    Case(
        "S11",
        check.check_part,
        (SPARSE.params, COMMITTED[2], 2, PARTS[1].part),
        {
            "another": (SPARSE.params, COMMITTED[2], 2, bytes(32)),
            "another's": (SPARSE.params, COMMITTED[2], 3, PARTS[1].part),
            "none": (SPARSE.params, COMMITTED[2], 2, b""),
            "unasked": (SPARSE.params, b"", 2, PARTS[1].part),
        },
    ),
    Case(
        "S4",
        check.check_advertised_keys,
        advertised(),
        {
            "one key for both uses": advertised(enc_key=ENTRIES[0].mask_key),
            "enc key in use": advertised(enc_key=ENTRIES[1].enc_key),
            "mask key in use": advertised(mask_key=ENTRIES[1].enc_key),
            "enc key of low order": advertised(enc_key=LOW_ORDER),
            "mask key of low order": advertised(mask_key=LOW_ORDER),
            "mask key in a second form": advertised(mask_key=SECOND_FORM),
            "short": advertised(mask_key=bytes(31)),
            "commitment unasked": advertised(commitment=bytes(32)),
            "unsigned": advertised(signature=b""),
            "signed by another": advertised(signature=ENTRIES[1].signature),
        },
        culprit=1,
    ),
]
