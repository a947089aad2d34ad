"""Rules W1 to W6: bytes that are no message, or not one of this round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from protocols.pairwise import messages as m
from tests.vectors.cases.scenes import ME, Bad, active, curious, few, joint, ring, sparse
from tests.vectors.recording import Recording, change, write_frame

DIRECTORY, RELAYED, QUESTION, KEYS = (
    "ShareKeysRequest",
    f"MaskedInputRequest.to.{ME}",
    "UnmaskingRequest",
    "3.AdvertiseKeys",
)
SHARES, CHUNK, ANSWER, SIGNATURE = "3.ShareKeys", "3.MaskedInput.0", "3.Unmasking", "3.ConsistencyCheck"
OTHER_ROUND = bytes(range(32))


def encoded(recording: Recording, name: str, **fields: Any) -> bytes:
    """The frame of that name with other raw fields in its header or body, encoded without looking at types."""
    version, kind, context, body = msgspec.msgpack.decode(recording.frames[name])
    header = {"version": version, "kind": kind, "context": context, "body": body, **fields}
    return msgspec.msgpack.encode(list(header.values()))


def raw(name: str, **fields: Any) -> Any:
    return lambda recording, _: encoded(recording, name, **fields)


def replaced(name: str, old: bytes, new: bytes) -> Any:
    """The frame of that name with its first ``old`` bytes as ``new``."""
    return lambda recording, _: recording.frames[name].replace(old, new, 1)


def in_context(context: bytes) -> Any:
    return lambda _, message: write_frame(context, message)


def sizes() -> Iterator[Bad]:
    many = tuple(range(1, 400))
    entry = m.RevealedPart(ME, bytes(32))
    yield Bad("W1", "client_frame", "Longer than any message to a client of this round.", curious, RELAYED,
              lambda _, request: change(request, parts=(entry,) * 150))  # fmt: skip
    yield Bad("W1", "client_body", "A survivor list longer than that message may be.", curious, QUESTION,
              lambda _, request: change(request, survivors=many))  # fmt: skip
    yield Bad("W1", "server_frame", "Longer than any message to the server in this round.", few, CHUNK,
              lambda _, chunk: change(chunk, payload=bytes(4000)))  # fmt: skip
    yield Bad("W1", "server_body", "A chunk longer than the longest of this round.", few, CHUNK,
              lambda _, chunk: change(chunk, payload=bytes(300)))  # fmt: skip


def forms() -> Iterator[Bad]:
    def bad(what: str, about: str, at: str, changed: Any, scene: Any = curious) -> Bad:
        return Bad("W2", what, about, scene, at, changed)

    yield bad("client_empty", "No bytes at all.", DIRECTORY, lambda *_: b"")
    yield bad("client_truncated", "The last byte is missing.", DIRECTORY, lambda r, _: r.frames[DIRECTORY][:-1])
    yield bad("client_trailing", "A byte follows the frame.", DIRECTORY, lambda r, _: r.frames[DIRECTORY] + b"\xc0")
    yield bad("client_not_a_list", "The frame is a number.", DIRECTORY, lambda *_: b"\x01")
    yield bad("client_five_fields", "The frame has a field too many.", DIRECTORY, raw(DIRECTORY, more=0))
    yield bad("client_body_is_nil", "The body is nil.", DIRECTORY, raw(DIRECTORY, body=None))
    yield bad("client_body_field_missing", "The body lacks a field.", RELAYED,
              lambda r, _: encoded(r, RELAYED, body=msgspec.msgpack.decode(r.frames[RELAYED])[3][:-1]))  # fmt: skip
    yield bad("client_body_field_too_many", "The body has a field too many.", QUESTION,
              lambda r, _: encoded(r, QUESTION, body=[*msgspec.msgpack.decode(r.frames[QUESTION])[3], 0]))  # fmt: skip
    yield bad("client_context_short", "The context has 31 bytes.", DIRECTORY, raw(DIRECTORY, context=bytes(31)))
    yield bad(
        "client_id_zero", "A survivor with id 0, which no client has.", QUESTION, raw(QUESTION, body=[[0, 2], [], []])
    )
    yield bad("client_id_too_large", "A survivor with id 65536.", QUESTION, raw(QUESTION, body=[[2, 65536], [], []]))
    yield bad("client_id_negative", "A survivor with id -1.", QUESTION, raw(QUESTION, body=[[-1, 2], [], []]))
    yield bad("client_id_is_a_float", "A survivor with id 2.5.", QUESTION, raw(QUESTION, body=[[2.5, 3], [], []]))
    yield bad("client_id_is_a_whole_float", "A survivor with id 2.0.", QUESTION, raw(QUESTION, body=[[2.0, 3], [], []]))
    yield bad("client_list_without_end", "A list that claims 2^32 - 1 ids; memory for it must not be taken.", QUESTION,
              lambda r, _: encoded(r, QUESTION, body=0)[:-1] + b"\x93\xdd\xff\xff\xff\xff\x01")  # fmt: skip
    yield bad(
        "client_nested", "Lists in lists, 500 deep.", DIRECTORY, lambda r, _: encoded(r, DIRECTORY)[:37] + b"\x91" * 500
    )
    yield bad("client_part_short", "A part of the joint seed has 31 bytes.", "NeighboursRequest",
              lambda r, _: encoded(r, "NeighboursRequest", body=[[[2, bytes(31)]]]), sparse)  # fmt: skip
    yield bad("server_key_missing", "The body has three fields instead of four.", KEYS,
              raw(KEYS, body=[bytes(32), bytes(32), b""]))  # fmt: skip
    yield bad("server_key_is_text", "A key is text.", KEYS, raw(KEYS, body=["k" * 32, bytes(32), b"", b""]))
    yield bad("server_signature_long", "A signature of 65 bytes.", KEYS,
              raw(KEYS, body=[bytes(32), bytes(32), b"", bytes(65)]))  # fmt: skip
    yield bad("server_offset_negative", "A chunk at offset -1.", CHUNK, raw(CHUNK, body=[0, -1, bytes(7), b""]), few)
    yield bad("server_share_short", "A share of 32 bytes: one byte less than a field element.", ANSWER,
              lambda r, _: encoded(r, ANSWER, body=[[[2, bytes(32)]], [], []]), few)  # fmt: skip


def aborts() -> Iterator[Bad]:
    """An Abort stands in for the directory; its text is what is wrong."""
    yield Bad("W2", "client_reason_long", "An Abort whose reason has 257 characters.", curious, DIRECTORY,
              raw(DIRECTORY, kind=15, body=["r" * 257]))  # fmt: skip
    yield Bad("W2", "client_reason_no_text", "An Abort whose reason is not UTF-8.", curious, DIRECTORY,
              lambda r, _: encoded(r, DIRECTORY, kind=15, body=["r"])[:-1] + b"\xff")  # fmt: skip
    yield Bad("W5", "client_abort_in_session", "An Abort in the context of another round.", curious, DIRECTORY,
              lambda *_: write_frame(OTHER_ROUND, m.Abort("over")))  # fmt: skip


def headers() -> Iterator[Bad]:
    def bad(rule: str, what: str, about: str, at: str, changed: Any, scene: Any = curious) -> Bad:
        return Bad(rule, what, about, scene, at, changed)

    yield bad("W3", "client_version_0", "Version 0.", DIRECTORY, raw(DIRECTORY, version=0))
    yield bad("W3", "client_version_2", "Version 2.", DIRECTORY, raw(DIRECTORY, version=2))
    yield bad("W3", "server_version_2", "Version 2.", KEYS, raw(KEYS, version=2))
    yield bad("W4", "client_kind_unknown", "Kind 99 is no message.", DIRECTORY, raw(DIRECTORY, kind=99))
    yield bad("W4", "client_kind_zero", "Kind 0 is no message.", DIRECTORY, raw(DIRECTORY, kind=0))
    yield bad("W4", "client_gets_a_clients_message", "Another client's keys as they were sent to the server.",
              DIRECTORY, lambda r, _: r.frames[KEYS])  # fmt: skip
    yield bad("W4", "server_kind_unknown", "Kind 99 is no message.", KEYS, raw(KEYS, kind=99))
    yield bad("W4", "server_gets_a_servers_message", "A client sends an Abort.", SHARES,
              lambda r, _: write_frame(r.given.params.hash(), m.Abort("over")), few)  # fmt: skip
    yield bad("W5", "client_directory", "The directory of other parameters.", DIRECTORY, in_context(OTHER_ROUND))
    yield bad("W5", "client_directory_sparse", "The directory of other parameters, in a sparse graph.",
              "RevealRandomnessRequest", in_context(OTHER_ROUND), sparse)  # fmt: skip
    yield bad("W5", "client_parts", "The parts of another session's joint seed.", "NeighboursRequest",
              in_context(OTHER_ROUND), sparse)  # fmt: skip
    yield bad("W5", "client_shares", "Shares relayed in another session.", RELAYED, in_context(OTHER_ROUND))
    yield bad("W5", "client_survivors", "Survivors of another session.", "ConsistencyCheckRequest",
              in_context(OTHER_ROUND), active)  # fmt: skip
    yield bad("W5", "client_unmasking", "The unmasking question of another session.", QUESTION, in_context(OTHER_ROUND))
    yield bad("W5", "client_unmasking_in_parameters", "The unmasking question in the context of the parameters.",
              QUESTION, lambda r, question: write_frame(r.given.params.hash(), question))  # fmt: skip
    yield bad("W5", "server_keys", "Keys for other parameters.", KEYS, in_context(OTHER_ROUND))
    yield bad("W5", "server_part", "A part for another session.", "3.RevealRandomness", in_context(OTHER_ROUND), ring)
    yield bad("W5", "server_shares", "Shares dealt in another session.", SHARES, in_context(OTHER_ROUND), few)
    yield bad("W5", "server_shares_in_parameters", "Shares in the context of the parameters.", SHARES,
              lambda r, shares: write_frame(r.given.params.hash(), shares), few)  # fmt: skip
    yield bad("W5", "server_input", "A masked input of another session.", CHUNK, in_context(OTHER_ROUND), few)
    yield bad(
        "W5", "server_signature", "A signature sent in another session.", SIGNATURE, in_context(OTHER_ROUND), active
    )
    yield bad("W5", "server_answer", "An answer in another session.", ANSWER, in_context(OTHER_ROUND))


def encodings() -> Iterator[Bad]:
    """The same message in other bytes: MessagePack has several for one value."""

    def bad(what: str, about: str, at: str, old: bytes, new: bytes) -> Bad:
        return Bad("W6", what, about, joint, at, replaced(at, old, new))

    yield bad("client_long_number", "The version in two bytes instead of one.", DIRECTORY, b"\x94\x01", b"\x94\xcc\x01")
    yield bad("client_long_list", "The frame's list with a 16-bit length.", DIRECTORY, b"\x94", b"\xdc\x00\x04")
    yield bad("client_long_bytes", "The context with a 16-bit length.", DIRECTORY, b"\xc4\x20", b"\xc5\x00\x20")
    yield bad("client_signed_number", "A survivor's id as a signed number.", QUESTION, b"\x94\x02", b"\x94\xd0\x02")
    yield bad("server_long_number", "The kind in two bytes instead of one.", KEYS, b"\x94\x01\x01", b"\x94\x01\xcc\x01")
    yield bad("server_long_bytes", "A payload with a 32-bit length.", CHUNK, b"\xc4\x07", b"\xc6\x00\x00\x00\x07")


def cases() -> list[Bad]:
    return [*sizes(), *forms(), *aborts(), *headers(), *encodings()]
