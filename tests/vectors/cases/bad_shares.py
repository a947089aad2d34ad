"""Rules C15 to C19 at a client, S5 at the server, and S10 for dealers who deal something else than they publish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import msgspec

from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.primitives import shamir
from tests.support.entropy import InsecureSeededEntropy
from tests.vectors import document as doc
from tests.vectors.cases.scenes import (
    ME,
    Bad,
    active,
    curious,
    cut,
    few,
    few_active,
    flip,
    item,
    opened,
    relay,
    ring,
    seal,
    sparse,
    unsealed,
)
from tests.vectors.recording import Change, Recording, change, identity

AT, SHARES = f"MaskedInputRequest.to.{ME}", "3.ShareKeys"
OTHER_SESSION = bytes(range(32))
ZERO_SHARE = bytes(shamir.ELEMENT_BYTES)


def session(recording: Recording) -> bytes:
    return recording.read(AT)[0]


def dealt_to(recording: Recording, dealer: int, holder: int) -> m.DealtShares:
    (entry,) = [entry for entry in recording.read(f"{dealer}.ShareKeys")[1].dealt if entry.holder == holder]
    return entry


def who_shared() -> Iterator[Bad]:
    def bad(rule: str, what: str, about: str, shared: Any, scene: Any = curious) -> Bad:
        return Bad(rule, what, about, scene, AT, lambda _, q: change(q, shared=shared(q.shared)))

    yield bad("C15", "reordered", "Two clients change places.", lambda s: (s[0], s[2], s[1], *s[3:]))
    yield bad("C15", "repeated", "A client stands there twice.", lambda s: (*s, s[-1]))
    yield bad("C15", "invented", "A client that advertised no keys.", lambda s: (*s, 14))
    yield bad("C15", "left_out", "This client is left out, which has sent shares.", lambda s: s[1:])
    yield bad("C16", "two", "Two shared keys, three must stay.", lambda s: s[:2])
    yield bad("C16", "sparse_five", "Five shared keys, six must stay.", lambda s: s[:5], sparse)


def what_is_relayed() -> Iterator[Bad]:
    def bad(what: str, about: str, relayed: Any, scene: Any = curious) -> Bad:
        return Bad("C17", what, about, scene, AT, lambda r, q: change(q, relayed=relayed(r, q.relayed)))

    def stranger(recording: Recording, relayed: Any) -> Any:
        """An entry of a client that is no neighbour."""
        near = {entry.dealer for entry in relayed} | {ME}
        other = next(client for client in recording.given.params.clients if client not in near)
        return tuple(sorted((*relayed, change(relayed[0], dealer=other)), key=lambda entry: entry.dealer))

    yield bad("missing", "The shares of a client that shared keys are missing.", lambda _, e: e[1:])
    yield bad("reordered", "Two entries change places.", lambda _, e: (e[1], e[0], *e[2:]))
    yield bad("repeated", "One entry stands there twice.", lambda _, e: (e[0], *e))
    yield bad("uninvited", "Shares of a client that shared no keys.", lambda _, e: (*e, change(e[0], dealer=14)))
    yield bad("own", "Shares of this client itself.", lambda _, e: (change(e[0], dealer=ME), *e))
    yield bad("sealed_long", "A sealed pair that is longer than one can be.",
              lambda _, e: item(e, 0, sealed=bytes(m.most_sealed(0) + 1)))  # fmt: skip
    yield bad("sparse_no_neighbour", "Shares of a client that is no neighbour.", stranger, sparse)
    yield bad("sparse_missing", "The shares of a neighbour are missing.", lambda _, e: e[:-1], sparse)


def sealed_wrongly() -> Iterator[Bad]:
    """The first entry, from client 3, has other sealed bytes. A dishonest client 3 seals what it likes."""

    def bad(what: str, about: str, sealed: Any) -> Bad:
        def changed(recording: Recording, request: Any) -> Any:
            other = sealed(recording, request.relayed[0].sealed)
            return change(request, relayed=item(request.relayed, 0, sealed=other))

        return Bad("C18", what, about, curious, AT, changed)

    def pair(dealer: int, holder: int) -> Any:
        return lambda r, _: seal(r, session(r), 3, ME, msgspec.msgpack.encode(
            m.SharePair(dealer, holder, *opened(r, 3, ME))))  # fmt: skip

    def padded(recording: Recording, _: Any) -> bytes:
        return seal(recording, session(recording), 3, ME,
                    msgspec.msgpack.encode(m.SharePair(3, ME, *opened(recording, 3, ME))) + b"\xc0")  # fmt: skip

    yield bad("flipped", "One bit of the ciphertext is wrong.", lambda _, s: flip(s, 30))
    yield bad("nonce_flipped", "One bit of the nonce is wrong.", lambda _, s: flip(s, 0))
    yield bad("tag_flipped", "One bit of the tag is wrong.", lambda _, s: flip(s, len(s) - 1))
    yield bad("tag_truncated", "The tag lacks its last byte.", lambda _, s: s[:-1])
    yield bad("tag_missing", "The tag is missing.", lambda _, s: s[:-16])
    yield bad("too_short", "Shorter than a nonce and a tag.", lambda _, s: s[:27])
    yield bad("empty", "Nothing at all.", lambda *_: b"")
    yield bad("other_direction", "What this client had sealed to the dealer comes back: a reflection.",
              lambda r, _: dealt_to(r, ME, 3).sealed)  # fmt: skip
    yield bad("other_holder", "What the dealer had sealed to client 5.", lambda r, _: dealt_to(r, 3, 5).sealed)
    yield bad("other_dealer", "What client 5 had sealed to this client.", lambda r, _: dealt_to(r, 5, ME).sealed)
    yield bad("other_session", "The same pair, sealed in another session: a replay.",
              lambda r, _: seal(r, OTHER_SESSION, 3, ME, msgspec.msgpack.encode(
                  m.SharePair(3, ME, *opened(r, 3, ME)))))  # fmt: skip
    yield bad("names_other_dealer", "The pair inside names another dealer.", pair(5, ME))
    yield bad("names_other_holder", "The pair inside names another holder.", pair(3, 5))
    yield bad("no_pair", "Not a pair inside.", lambda r, _: seal(r, session(r), 3, ME, b"\xc0"))
    yield bad("trailing", "A byte follows the pair inside.", padded)
    yield bad("share_short", "A share inside has 32 bytes.", lambda r, _: seal(
        r, session(r), 3, ME, msgspec.msgpack.encode((3, ME, bytes(32), bytes(33), b""))))  # fmt: skip


def sealed_wrongly_and_signed() -> Iterator[Bad]:
    """In an active round the dealer's signature covers the sealed bytes: it is named."""

    def changed(recording: Recording, request: Any) -> Any:
        honest = request.relayed[0]
        sealed, hashes = flip(honest.sealed, 30), honest.hashes
        statement = check.dealt_statement(session(recording), 3, ME, honest.commitments, hashes, b"", sealed)
        signature = recording.given.params.cipher_suite.sign(identity(3), "share-keys", *statement)
        return change(request, relayed=item(request.relayed, 0, sealed=sealed, signature=signature))

    yield Bad("C18", "signed", "The dealer sealed what does not open, and signed it.", active, AT, changed, 3)


def published_otherwise() -> Iterator[Bad]:
    def bad(what: str, about: str, entry: Any, scene: Any = curious, culprit: int | None = None) -> Bad:
        def changed(recording: Recording, request: Any) -> Any:
            other = entry(recording, request.relayed[0])
            return change(request, relayed=(other, *request.relayed[1:]))

        return Bad("C19", what, about, scene, AT, changed, culprit)

    def resealed(shares: Any) -> Any:
        """Another pair under the hashes (and the signature) of the honest one."""

        def entry(recording: Recording, honest: Any) -> Any:
            made = relay(recording, session(recording), 3, ME, shares(*opened(recording, 3, ME)), honest.commitments)
            return change(honest, sealed=made.sealed)

        return entry

    def signed_by(signer: int, **fields: Any) -> Any:
        """The honest entry with a signature of another member, or under other statements."""

        def entry(recording: Recording, honest: Any) -> Any:
            hashes = honest.hashes
            about = {"session": session(recording), "dealer": 3, "holder": ME, **fields}
            statement = check.dealt_statement(
                **about, commitments=honest.commitments, hashes=hashes, offers=b"", sealed=honest.sealed
            )
            cipher = recording.given.params.cipher_suite
            return change(honest, signature=cipher.sign(identity(signer), "share-keys", *statement))

        return entry

    yield bad("self_mask_share", "The dealer sealed another share of its self-mask seed than it published.",
              resealed(lambda _, k, n: (ZERO_SHARE, k, n)), culprit=3)  # fmt: skip
    yield bad("mask_key_share", "The dealer sealed another share of its mask key than it published.",
              resealed(lambda s, _, n: (s, ZERO_SHARE, n)), culprit=3)  # fmt: skip
    yield bad("shares_swapped", "The dealer sealed both shares in the wrong order.",
              resealed(lambda s, k, n: (k, s, n)), culprit=3)  # fmt: skip
    yield bad("self_mask_share_hash", "The dealer published another hash.",
              lambda _, e: change(e, self_mask_share_hash=flip(e.self_mask_share_hash)), culprit=3)  # fmt: skip
    yield bad("mask_key_share_hash", "The dealer published another hash.",
              lambda _, e: change(e, mask_key_share_hash=flip(e.mask_key_share_hash)), culprit=3)  # fmt: skip
    yield bad("tampered_hash", "The server passes on another hash: the signature covers it, and nobody is named.",
              lambda _, e: change(e, mask_key_share_hash=flip(e.mask_key_share_hash)), active)  # fmt: skip
    yield bad("tampered_sealed", "The server passes on other sealed bytes: the signature covers them.",
              lambda _, e: change(e, sealed=flip(e.sealed, 30)), active)  # fmt: skip
    yield bad("signature_flipped", "A wrong signature.", lambda _, e: change(e, signature=flip(e.signature)), active)
    yield bad("signature_missing", "No signature in an active round.", lambda _, e: change(e, signature=b""), active)
    yield bad("seed_hash", "The server passes on another hash of the self-mask seed: the signature covers it.",
              lambda _, e: change(e, self_mask_hash=flip(e.self_mask_hash)), active)  # fmt: skip
    yield bad("signed_by_another", "Another member signed the dealer's shares.", signed_by(5), active)
    yield bad("signed_for_another", "The dealer's signature for client 5.", signed_by(3, holder=5), active)
    yield bad("signed_elsewhere", "The dealer's signature in another session.", signed_by(3, session=bytes(32)), active)
    yield bad("unwanted_signature", "A signature in a round without identities.",
              lambda _, e: change(e, signature=bytes(64)))  # fmt: skip


def offers() -> Iterator[Bad]:
    def offered(_: Any, request: Any) -> Any:
        return change(request, relayed=item(request.relayed, 0, offers=bytes(32)))

    about = "An offer for a pairwise mask, in a suite without offers."
    yield Bad("C17", "offer_to_the_responder", about, curious, "MaskedInputRequest.to.5", offered, party=5)
    yield Bad("C17", "offer_to_the_initiator", about, curious, AT, offered)


def dealt_to_server() -> Iterator[Bad]:
    def bad(what: str, about: str, dealt: Any, scene: Any = few) -> Bad:
        return Bad("S5", what, about, scene, SHARES, lambda r, q: change(q, dealt=dealt(r, q.dealt)), 3)

    def own(place_of: Any, **fields: Any) -> Any:
        """Other values in the entry at the place of a holder."""
        return lambda _, e: item(e, [entry.holder for entry in e].index(place_of), **fields)

    yield bad("missing", "No shares for one client.", lambda _, e: e[:-1])
    yield bad("all_missing", "No shares at all.", lambda *_: ())
    yield bad("own_missing", "No entry for the dealer itself.", lambda _, e: (e[0], *e[2:]))
    yield bad("reordered", "Two entries change places.", lambda _, e: e[::-1])
    yield bad("repeated", "One entry stands there twice.", lambda _, e: (e[0], *e))
    yield bad("uninvited", "Shares for a client that advertised no keys.", lambda _, e: (*e, change(e[-1], holder=14)))
    yield bad("own_sealed", "The dealer's own shares are sealed.", own(3, sealed=bytes(100)))
    yield bad("unsealed", "Another client's shares are not there.", own(5, sealed=b""))
    yield bad(
        "sealed_long", "A sealed pair that is longer than one can be.", own(5, sealed=bytes(m.most_sealed(0) + 1))
    )
    yield bad("offers", "Offers in a suite without.", own(5, offers=bytes(32)))
    yield bad("sparse_missing", "No shares for a neighbour.", lambda _, e: e[1:], ring)
    yield bad(
        "signature_flipped", "A wrong signature.", lambda _, e: item(e, 2, signature=flip(e[2].signature)), active
    )
    yield bad("signature_missing", "No signature in an active round.", own(5, signature=b""), few_active)
    yield bad("signatures_swapped", "The signatures for two holders change places.",
              lambda _, e: item(item(e, 0, signature=e[2].signature), 2, signature=e[0].signature),
              few_active)  # fmt: skip
    yield bad("unwanted_signature", "A signature in a round without identities.", own(5, signature=bytes(64)))


class DealtOtherwise:
    """S10: every holder was content with its shares, and the secret that they open is not the dealer's."""

    def __init__(
        self, what: str, about: str, dealer: int, tamper: Change, scene: Callable[[], Recording] = few
    ) -> None:
        self.name = f"bad_S10_{what}"
        self.about, self.dealer, self.tamper, self.scene = about, dealer, tamper, scene

    def write(self) -> doc.Document:
        recording = Recording(self.scene().given, {f"{self.dealer}.ShareKeys": self.tamper}).try_run({9: 2})
        mine = [operation for operation in recording.operations if operation.party == "server"]
        if mine[-1].outcome != {"refused": "S10", "culprit": self.dealer}:
            raise ValueError(f"{self.name} ended in {mine[-1].outcome}")
        return cut(self.name, self.about, self.scene, "server", mine, recording.frames)


def dealing(dealer: int, kind: int, share: Callable[[int], int]) -> Change:
    """The dealer's message with other shares of one kind (0: self mask, 1: mask key) for everybody but itself."""

    def other(shares: list[bytes], holder: int) -> list[bytes]:
        return [shamir.encode_element(share(holder)) if place == kind else old for place, old in enumerate(shares)]

    return resealed(dealer, other)


def resealed(dealer: int, other: Callable[[list[bytes], int], list[bytes]]) -> Change:
    """The dealer's message with other shares for everybody but itself, sealed and published as they should be."""

    def tamper(recording: Recording, message: Any) -> Any:
        session = recording.server.machine.state.session  # type: ignore[union-attr]
        entries = []
        for entry in message.dealt:
            if entry.holder == dealer:
                entries.append(entry)
                continue
            shares = other(list(unsealed(recording, session, entry, dealer)), entry.holder)
            made = relay(recording, session, dealer, entry.holder, shares, message.commitments)
            entries.append(m.DealtShares(entry.holder, b"", made.sealed, *made.hashes, entry.signature))
        return change(message, dealt=tuple(entries))

    return tamper


def other_polynomial(secret: bytes) -> Callable[[int], int]:
    coefficients = [int.from_bytes(secret, "little")]
    source = InsecureSeededEntropy("another polynomial")
    coefficients += [shamir.random_element(source, "shamir-coefficient") for _ in range(2)]
    return lambda point: shamir.evaluate(coefficients, point)


def dealers() -> Iterator[DealtOtherwise]:
    other = sha256(b"another secret").digest()
    yield DealtOtherwise("seed_hash", "A survivor published the hash of another self-mask seed than it dealt.", 3,
                         lambda _, q: change(q, self_mask_hash=flip(q.self_mask_hash)))  # fmt: skip
    yield DealtOtherwise("self_mask_seed", "A survivor dealt another self-mask seed than it published.", 5,
                         dealing(5, 0, other_polynomial(other)))  # fmt: skip
    yield DealtOtherwise("self_mask_no_secret", "A survivor dealt shares that open to no 32-byte string.", 3,
                         dealing(3, 0, lambda _: shamir.PRIME - 1))  # fmt: skip
    yield DealtOtherwise("mask_key", "A dropped client dealt another mask key than it advertised.", 9,
                         dealing(9, 1, other_polynomial(other)))  # fmt: skip
    yield DealtOtherwise("mask_key_degree", "A dropped client dealt points of a polynomial of too high a degree.", 9,
                         dealing(9, 1, lambda point: pow(point, 7, shamir.PRIME)))  # fmt: skip


def cases() -> list[Any]:
    refused = [*who_shared(), *what_is_relayed(), *sealed_wrongly(), *sealed_wrongly_and_signed()]
    refused += [*published_otherwise(), *offers()]
    return [*refused, *dealt_to_server(), *dealers()]
