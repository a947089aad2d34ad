"""What every key, hash, signature and associated data is bound to: change one thing, and it is another.

Most of these stand behind each other (a share of another session neither has the key nor the associated data nor the
hash of this one), so that an attack would not notice if one of them forgot something. This does.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import msgspec
import pytest

from protocols import Secret
from protocols.pairwise import VectorSpec, masking, share_keys
from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.pairwise.advertise_keys import session_id
from protocols.pairwise.consistency_check import survivor_statement
from protocols.pairwise.noise import Chain, ShareTree
from protocols.pairwise.reveal_randomness import graph_of, joint_seed
from protocols.suites import CLASSICAL, Suite
from tests.support.cohort import ACTIVE, CURIOUS, MODEL, OTHER_MODEL, SPARSE_CURIOUS, make_cohort
from tests.support.scenarios import BROKEN_SUITE

pytestmark = pytest.mark.fast

ONE, TWO = b"\1" * 32, b"\2" * 32
OTHER_SUITE = Suite(0xFF02, "the same primitives under another code", CLASSICAL.agreement)
PARAMS, SIGNED, SPARSE = make_cohort(CURIOUS).params, make_cohort(ACTIVE).params, make_cohort(SPARSE_CURIOUS).params
SUITES = [CLASSICAL, OTHER_SUITE]
SPECS = [VectorSpec("x", 4, 8), VectorSpec("y", 4, 8), VectorSpec("x", 5, 8), VectorSpec("x", 4, 16)]
PARTS = tuple(m.RevealedPart(client, bytes([client]) * 32) for client in (1, 2))
ELEMENTS = bytes(33) + b"\1" * 33
ENTRY = m.AdvertisedKeys(1, ONE, TWO, b"", b"")


def mask_key(cipher: Suite, session: bytes, model: bytes, seed: bytes, usage: str, clients: Any, spec: Any) -> bytes:
    term = masking.MaskTerm(Secret(seed), usage, clients, negative=False)
    return masking.MaskContext(cipher, session, model).key(term, spec)


def revealed(secret: Secret) -> bytes:
    return secret.reveal()


DERIVED: dict[str, tuple[Callable[..., bytes], list[list[Any]]]] = {
    "key of a share channel": (
        lambda *bound: revealed(share_keys.channel_key(*bound)),
        [SUITES, [ONE, TWO], [ONE, TWO], [1, 2, 3], [4, 5, 1]],
    ),
    "associated data of a sealed pair": (share_keys.associated_data, [SUITES, [ONE, TWO], [1, 2, 3], [4, 5, 1]]),
    "seed of a pair": (
        lambda *bound: revealed(masking.pairwise_seed(*bound)),
        [SUITES, [ONE, TWO], [ONE, TWO], [1, 2], [3, 4]],
    ),
    "key of a mask": (
        mask_key,
        [SUITES, [ONE, TWO], [MODEL, OTHER_MODEL], [ONE, TWO], ["self-mask", "pairwise-mask"], [(1,), (2,)], SPECS],
    ),
    "hash of a share": (
        check.share_hash,
        [SUITES, [ONE, TWO], ["self-mask", "mask-key"], [1, 2, 3], [4, 5, 1], [ONE, TWO]],
    ),
    "hash of a self-mask seed": (check.self_mask_hash, [SUITES, [ONE, TWO], [1, 2], [ONE, TWO]]),
    "link of noise": (
        lambda suite, session, client, number, link: Chain(suite, session, client, number, number, link).commitment(),
        [SUITES, [ONE, TWO], [1, 2], [1, 2], [Secret(ONE), Secret(TWO)]],
    ),
    "seed of a component of noise": (
        lambda suite, session, client, number, link: revealed(
            Chain(suite, session, client, number, number, link).seeds()[0]
        ),
        [SUITES, [ONE, TWO], [1, 2], [1, 2], [Secret(ONE), Secret(TWO)]],
    ),
    "root over shares of noise": (
        lambda suite, session, dealer, holder, shares: ShareTree(suite, session, dealer, holder).root(shares),
        [SUITES, [ONE, TWO], [1, 2, 3], [4, 5, 1], [ELEMENTS, ELEMENTS[:33], ELEMENTS[33:] + ELEMENTS[:33]]],
    ),
    "commitment to a part": (check.part_commitment, [[PARAMS, SIGNED], [1, 2], [ONE, TWO]]),
    "joint seed": (joint_seed, [[PARAMS], [ONE, TWO], [PARTS, PARTS[:1], PARTS[::-1]]]),
    "seed of a graph": (
        lambda params, clients, seed: graph_of(params, clients, seed).seed,
        [[SPARSE], [(1, 2, 3)], [ONE, TWO]],
    ),
}


@pytest.mark.parametrize("name", DERIVED)
def test_everything_derived_depends_on_everything_it_is_bound_to(name: str) -> None:
    derive, choices = DERIVED[name]
    first = [options[0] for options in choices]
    seen = {derive(*first): "as it is"}
    for place, options in enumerate(choices):
        for option in options[1:]:
            value = derive(*first[:place], option, *first[place + 1 :])
            assert value not in seen, f"{option} in place {place} gives the same as {seen[value]}"
            seen[value] = f"{option} in place {place}"


STATEMENTS: dict[str, tuple[Callable[..., Any], list[list[Any]]]] = {
    "survivors": (survivor_statement, [[ONE, TWO], [MODEL, OTHER_MODEL], [(1, 2), (1, 2, 3), (1, 3)]]),
    "share-keys": (
        check.dealt_statement,
        [
            [ONE, TWO],
            [1, 2],
            [3, 4],
            [(ONE, b""), (TWO, b""), (ONE, TWO), (ONE, ONE)],
            [(ONE, TWO, b""), (TWO, ONE, b""), (ONE, TWO, ONE)],
            [b"", b"o"],
            [b"s", b"t"],
        ],
    ),
    "masked-input": (check.chunk_statement, [[ONE, TWO], [MODEL, OTHER_MODEL], [0, 1], [0, 1], [ONE, TWO]]),
}


@pytest.mark.parametrize("usage", STATEMENTS)
def test_every_signature_covers_everything_it_speaks_of(usage: str) -> None:
    make, choices = STATEMENTS[usage]
    first = [options[0] for options in choices]
    signed = {CLASSICAL.statement(usage, *make(*first)), OTHER_SUITE.statement(usage, *make(*first))}
    signed.add(CLASSICAL.statement("another use", *make(*first)))
    expected = 3
    for place, options in enumerate(choices):
        for option in options[1:]:
            signed.add(CLASSICAL.statement(usage, *make(*first[:place], option, *first[place + 1 :])))
            expected += 1
    assert len(signed) == expected


def test_the_signature_on_keys_covers_round_client_keys_and_commitment() -> None:
    sent = make_cohort(ACTIVE).client(1).state.advertised
    known = make_cohort(ACTIVE).roster
    assert check.directory.advertised_keys_signed(SIGNED, known, 1, sent)
    for change in ({"enc_key": ONE}, {"mask_key": ONE}, {"commitment": ONE}, {"signature": bytes(64)}):
        changed = msgspec.structs.replace(sent, **change)
        assert not check.directory.advertised_keys_signed(SIGNED, known, 1, changed), change
    swapped = m.AdvertiseKeys(sent.mask_key, sent.enc_key, sent.commitment, sent.signature)
    assert not check.directory.advertised_keys_signed(SIGNED, known, 1, swapped)
    assert not check.directory.advertised_keys_signed(SIGNED, known, 2, sent)
    later = msgspec.structs.replace(SIGNED, round_index=1)
    assert not check.directory.advertised_keys_signed(later, known, 1, sent)


def test_a_session_is_its_parameters_and_every_key_in_order() -> None:
    two = msgspec.structs.replace(ENTRY, client=2)
    directories = [(ENTRY, two), (two, ENTRY), (ENTRY,), (ENTRY, two, msgspec.structs.replace(ENTRY, client=3))]
    for change in ({"client": 9}, {"enc_key": TWO}, {"mask_key": ONE}, {"commitment": ONE}, {"signature": bytes(64)}):
        directories.append((msgspec.structs.replace(ENTRY, **change), two))
    sessions = {session_id(PARAMS, directory) for directory in directories}
    sessions.add(session_id(SIGNED, directories[0]))
    assert len(sessions) == len(directories) + 1


def test_the_hash_of_the_parameters_covers_every_field() -> None:
    changes: dict[str, Any] = {
        "study": "another",
        "round_index": 1,
        "clients": (1, 2, 3, 5),
        "threshold": 4,
        "vectors": (VectorSpec("x", 5, 1 << 16),),
        "task": ONE,
        "attempt": 1,
        "roster": ONE,
        "adversary": "active",
        "protocol": "secagg+",
        "degree": 3,
        "min_survivors": 3,
        "joint_randomness": True,
        "noise_components": 1,
        "suite": BROKEN_SUITE,
    }
    assert set(changes) == set(PARAMS.__struct_fields__)
    hashes = {PARAMS.hash()}
    for name, value in changes.items():
        also = {"roster": ONE} if name == "adversary" else {}
        hashes.add(msgspec.structs.replace(PARAMS, **{name: value, **also}).hash())
    assert len(hashes) == len(changes) + 1
    specs = {msgspec.structs.replace(PARAMS, vectors=(spec,)).hash() for spec in SPECS}
    assert len(specs) == len(SPECS)


def test_both_ends_of_a_pair_derive_the_same_and_opposite_signs() -> None:
    for one, other in combinations((1, 2, 77, 65_535), 2):
        seeds = [masking.pairwise_seed(CLASSICAL, ONE, TWO, *pair) for pair in ((one, other), (other, one))]
        assert seeds[0] == seeds[1]
        left, right = (masking.pairwise_mask(*pair, seeds[0]) for pair in ((one, other), (other, one)))
        assert (left.clients, left.usage) == (right.clients, right.usage)
        # Bonawitz et al. 2017, figure 4, round 2: the lower id adds, the higher subtracts.
        assert (left.negative, right.negative) == (False, True)
        assert left.negated().negative
    assert not masking.self_mask(1, Secret(ONE)).negative
