"""Rules S1 to S3, S6, S8 and S9: what a server refuses of a client; and what comes out of order (``bad_order``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.primitives.shamir import ELEMENT_BYTES
from tests.vectors import document as doc
from tests.vectors.cases.scenes import (
    ME,
    Bad,
    curious,
    cut,
    few,
    few_active,
    flip,
    identity,
    item,
    joint,
    refusal,
    ring,
)
from tests.vectors.recording import MODEL, Operation, Recording, change, setup, write_frame

KEYS, SHARES, CHUNK, LAST_CHUNK, ANSWER = (
    "3.AdvertiseKeys", "3.ShareKeys", "3.MaskedInput.0", "3.MaskedInput.1", "3.Unmasking",
)  # fmt: skip


def frame(name: str) -> Any:
    """Another honest frame of the round in the place of this one."""
    return lambda recording, _: recording.frames[name]


def out_of_step() -> Iterator[Bad]:
    def bad(what: str, about: str, at: str, other: Any, sender: int, scene: Any = few) -> Bad:
        return Bad("S2", what, about, scene, at, other, sender, sender=sender)

    yield Bad("S1", "uninvited", "Good keys from a client that is not invited.", few, KEYS,
              lambda r, _: twin(r), 14, sender=14)  # fmt: skip
    yield bad("keys_late", "Keys after the directory was published.", SHARES, frame(KEYS), 3)
    yield bad("input_early", "A masked input while shares are collected.", SHARES, frame(CHUNK), 3)
    yield Bad("S2", "input_without_shares", "A masked input of a client that shared no keys.", curious, CHUNK,
              other_payload, 12, sender=12)  # fmt: skip
    yield bad("shares_late", "Shares while masked inputs are collected.", CHUNK, frame("9.ShareKeys"), 9)
    yield bad("input_late", "The input of a client that was called dropped.", ANSWER, frame(CHUNK), 9)
    yield bad("answer_of_the_dropped", "An answer of a client that sent no input.", ANSWER, frame("2.Unmasking"), 9)
    yield bad("answer_early", "An answer while signatures are collected.", "3.ConsistencyCheck", frame(ANSWER), 3,
              few_active)  # fmt: skip
    yield bad("signature_of_the_dropped", "A signature of a client that sent no input.", "3.ConsistencyCheck",
              frame("2.ConsistencyCheck"), 9, few_active)  # fmt: skip
    yield bad("signature_in_curious_round", "A signature in a round that collects none.", ANSWER,
              lambda r, _: write_frame(r.read(ANSWER)[0], m.ConsistencyCheck(b"")), 3)  # fmt: skip
    yield bad("part_in_complete_graph", "A revealed part in a graph that needs none.", SHARES,
              lambda r, _: write_frame(r.read(SHARES)[0], m.RevealRandomness(bytes(32))), 3)  # fmt: skip


def other_payload(_: Recording, chunk: Any) -> Any:
    return change(chunk, payload=flip(chunk.payload))


def twin(recording: Recording) -> bytes:
    """The keys of a client with an entropy of its own."""
    other = Recording(setup("twin", (3, 4, 5), 3, recording.given.params.vectors))
    (name,) = other.start(4)
    return write_frame(recording.given.params.hash(), other.read(name)[1])


def said_differently() -> Iterator[Bad]:
    def bad(what: str, about: str, at: str, changed: Any, scene: Any = few) -> Bad:
        return Bad("S3", what, about, scene, at, changed, 3, after=True)

    yield bad("keys", "Other keys than before.", KEYS, lambda r, _: twin(r))
    yield bad("part", "Another part of the joint seed than before.", "3.RevealRandomness",
              lambda _, q: change(q, part=bytes(32)), ring)  # fmt: skip
    yield bad("shares", "Another hash of the self-mask seed than before.", SHARES,
              lambda _, q: change(q, self_mask_hash=flip(q.self_mask_hash)))  # fmt: skip
    yield bad("chunk", "Another masked input than before, under the same masks.", CHUNK,
              lambda _, q: change(q, payload=flip(q.payload)))  # fmt: skip
    yield bad("first_chunk_again", "The first chunk is another one after the last.", LAST_CHUNK,
              lambda r, _: write_frame(*_with(r.read(CHUNK), payload=bytes(7))))  # fmt: skip
    yield bad("answer", "Another answer than before.", ANSWER, lambda _, q: change(
        q, self_mask_shares=item(q.self_mask_shares, 0, share=bytes(ELEMENT_BYTES))))  # fmt: skip


def _with(read: tuple[bytes, Any], **fields: Any) -> tuple[bytes, Any]:
    return read[0], change(read[1], **fields)


def chunks() -> Iterator[Bad]:
    def bad(what: str, about: str, at: str, after: bool = False, **fields: Any) -> Bad:
        return Bad("S6", what, about, few, at, lambda _, q: change(q, **fields), 3, after=after)

    yield Bad("S6", "second_vector_first", "The second vector before the first.", few, CHUNK, frame(LAST_CHUNK), 3)
    yield bad("vector_unknown", "A third vector of two.", LAST_CHUNK, vector=2)
    yield bad("vector_far", "Vector 2^63.", LAST_CHUNK, vector=1 << 63)
    yield bad("offset", "A chunk that does not begin where one begins.", CHUNK, offset=1)
    yield bad("beyond_the_end", "One more chunk after the last.", LAST_CHUNK, after=True, vector=2)
    yield bad("short", "A byte is missing.", CHUNK, payload=bytes(6))
    yield bad("long", "A byte too many.", CHUNK, payload=bytes(8))
    yield bad("empty", "No bytes.", CHUNK, payload=b"")
    yield bad("padding", "The lowest bit of padding is set.", CHUNK, payload=bytes(6) + b"\x04")
    yield bad("padding_top", "The highest bit of padding is set.", LAST_CHUNK, payload=bytes(3) + b"\x80")
    yield bad("residue", "The residue 997 modulo 997.", LAST_CHUNK, payload=(997).to_bytes(4, "little"))
    yield bad("residue_last", "The largest residue of ten bits, as the last element.", LAST_CHUNK,
              payload=(1023 << 20).to_bytes(4, "little"))  # fmt: skip


def chunks_signed() -> Iterator[Bad]:
    def bad(what: str, about: str, signature: Any, scene: Any = few_active, at: str = CHUNK) -> Bad:
        return Bad("S12", what, about, scene, at, lambda r, q: change(q, signature=signature(r, q)), 3)

    def signed(signer: int = 3, **fields: Any) -> Any:
        """The signature of ``signer`` on this chunk, or on another."""

        def signature(recording: Recording, chunk: Any) -> bytes:
            about = {"session": recording.read(CHUNK)[0], "model_hash": MODEL, "vector": 0, "offset": 0, **fields}
            statement = check.chunk_statement(digest=sha256(chunk.payload).digest(), **about)
            return recording.given.params.cipher_suite.sign(identity(signer), "masked-input", *statement)

        return signature

    yield bad("flipped", "A wrong signature.", lambda _, q: flip(q.signature))
    yield bad("missing", "No signature in an active round.", lambda *_: b"")
    yield bad("of_another_member", "Another member signed the chunk.", signed(5))
    yield bad("of_another_chunk", "The signature of the other vector's chunk.",
              lambda r, _: r.read(LAST_CHUNK)[1].signature)  # fmt: skip
    yield bad("for_another_place", "The chunk is signed as one of another vector.", signed(vector=1))
    yield bad("for_another_offset", "The chunk is signed for another offset.", signed(offset=1))
    yield bad("for_another_model", "The chunk is signed as one of another model.", signed(model_hash=bytes(32)))
    yield bad("in_another_session", "The chunk is signed in another session.", signed(session=bytes(32)))
    yield Bad("S12", "other_payload", "The input was changed under its signature.", few_active, CHUNK, other_payload, 3)
    yield bad("unwanted", "A signature in a round without identities.", lambda *_: bytes(64), few)


def answers() -> Iterator[Bad]:
    def bad(rule: str, what: str, about: str, fields: Any, scene: Any = few) -> Bad:
        return Bad(rule, what, about, scene, ANSWER, lambda r, q: change(q, **fields(q, r)), 3)

    def seeds(change_of: Any) -> Any:
        return lambda q, _: {"self_mask_shares": change_of(q.self_mask_shares)}

    def keys(change_of: Any) -> Any:
        return lambda q, _: {"mask_key_shares": change_of(q.mask_key_shares)}

    yield bad("S8", "seed_share_missing", "No share of one survivor's self-mask seed.", seeds(lambda e: e[1:]))
    yield bad("S8", "own_share_missing", "No share of the client's own self-mask seed.", seeds(lambda e: (e[0], e[2])))
    yield bad("S8", "key_share_missing", "No share of one dropped client's mask key.", keys(lambda e: ()))
    yield bad("S8", "nothing", "No shares at all.", lambda *_: {"self_mask_shares": (), "mask_key_shares": ()})
    yield bad("S8", "repeated", "One share twice.", seeds(lambda e: (e[0], *e)))
    yield bad("S8", "reordered", "Two shares change places.", seeds(lambda e: e[::-1]))
    yield bad(
        "S8",
        "uninvited",
        "A share of a client that was not invited.",
        keys(lambda e: (*e, change(e[0], dealer=12))),
    )
    yield bad(
        "S8",
        "both_of_a_survivor",
        "A share of the mask key of a survivor.",
        keys(lambda e: (change(e[0], dealer=2), *e)),
    )
    yield bad("S8", "both_of_a_dropped", "A share of the self-mask seed of a dropped client.",
              seeds(lambda e: (*e, change(e[0], dealer=9))))  # fmt: skip
    yield bad("S8", "kinds_swapped", "Both lists change places.",
              lambda q, _: {"self_mask_shares": q.mask_key_shares, "mask_key_shares": q.self_mask_shares})  # fmt: skip
    yield bad("S8", "sparse_no_neighbour", "No share of one surviving neighbour.", seeds(lambda e: e[:-1]), ring)
    yield bad("S9", "seed_share_flipped", "One bit of a share is wrong.",
              seeds(lambda e: item(e, 0, share=flip(e[0].share))))  # fmt: skip
    yield bad("S9", "own_share_flipped", "One bit of the client's share of its own seed is wrong.",
              seeds(lambda e: item(e, 1, share=flip(e[1].share))))  # fmt: skip
    yield bad("S9", "key_share_flipped", "One bit of a share of a mask key is wrong.",
              keys(lambda e: item(e, 0, share=flip(e[0].share, 32))))  # fmt: skip
    yield bad("S9", "not_canonical", "The share plus the prime: no element of the field.",
              seeds(lambda e: item(e, 0, share=b"\xff" * ELEMENT_BYTES)))  # fmt: skip
    yield bad("S9", "shares_swapped", "The shares of two dealers change places.",
              seeds(lambda e: item(item(e, 0, share=e[2].share), 2, share=e[0].share)))  # fmt: skip
    yield bad("S9", "share_of_another_holder", "The share that client 2 holds.",
              lambda q, r: {"self_mask_shares": r.read("2.Unmasking")[1].self_mask_shares})  # fmt: skip
    yield bad("S9", "active", "One bit of a share is wrong, in an active round.",
              seeds(lambda e: item(e, 2, share=flip(e[2].share))), few_active)  # fmt: skip


@dataclass(frozen=True)
class OutOfOrder:
    """A legal frame or call, at a moment when this machine waits for something else.

    Attributes:
        party: who refuses.
        done: how many of its operations are done before.
        tried: the operation that is refused.
    """

    what: str
    about: str
    party: int | str
    done: int
    tried: Operation
    scene: Any = few

    @property
    def name(self) -> str:
        return f"bad_order_{self.what}"

    def write(self) -> doc.Document:
        recording = self.scene()
        mine = [operation for operation in recording.operations if operation.party == self.party]
        done = [*mine[: self.done], self.tried, *mine[self.done :][:1]]
        return cut(self.name, self.about, self.scene, self.party, done)


def order() -> Iterator[OutOfOrder]:
    def at_client(what: str, about: str, done: int, name: str, scene: Any = few) -> OutOfOrder:
        return OutOfOrder(what, about, ME, done, Operation(ME, "receive", (name,), (), refusal("order")), scene)

    def at_server(what: str, about: str, done: int, name: str, scene: Any = few) -> OutOfOrder:
        more = {"result": None} if name == "result" else {}
        return OutOfOrder(what, about, "server", done, Operation("server", name, (), (), refusal("order"), more), scene)

    early = Operation(ME, "submit", (), (), refusal("order"), {"model_hash": bytes(32).hex()})
    yield at_client("directory_again", "The directory a second time: no second set of shares.", 2, "ShareKeysRequest")
    yield at_client("relayed_early", "The shares of others before the directory.", 1, f"MaskedInputRequest.to.{ME}")
    yield at_client("question_early", "The unmasking question before the input left.", 3, "UnmaskingRequest")
    yield at_client("question_unsigned", "The unmasking question before the survivors were signed.", 4,
                    "UnmaskingRequest", few_active)  # fmt: skip
    yield at_client("question_again", "The unmasking question a second time: no second answer.", 5, "UnmaskingRequest")
    yield at_client("survivors_again", "The survivors a second time: no second signature.", 5,
                    "ConsistencyCheckRequest", few_active)  # fmt: skip
    yield OutOfOrder("submit_early", "An input before the shares of others are here.", ME, 2, early)
    yield at_server("advance_short", "Two clients advertised keys, three must stay.", 3, "advance")
    yield at_server("advance_without_a_part", "A part of the joint seed is missing.", 11, "advance", ring)
    yield at_server("advance_without_shares", "A client of a joint seed shared no keys.", 9, "advance", joint)
    yield at_server("result_early", "The sum before there is one.", 3, "result")


def cases() -> list[Any]:
    return [*out_of_step(), *said_differently(), *chunks(), *chunks_signed(), *answers(), *order()]
