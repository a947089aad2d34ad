"""Removable noise: what a client refuses of dealers and of the server, and a server of dealers and holders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from protocols.pairwise import messages as m
from protocols.pairwise.noise import ShareTree
from protocols.primitives import shamir
from tests.vectors.cases.bad_shares import DealtOtherwise, resealed
from tests.vectors.cases.scenes import ME, Bad, curious, few, flip, item, noisy, noisy_ring, opened, seal
from tests.vectors.recording import Recording, change

AT, SHARES, ANSWER, QUESTION = f"MaskedInputRequest.to.{ME}", "3.ShareKeys", "3.Unmasking", "UnmaskingRequest"
SIZE = shamir.ELEMENT_BYTES
OPENED = 2
"""Number of the link that is opened in the scene, of two: one client is missing."""


def relayed() -> Iterator[Bad]:
    def bad(rule: str, what: str, about: str, scene: Any = noisy, culprit: int | None = None, **fields: Any) -> Bad:
        def changed(recording: Recording, request: Any) -> Any:
            first = request.relayed[0]
            found = {name: value(recording, first) for name, value in fields.items()}
            return change(request, relayed=item(request.relayed, 0, **found))

        return Bad(rule, what, about, scene, AT, changed, culprit)

    def sealed(shares: Any) -> Any:
        """A pair with other shares of noise, from client 3."""

        def made(recording: Recording, _: Any) -> bytes:
            seed, key, noise = opened(recording, 3, ME)
            pair = m.SharePair(3, ME, seed, key, shares(noise))
            return seal(recording, recording.read(AT)[0], 3, ME, msgspec.msgpack.encode(pair))

        return made

    yield bad("C17", "noise_commitment_missing", "The dealer committed to no noise.", noise_commitment=lambda *_: b"")
    yield bad("C17", "noise_commitment_short", "A commitment of 31 bytes.", noise_commitment=lambda *_: bytes(31))
    yield bad("C17", "noise_root_missing", "No hash of the shares of noise.", noise_shares_root=lambda *_: b"")
    yield bad("C17", "noise_unasked", "A commitment to noise in a round without.", curious,
              noise_commitment=lambda *_: bytes(32))  # fmt: skip
    yield bad("C18", "noise_share_missing", "One share of noise inside, of two.", sealed=sealed(lambda n: n[:SIZE]))
    yield bad(
        "C18", "noise_share_long", "The shares of noise inside are a byte too long.", sealed=sealed(lambda n: n + b"n")
    )
    yield bad("C19", "noise_share", "The dealer sealed another share of noise than it published.",
              culprit=3, sealed=sealed(lambda n: n[:SIZE] + bytes(SIZE)))  # fmt: skip
    yield bad("C19", "noise_shares_swapped", "The dealer sealed both shares of noise in the wrong order.",
              culprit=3, sealed=sealed(lambda n: n[SIZE:] + n[:SIZE]))  # fmt: skip
    yield bad("C19", "noise_root", "The dealer published another hash of its shares of noise.", culprit=3,
              noise_shares_root=lambda _, e: flip(e.noise_shares_root))  # fmt: skip
    yield bad("C19", "noise_commitment", "The server passes on another commitment: the signature covers it.",
              noisy_ring, noise_commitment=lambda _, e: flip(e.noise_commitment))  # fmt: skip


def signed() -> Iterator[Bad]:
    def two_nearby(recording: Recording, request: Any) -> Any:
        near = {entry.dealer for entry in recording.read(AT)[1].relayed} | {ME}
        signatures = [entry for entry in request.signatures if entry.client in near]
        return change(request, signatures=tuple(signatures[:2]))

    yield Bad("C25", "noise_two_nearby", "Two of this neighbourhood signed, as many as it takes; of all, three must.",
              noisy_ring, QUESTION, two_nearby)  # fmt: skip


def dealt() -> Iterator[Bad]:
    def bad(what: str, about: str, changed: Any, scene: Any = noisy) -> Bad:
        return Bad("S5", what, about, scene, SHARES, lambda _, q: changed(q), 3)

    yield bad("noise_commitment_missing", "No commitment to noise.", lambda q: change(q, noise_commitment=b""))
    yield bad("noise_root_missing", "No hash of one holder's shares of noise.",
              lambda q: change(q, dealt=item(q.dealt, 2, noise_shares_root=b"")))  # fmt: skip
    yield bad("noise_unasked", "A commitment to noise in a round without.",
              lambda q: change(q, noise_commitment=bytes(32)), few)  # fmt: skip


def answers() -> Iterator[Bad]:
    def bad(rule: str, what: str, about: str, noise: Any, scene: Any = noisy, after: bool = False) -> Bad:
        def changed(recording: Recording, answer: Any) -> Any:
            return change(answer, noise_shares=noise(recording, answer.noise_shares))

        return Bad(rule, what, about, scene, ANSWER, changed, 3, after=after)

    def first(**fields: Any) -> Any:
        return lambda _, e: item(e, 0, **{name: value(getattr(e[0], name)) for name, value in fields.items()})

    def link(dealer: int, number: int) -> Any:
        """The share that client 3 holds of another link, with its own path."""

        def made(recording: Recording, entries: Any) -> Any:
            session = recording.read(ANSWER)[0]
            tree = ShareTree(recording.given.params.cipher_suite, session, dealer, 3)
            share, path = tree.open(opened(recording, dealer, 3)[2], number)
            return item(entries, 0, share=share, path=path)

        return made

    def unasked(*_: Any) -> Any:
        return (m.RevealedNoise(2, bytes(SIZE), b""),)

    yield bad("S3", "noise", "Another share of noise than before.", first(share=flip), after=True)
    yield bad("S8", "noise_missing", "No shares of noise at all.", lambda *_: ())
    yield bad("S8", "noise_of_one_missing", "No share of one survivor's noise.", lambda _, e: e[1:])
    yield bad("S8", "noise_of_a_dropped", "A share of the noise of a dropped client.",
              lambda _, e: (*e[:3], change(e[2], dealer=9), *e[3:]))  # fmt: skip
    yield bad("S8", "noise_repeated", "A share of one survivor's noise twice.", lambda _, e: (e[0], *e))
    yield bad("S8", "noise_unasked", "A share of noise in a round without.", unasked, few)
    yield bad("S9", "noise_share_flipped", "One bit of a share of noise is wrong.", first(share=flip))
    yield bad("S9", "noise_path_flipped", "One bit of a path is wrong.", first(path=flip))
    yield bad("S9", "noise_path_short", "A byte of a path is missing.", first(path=lambda path: path[:-1]))
    yield bad("S9", "noise_path_missing", "A path is missing.", first(path=lambda path: b""))
    yield bad("S9", "noise_path_long", "A hash follows a path.", first(path=lambda path: path + bytes(32)))
    yield bad("S9", "noise_link_before", "A share of the link before the one that is opened.", link(2, OPENED - 1))


def dealers() -> Iterator[DealtOtherwise]:
    def other_links(shares: list[bytes], holder: int) -> list[bytes]:
        return [*shares[:2], shares[2][:SIZE] + shamir.encode_element(5 + holder)]

    yield DealtOtherwise("noise_commitment", "A survivor published the end of another chain than it dealt.", 3,
                         lambda _, q: change(q, noise_commitment=flip(q.noise_commitment)), noisy)  # fmt: skip
    yield DealtOtherwise("noise_link", "A survivor dealt another link than its chain has.", 5,
                         resealed(5, other_links), noisy)  # fmt: skip


def cases() -> list[Any]:
    return [*relayed(), *signed(), *dealt(), *answers(), *dealers()]
