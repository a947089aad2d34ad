"""Rounds from which the negative vectors are cut, and how one is cut: one party, one refusal, the rest honest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec

from protocols.pairwise import VectorSpec
from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.pairwise.share_keys import associated_data, channel_key
from protocols.primitives import aead
from protocols.wire import Message
from tests.support.entropy import InsecureSeededEntropy
from tests.vectors import document as doc
from tests.vectors.recording import EVERYTHING, Change, Operation, Recording, head, identity, setup, write_frame

OUTPUT = 100
"""Outputs of a negative vector up to this many bytes are written in full, longer ones as a hash."""

VECTORS = (VectorSpec("x", 5, 1 << 10), VectorSpec("w", 3, 997))
FOUR, FIVE, SIX = (2, 3, 5, 9), (2, 3, 5, 9, 700), (2, 3, 5, 9, 12, 13)
EIGHT = (2, 3, 5, 9, 12, 13, 700, 65535)
ME = 2
"""The client whose refusals are recorded."""


@cache
def curious() -> Recording:
    """SecAgg, curious: 2, 3 and 5 survive, 9 and 13 send no input, 12 shares no keys."""
    return Recording(setup("bad curious", SIX, 3, VECTORS)).run({9: 2, 13: 2, 12: 1})


@cache
def active() -> Recording:
    """SecAgg, active: 2, 3, 5 and 700 survive, 9 sends no input."""
    return Recording(setup("bad active", FIVE, 4, VECTORS, adversary="active")).run({9: 2})


@cache
def few() -> Recording:
    """SecAgg, curious, for the server's refusals, which need everybody's frames: 9 sends no input."""
    return Recording(setup("bad few", FOUR, 3, VECTORS)).run({9: 2})


@cache
def few_active() -> Recording:
    """SecAgg, active, for the server's refusals: 9 sends no input."""
    return Recording(setup("bad few active", FOUR, 3, VECTORS, adversary="active")).run({9: 2})


@cache
def joint() -> Recording:
    """SecAgg, curious, with a joint seed: everybody stays."""
    return Recording(setup("bad joint", FOUR, 3, VECTORS, joint_randomness=True)).run()


def _sparse(adversary: str) -> Recording:
    more: dict[str, Any] = {"protocol": "secagg+", "adversary": adversary, "degree": 4, "min_survivors": 6}
    given = setup(f"bad sparse {adversary}", EIGHT, 3, VECTORS, policy={"colluders": 0}, **more)
    return Recording(given).run({13: 3})


@cache
def sparse() -> Recording:
    """SecAgg+ of degree 4, curious: 13 sends no input."""
    return _sparse("curious")


@cache
def ring() -> Recording:
    """SecAgg+ of degree 2, curious, for the server's refusals: everybody stays."""
    more: dict[str, Any] = {"protocol": "secagg+", "degree": 2, "min_survivors": 4}
    return Recording(setup("bad ring", FIVE, 2, VECTORS, policy={"colluders": 0}, **more)).run()


@cache
def sparse_active() -> Recording:
    """SecAgg+ of degree 4, active: 13 sends no input."""
    return _sparse("active")


@cache
def noisy() -> Recording:
    """SecAgg, curious, with two removable components of noise: 9 sends no input, so the second comes off."""
    return Recording(setup("bad noisy", FIVE, 3, VECTORS, noise_components=2)).run({9: 2})


@cache
def noisy_ring() -> Recording:
    """SecAgg+ of degree 2, active, with a removable component of noise: everybody stays."""
    more: dict[str, Any] = {"protocol": "secagg+", "adversary": "active", "degree": 2, "min_survivors": 4}
    given = setup("bad noisy ring", FIVE, 2, VECTORS, policy={"colluders": 0}, noise_components=1, **more)
    return Recording(given).run()


SCENES = (curious, active, few, few_active, joint, sparse, sparse_active, ring, noisy, noisy_ring)


@cache
def scene_document(scene: Callable[[], Recording]) -> doc.Document:
    """The scene itself, a positive vector with every frame in full."""
    return scene().write(scene.__name__, str(scene.__doc__), EVERYTHING)


# -- cutting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """One negative vector.

    Attributes:
        rule: that must refuse.
        what: of it; with the rule, the name.
        about: one sentence.
        scene: the round it is cut from.
        at: name of the honest frame that the bad one stands in for.
        change: makes the bad frame from the honest message; the honest message with other fields, or bytes.
        culprit: whom the refusal names.
        party: who refuses; by default the server for frames of clients, else ``ME``.
        sender: at the server, from whom the bad frame comes, if not from the client that sent the honest one.
        after: the honest frame comes first (by default it comes after the bad one and is accepted).
    """

    rule: str
    what: str
    about: str
    scene: Callable[[], Recording]
    at: str
    change: Change
    culprit: int | None = None
    party: int | str = ""
    sender: int | None = None
    after: bool = False

    @property
    def name(self) -> str:
        return f"bad_{self.rule}_{self.what}"

    def write(self) -> doc.Document:
        recording = self.scene()
        from_client = self.at.split(".")[0].isdigit()
        party = self.party or ("server" if from_client else ME)
        mine = [operation for operation in recording.operations if operation.party == party]
        place = next(number for number, operation in enumerate(mine) if operation.inputs == (self.at,))
        context, message = recording.read(self.at)
        bad = write_frame(context, self.change(recording, message))
        if bad == recording.frames[self.at]:
            raise ValueError(f"{self.name} changes nothing")
        more = {"from": self.sender} if self.sender is not None else mine[place].more
        refused = Operation(party, "receive", ("bad",), (), refusal(self.rule, self.culprit), more)
        done = [*mine[: place + 1], refused] if self.after else [*mine[:place], refused, mine[place]]
        return cut(self.name, self.about, self.scene, party, done, {"bad": bad})


def refusal(rule: str, culprit: int | None = None) -> dict[str, Any]:
    return {"refused": rule, "culprit": culprit}


def cut(
    name: str,
    about: str,
    scene: Callable[[], Recording],
    party: int | str,
    operations: Sequence[Operation],
    frames: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> doc.Document:
    """The document of one party's operations.

    Args:
        frames: those that differ from the scene's.
        changes: what the client is set up with, where it differs from the scene.
    """
    recording = scene()
    known = {**recording.frames, **(frames or {})}
    parties = {} if party == "server" else {str(party): {**recording.party(int(party)), **changes}}
    document = {
        **head("negative", name, about, recording.given),
        "parties": parties,
        "frames": {name: known[name].hex() for operation in operations for name in operation.inputs},
        "operations": [operation.write(OUTPUT) for operation in operations],
    }
    return short(document, scene)


def short(document: doc.Document, scene: Callable[[], Recording]) -> doc.Document:
    """The document that refers to its scene."""
    first = {name: document.pop(name) for name in ("schema", "kind", "name", "about")}
    return {**first, "scene": scene.__name__, **doc.shortened(document, scene_document(scene))}


@dataclass(frozen=True)
class Alone:
    """One client among dishonest others: its operations as they come."""

    scene: Callable[[], Recording]
    client: int = ME
    recording: Recording = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "recording", Recording(self.scene().given))
        self.recording.start(self.client)

    def tell(self, name: str, context: bytes, message: Message) -> list[str]:
        self.recording.frames[name] = write_frame(context, message)
        return self.recording.tell(self.client, name)

    def write(self, rule: str, what: str, about: str, bad: bytes, culprit: int | None = None) -> doc.Document:
        mine = [operation for operation in self.recording.operations if operation.party == self.client]
        refused = Operation(self.client, "receive", ("bad",), (), refusal(rule, culprit))
        frames = {**self.recording.frames, "bad": bad}
        return cut(f"bad_{rule}_{what}", about, self.scene, self.client, [*mine, refused], frames)


# -- dishonest dealers ------------------------------------------------------------------------------------------------


def secret(recording: Recording, client: int, label: str) -> bytes:
    """A secret that ``client`` drew once."""
    return recording.entropy[client].drawn(label)[0]


def channel(recording: Recording, session: bytes, dealer: int, holder: int) -> tuple[bytes, bytes]:
    """Key and associated data of the share channel from ``dealer`` to ``holder``."""
    cipher = recording.given.params.cipher_suite
    public = recording.read(f"{holder}.AdvertiseKeys")[1].enc_key
    agreed = cipher.agreement.load(secret(recording, dealer, "enc-key")).initiated(public)
    key = channel_key(cipher, agreed, session, dealer, holder)
    return key.reveal(), associated_data(cipher, session, dealer, holder)


def opened(recording: Recording, dealer: int, holder: int) -> tuple[bytes, ...]:
    """The shares that ``dealer`` dealt to another ``holder``: (self mask, mask key, noise)."""
    session, message = recording.read(f"{dealer}.ShareKeys")
    (entry,) = [entry for entry in message.dealt if entry.holder == holder]
    return unsealed(recording, session, entry, dealer)


def unsealed(recording: Recording, session: bytes, entry: m.DealtShares, dealer: int) -> tuple[bytes, ...]:
    """The shares in an honest entry of ``dealer``."""
    key, associated = channel(recording, session, dealer, entry.holder)
    pair = msgspec.msgpack.decode(aead.open_sealed(key, entry.sealed, associated), type=m.SharePair)
    return pair.self_mask_share, pair.mask_key_share, pair.noise_shares


def seal(recording: Recording, session: bytes, dealer: int, holder: int, plain: bytes) -> bytes:
    """Seal anything from ``dealer`` to ``holder``, with the dealer's own key and a nonce of its own."""
    key, associated = channel(recording, session, dealer, holder)
    return aead.seal(key, plain, associated, InsecureSeededEntropy("resealed", dealer, holder))


def relay(
    recording: Recording,
    session: bytes,
    dealer: int,
    holder: int,
    shares: Sequence[bytes],
    commitments: tuple[bytes, bytes],
) -> m.RelayedShares:
    """What an honest server passes on of a pair that ``dealer`` made by hand."""
    pair, cipher = m.SharePair(dealer, holder, *shares), recording.given.params.cipher_suite
    hashes = check.share_hashes(cipher, session, pair)
    sealed = seal(recording, session, dealer, holder, msgspec.msgpack.encode(pair))
    signature = b""
    if recording.given.params.adversary == "active":
        statement = check.dealt_statement(session, dealer, holder, commitments, hashes, b"", sealed)
        signature = cipher.sign(identity(dealer), "share-keys", *statement)
    return m.RelayedShares(dealer, *commitments, b"", sealed, *hashes, signature)


def flip(data: bytes, place: int = 0) -> bytes:
    """The data with one bit changed."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def item(entries: Sequence[Any], place: int, **fields: Any) -> tuple[Any, ...]:
    """The list with other values in one entry."""
    return tuple(
        msgspec.structs.replace(entry, **fields) if number == place else entry for number, entry in enumerate(entries)
    )
