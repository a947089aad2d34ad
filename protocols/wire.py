"""Frames on the wire: ``[version, kind, context, body]`` in MessagePack.

The codec is msgspec: message types are typed structs with their limits in the types. This module adds what makes it
strict: one version, one kind table per family, the context (a hash of the parameters or of the session) that must be
the receiver's own, a size limit checked before anything is decoded, and *canonical form*: bytes are accepted only if
encoding the decoded message gives the same bytes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any

import msgspec

from protocols.errors import CodecError

WIRE_VERSION = 1

Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
"""Hashes and public keys."""


class WireRule(Enum):
    """Why bytes are not a message; the value is the rule number."""

    SIZE = "W1"
    MALFORMED = "W2"
    VERSION = "W3"
    KIND = "W4"
    CONTEXT = "W5"
    CANONICAL = "W6"


class Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of every wire message and of the structures inside them: positional, closed, immutable."""


class _Frame(Message, frozen=True):
    version: int
    kind: int
    context: Bytes32
    body: msgspec.Raw


_ENCODER = msgspec.msgpack.Encoder()
_FRAMES = msgspec.msgpack.Decoder(_Frame)

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, OverflowError, RecursionError)
"""What the decoder raises on bytes that are no message: wrong types, text that is not UTF-8, deep nesting."""

FRAME_BYTES = 64
"""Upper bound on what a frame adds to its body (header, context and MessagePack lengths)."""


class Codec:
    """Encoder and strict decoder for one family of messages.

    Args:
        kinds: code point of each message type, at least 1; never reused for another meaning.
    """

    def __init__(self, kinds: Mapping[int, type[Message]]) -> None:
        self._kinds = dict(kinds)
        self._codes = {message: code for code, message in self._kinds.items()}
        self._decoders: dict[int, msgspec.msgpack.Decoder[Any]] = {
            code: msgspec.msgpack.Decoder(message) for code, message in self._kinds.items()
        }

    def encode(self, context: bytes, message: Message) -> bytes:
        """Return the frame of ``message`` in ``context`` (32 bytes)."""
        body = msgspec.Raw(_ENCODER.encode(message))
        return _ENCODER.encode(_Frame(WIRE_VERSION, self._codes[type(message)], context, body))

    def decode(self, data: bytes, limits: Mapping[type[Message], int]) -> tuple[bytes, Message]:
        """Read one frame.

        Args:
            data: the bytes of exactly one frame.
            limits: for every message type that this receiver can take at all, the largest body in bytes.

        Returns:
            (context, message); the caller compares the context with its own through ``check_context``.

        Raises:
            CodecError: rules W1 to W4 and W6.
        """
        if len(data) > max(limits.values()) + FRAME_BYTES:
            raise CodecError(WireRule.SIZE, f"a frame of {len(data)} bytes is larger than any message of this round")
        try:
            frame = _FRAMES.decode(data)
        except _UNREADABLE as error:
            raise CodecError(WireRule.MALFORMED, f"not a frame: {error}") from None
        if frame.version != WIRE_VERSION:
            raise CodecError(WireRule.VERSION, f"wire version {frame.version}; this library speaks {WIRE_VERSION}")
        kind = self._kinds.get(frame.kind)
        if kind is None or kind not in limits:
            raise CodecError(WireRule.KIND, f"message kind {frame.kind} is not one that this side receives")
        body = bytes(frame.body) if len(frame.body) <= limits[kind] else None
        if body is None:
            raise CodecError(
                WireRule.SIZE, f"a {kind.__name__} of {len(frame.body)} bytes; the limit is {limits[kind]}"
            )
        try:
            message: Message = self._decoders[frame.kind].decode(body)
        except _UNREADABLE as error:
            raise CodecError(WireRule.MALFORMED, f"not a {kind.__name__}: {error}") from None
        if self.encode(frame.context, message) != data:
            raise CodecError(WireRule.CANONICAL, f"this {kind.__name__} is not in canonical form")
        return frame.context, message


def check_context(received: bytes, expected: bytes) -> None:
    """Refuse a frame of another round, session or set of parameters (rule W5)."""
    if received != expected:
        raise CodecError(WireRule.CONTEXT, "the frame belongs to another session or to other parameters")
