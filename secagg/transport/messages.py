"""The shapes on the wire, MessagePack by msgspec. Frames of the protocol travel inside them untouched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta

from secagg.errors import UsageError
from secagg.privacy import Countersigned
from secagg.study.approval import Approval
from secagg.study.receipt import SignedReceipt
from secagg.transcript.receipts import Receipt

T = TypeVar("T")

MAX_SMALL_BODY = 1 << 16
"""Largest body of a request that carries no frame of the protocol."""

SMALL_LETTER = 1 << 16
"""Letters up to this size stand in the journals themselves; larger ones in files."""

LETTER_BYTES = 8 << 20
"""Frames travel together, as one letter, up to this size; a larger frame travels alone."""

BESIDE_BYTES = 8 << 20
"""Room in a letter for what is not frames: lengths, a receipt of a round with thousands of sites, a ledger's totals."""

Round = Annotated[int, Meta(ge=0, lt=1 << 32)]


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all shapes: closed and immutable."""


class Hello(Shape, frozen=True):
    """A site, once it has started: its approval of the study, and which software speaks."""

    approval: Approval
    version: Annotated[str, Meta(max_length=40)]


class Welcome(Shape, frozen=True):
    """The answer to `Hello`.

    Attributes:
        time: the coordinator's clock, seconds since 1970.
        sequence: the highest sequence number that this site has used, as far as the coordinator knows.
        members: how many members have approved so far.
        round: number of the round that is on, or comes next.
        spent: the site's last statement of what it has spent, countersigned; for a ledger that was restored.
    """

    time: float
    sequence: int
    members: int
    round: Round
    spent: Countersigned | None = None


class Spent(Shape, frozen=True):
    """What a site's privacy ledger holds, as ``secagg.privacy.receipts.issue`` signed it."""

    receipt: bytes
    signature: bytes


class Letter(Shape, frozen=True):
    """What a site sends at once.

    Attributes:
        frames: of the protocol, in order.
        receipt: the site's word on the round, with its answer to the unmasking.
        spent: with the masked input of a private round, what the site has spent by then, this round included.
    """

    frames: Annotated[tuple[bytes, ...], Meta(min_length=1)]
    receipt: Receipt | None = None
    spent: Spent | None = None


class Cursor(Shape, frozen=True):
    """Where a site is.

    Attributes:
        round: the round it takes part in, or took part in last.
        attempt: the try.
        busy: whether it still takes part.
        have: how many frames of the coordinator it has taken in this attempt.
    """

    round: Round = 0
    attempt: Round = 0
    busy: bool = False
    have: Annotated[int, Meta(ge=0, lt=64)] = 0


class Offer(Shape, frozen=True, tag="offer"):
    """A round begins. The site computes everything else from the study it signed.

    Attributes:
        round: number of the round.
        attempt: number of the try.
        clients: the invited members.
        model: SHA-256 of the weights to begin with.
        model_bytes: size of their file.
        approvals: of the invited members.
        logged: this site's last receipt in the coordinator's transcript; the next one names it.
    """

    round: Round
    attempt: Round
    clients: tuple[int, ...]
    model: Annotated[bytes, Meta(min_length=32, max_length=32)]
    model_bytes: int
    approvals: tuple[Approval, ...]
    logged: Receipt | None = None


class Frame(Shape, frozen=True, tag="frame"):
    """The next frame of the protocol for this site; ``number`` is the cursor's ``have`` that it answers."""

    round: Round
    attempt: Round
    number: int
    data: bytes


class Over(Shape, frozen=True, tag="over"):
    """The attempt that the site took part in is over, or went on without it (then there is no receipt yet)."""

    round: Round
    attempt: Round
    receipt: SignedReceipt | None


class Finished(Shape, frozen=True, tag="finished"):
    """The study is over.

    Attributes:
        reason: why, for people.
        model: SHA-256 of the last weights.
        best: SHA-256 of the best weights by validation, or of the last ones.
    """

    reason: str
    model: bytes
    best: bytes


Instruction = Offer | Frame | Over | Finished


class Progress(Shape, frozen=True):
    """How far a site's training is, for the page; it carries no data."""

    fraction: Annotated[float, Meta(ge=0, le=1)]


_INSTRUCTIONS: msgspec.msgpack.Decoder[Instruction] = msgspec.msgpack.Decoder(Instruction)


def letters(frames: Sequence[bytes], receipt: Receipt | None = None, spent: Spent | None = None) -> Iterator[Letter]:
    """Give the letters that carry ``frames``, in order; what goes with them is in the last."""
    together: list[bytes] = []
    size = 0
    for frame in frames:
        if together and size + len(frame) > LETTER_BYTES:
            yield Letter(tuple(together))
            together, size = [], 0
        together.append(frame)
        size += len(frame)
    if together:
        yield Letter(tuple(together), receipt, spent)


def encode(shape: Shape) -> bytes:
    """Return the bytes of a shape."""
    return msgspec.msgpack.encode(shape)


def decode(data: bytes, kind: type[T]) -> T:
    """Read a shape.

    Raises:
        UsageError: the bytes are not one.
    """
    return cast(T, _decoded(msgspec.msgpack.Decoder(kind), data, kind.__name__))


def decode_instruction(data: bytes) -> Instruction:
    """Read an instruction of the coordinator's.

    Raises:
        UsageError: the bytes are none.
    """
    return cast(Instruction, _decoded(_INSTRUCTIONS, data, "instruction"))


def _decoded(decoder: msgspec.msgpack.Decoder[Any], data: bytes, what: str) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError, RecursionError) as error:
        raise UsageError(f"not a {what}: {error}") from None
