"""Rules C10 to C14, C27 and C28 at a client, S4 and S11 at the server: keys and the joint seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protocols.pairwise import messages as m
from protocols.pairwise.advertise_keys import session_id
from protocols.pairwise.validation import self_mask_hash
from tests.vectors import document as doc
from tests.vectors.cases.scenes import (
    ME,
    Alone,
    Bad,
    active,
    curious,
    few,
    few_active,
    flip,
    item,
    joint,
    relay,
    ring,
    sparse,
    sparse_active,
)
from tests.vectors.recording import Recording, change, identity, write_frame

DIRECTORY = "ShareKeysRequest"
FIELD = 2**255 - 19
LOW_ORDER = {
    "zero": 0,
    "one": 1,
    "order_8": 325606250916557431795983626356110631294008115727848805560023387167927233504,
    "order_8_other": 39382357235489614581723060781553021112529911719440698176882885853963445705823,
    "minus_one": FIELD - 1,
}
"""u-coordinates of the points of order 1, 2, 4 and 8 on Curve25519 and its twist."""

U_BASE_AGAIN = FIELD + 9
"""A second encoding of the base point's u-coordinate 9."""


def key(u: int) -> bytes:
    return u.to_bytes(32, "little")


def signed(recording: Recording, client: int, keys: Any, signer: int, params_hash: bytes | None = None) -> bytes:
    """The signature of ``signer`` under the keys of ``client``."""
    about = (params_hash or recording.given.params.hash(), client, keys.enc_key, keys.mask_key, keys.commitment)
    return recording.given.params.cipher_suite.sign(identity(signer), "advertise-keys", *about)


def lists() -> Iterator[Bad]:
    def bad(rule: str, what: str, about: str, directory: Any, scene: Any = curious, culprit: int | None = None) -> Bad:
        at = DIRECTORY if scene in (curious, active, joint) else "RevealRandomnessRequest"
        return Bad(rule, what, about, scene, at, lambda r, q: change(q, directory=directory(r, q.directory)), culprit)

    def edit(place: int, **fields: Any) -> Any:
        return lambda _, entries: item(entries, place, **fields)

    yield bad("C10", "reordered", "Two entries change places.", lambda _, e: (e[1], e[0], *e[2:]))
    yield bad("C10", "repeated", "One entry stands there twice.", lambda _, e: (*e[:2], *e[1:]))
    yield bad("C10", "uninvited", "A client that was not invited.", edit(2, client=4))
    yield bad("C10", "sparse_reordered", "Two entries change places, in a sparse graph.", lambda _, e: e[::-1], sparse)
    yield bad("C11", "left_out", "This client is left out.", lambda _, e: e[1:])
    yield bad("C11", "other_enc_key", "This client has another key for shares.", edit(0, enc_key=key(9)))
    yield bad("C11", "other_mask_key", "This client has another key for masks.", edit(0, mask_key=key(9)))
    yield bad("C11", "other_commitment", "This client has another commitment.", edit(0, commitment=bytes(32)), joint)
    yield bad("C11", "no_commitment", "This client's commitment is gone.", edit(0, commitment=b""), sparse)
    yield bad("C11", "other_signature", "This client's signature is another one.",
              lambda _, e: item(e, 0, signature=flip(e[0].signature)), active)  # fmt: skip
    yield bad("C12", "two", "Two clients, three must stay.", lambda _, e: e[:2])
    yield bad("C12", "sparse_five", "Five clients, six must stay.", lambda _, e: e[:5], sparse)
    yield bad("C13", "one_key_of_two", "Two clients have one key for shares.",
              lambda _, e: item(e, 2, enc_key=e[1].enc_key))  # fmt: skip
    yield bad("C13", "one_key_in_two_roles", "The mask key of a client as its own key for shares.",
              lambda _, e: item(e, 2, enc_key=e[2].mask_key))  # fmt: skip
    yield bad("C13", "own_key_elsewhere", "This client's mask key as another's key for shares.",
              lambda _, e: item(e, 2, enc_key=e[0].mask_key))  # fmt: skip
    yield bad("C13", "key_short", "A key of 31 bytes.", lambda _, e: item(e, 2, mask_key=e[2].mask_key[:31]))
    yield bad("C13", "key_long", "A key of 33 bytes.", lambda _, e: item(e, 2, enc_key=e[2].enc_key + b"\0"))
    yield bad("C27", "enc_key_non_canonical", "A second encoding of a key, by which two entries could be one key.",
              edit(1, enc_key=key(U_BASE_AGAIN)), culprit=3)  # fmt: skip
    for what, u in LOW_ORDER.items():
        yield bad("C27", f"enc_key_{what}", "A key of low order: everybody knows what is agreed with it.",
                  edit(1, enc_key=key(u)), culprit=3)  # fmt: skip


def signatures() -> Iterator[Bad]:
    def bad(what: str, about: str, entry: Any, scene: Any = active) -> Bad:
        def changed(recording: Recording, request: Any) -> Any:
            fields = entry(recording, request.directory[1])
            return change(request, directory=item(request.directory, 1, **fields))

        at = DIRECTORY if scene in (curious, active) else "RevealRandomnessRequest"
        return Bad("C14", what, about, scene, at, changed)

    yield bad("flipped", "One bit of a signature is wrong.", lambda _, e: {"signature": flip(e.signature, 40)})
    yield bad("missing", "A signature is missing.", lambda _, e: {"signature": b""})
    yield bad("truncated", "A signature lacks its last byte.", lambda _, e: {"signature": e.signature[:63]})
    yield bad("other_member", "Another member signed.", lambda r, e: {"signature": signed(r, 3, e, 5)})
    yield bad("other_round", "The keys are signed for other parameters: a replay.",
              lambda r, e: {"signature": signed(r, 3, e, 3, bytes(32))})  # fmt: skip
    yield bad("other_key", "A key was exchanged under a signature.", lambda *_: {"mask_key": key(9)})
    yield bad("keys_swapped", "Both keys of a client change places under its signature.",
              lambda _, e: {"enc_key": e.mask_key, "mask_key": e.enc_key})  # fmt: skip
    yield bad("other_commitment", "A commitment was exchanged under a signature.", lambda *_: {"commitment": bytes(32)},
              sparse_active)  # fmt: skip
    yield bad("unwanted", "A signature in a round without identities.", lambda *_: {"signature": bytes(64)}, curious)


def parts() -> Iterator[Bad]:
    def bad(what: str, about: str, parts: Any, scene: Any = joint) -> Bad:
        at = "NeighboursRequest" if scene is sparse else f"MaskedInputRequest.to.{ME}"
        return Bad("C28", what, about, scene, at, lambda _, q: change(q, parts=parts(q.parts)))

    yield bad("missing", "A part is missing.", lambda p: p[:-1])
    yield bad("all_missing", "No part at all.", lambda p: ())
    yield bad("other", "A client revealed another part than it had committed to.", lambda p: item(p, 1, part=bytes(32)))
    yield bad("own_other", "This client's own part is another one.", lambda p: item(p, 0, part=bytes(32)))
    yield bad("reordered", "Two parts change places: the seed would differ.", lambda p: p[::-1])
    yield bad("repeated", "One part stands there twice.", lambda p: (*p, p[-1]))
    yield bad("invented", "A part of a client that has none.", lambda p: (*p, m.RevealedPart(12, bytes(32))))
    yield bad("sparse_missing", "A part is missing, in a sparse graph.", lambda p: p[1:], sparse)
    yield bad("sparse_other", "Another part than committed to, in a sparse graph.",
              lambda p: item(p, 7, part=flip(p[7].part)), sparse)  # fmt: skip
    yield bad("unwanted", "A part in a round without a joint seed.", lambda p: (m.RevealedPart(3, bytes(32)),), curious)


def keys_at_server() -> Iterator[Bad]:
    def bad(what: str, about: str, fields: Any, scene: Any = few, client: int = 3) -> Bad:
        return Bad("S4", what, about, scene, f"{client}.AdvertiseKeys", lambda r, q: change(q, **fields(r, q)), client)

    def of(recording: Recording, client: int) -> Any:
        return recording.read(f"{client}.AdvertiseKeys")[1]

    yield bad("one_key_in_two_roles", "Both keys are the same.", lambda _, q: {"enc_key": q.mask_key})
    yield bad("key_in_use", "The key of a client that was here before.", lambda r, _: {"mask_key": of(r, 2).enc_key})
    yield bad("key_short", "A key of 31 bytes.", lambda _, q: {"mask_key": q.mask_key[:31]})
    yield bad("key_long", "A key of 33 bytes.", lambda _, q: {"enc_key": q.enc_key + b"\0"})
    yield bad("enc_key_low_order", "A key of low order.", lambda *_: {"enc_key": key(LOW_ORDER["order_8"])})
    yield bad("mask_key_low_order", "A key of low order.", lambda *_: {"mask_key": key(0)})
    yield bad("mask_key_non_canonical", "A second encoding of a key.", lambda *_: {"mask_key": key(U_BASE_AGAIN)})
    yield bad("no_commitment", "No commitment in a round with a joint seed.", lambda *_: {"commitment": b""}, joint)
    yield bad("commitment_short", "A commitment of 31 bytes.", lambda _, q: {"commitment": q.commitment[:31]}, ring)
    yield bad(
        "unwanted_commitment", "A commitment in a round without a joint seed.", lambda *_: {"commitment": bytes(32)}
    )
    yield bad("signature_flipped", "A wrong signature.", lambda _, q: {"signature": flip(q.signature)}, few_active)
    yield bad("signature_missing", "No signature in an active round.", lambda *_: {"signature": b""}, few_active)
    yield bad(
        "signature_of_another", "Another member signed.", lambda r, q: {"signature": signed(r, 3, q, 5)}, few_active
    )
    yield bad("unwanted_signature", "A signature in a round without identities.", lambda *_: {"signature": bytes(64)})


def parts_at_server() -> Iterator[Bad]:
    def bad(what: str, about: str, at: str, part: bytes, scene: Any) -> Bad:
        return Bad("S11", what, about, scene, at, lambda _, q: change(q, part=part), 3)

    yield bad("other", "Another part than committed to, in a sparse graph.", "3.RevealRandomness", bytes(32), ring)
    yield bad(
        "other_with_shares", "Another part than committed to, in a complete graph.", "3.ShareKeys", bytes(32), joint
    )
    yield bad("missing", "No part along with the shares.", "3.ShareKeys", b"", joint)
    yield bad("unwanted", "A part in a round without a joint seed.", "3.ShareKeys", bytes(32), few)


class MaskKeyOfLowOrder:
    """C27 for the second key: it comes to light only when the shares arrive."""

    def __init__(self, what: str, u: int) -> None:
        self.name = f"bad_C27_mask_key_{what}"
        self.what, self.u = what, u

    def write(self) -> doc.Document:
        alone = Alone(curious)
        honest, params = curious(), curious().given.params
        _, request = honest.read(DIRECTORY)
        directory = item(request.directory, 1, mask_key=key(self.u))
        alone.tell(DIRECTORY, params.hash(), change(request, directory=directory))
        session = session_id(params, directory)
        commitments = (self_mask_hash(params.cipher_suite, session, 3, bytes(32)), b"")
        shares = (bytes(33), bytes(33), b"")
        relayed = tuple(relay(honest, session, dealer, ME, shares, commitments) for dealer in (3, 5))
        _, answer = honest.read(f"MaskedInputRequest.to.{ME}")
        bad = change(answer, shared=(2, 3, 5), relayed=relayed)
        about = "A mask key that a server let pass: known to everybody, or a second encoding of another."
        return alone.write("C27", f"mask_key_{self.what}", about, write_frame(session, bad), 3)


def cases() -> list[Any]:
    masks = [MaskKeyOfLowOrder("low_order", LOW_ORDER["order_8"]), MaskKeyOfLowOrder("non_canonical", U_BASE_AGAIN)]
    return [*lists(), *signatures(), *parts(), *keys_at_server(), *parts_at_server(), *masks]
