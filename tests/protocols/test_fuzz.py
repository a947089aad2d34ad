"""10^5 mutants of every message, in active mode: a typed refusal or unchanged meaning, never anything else.

States are values, so every mutant meets the same receiver in the same state. Half of the mutants are torn bytes, half
are well-formed MessagePack with one value changed, so that both the codec and the numbered rules are exercised. What is
accepted must say what the original said, but for the fields listed in ``FREE``, which later rules or nobody depend on.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest

from protocols import LocalProtocolError, RemoteProtocolError
from protocols.pairwise import client as client_machine
from protocols.pairwise import messages as m
from protocols.pairwise import server as server_machine
from protocols.pairwise import states
from protocols.wire import Message
from secagg.attack.network import Network, read_frame
from tests.support.cohort import ACTIVE, SPARSE_ACTIVE, Variant, make_cohort
from tests.support.entropy import InsecureSeededEntropy

MUTANTS = 100_000

FREE: dict[type[Message], set[str]] = {
    m.MaskedInputRequest: {"model_hash"},  # compared when the input is handed in (C20)
    m.UnmaskingRequest: {"signatures"},  # any t valid ones will do
    m.Abort: {"reason"},  # a text for humans
}

SHORTER: dict[type[Message], str] = {
    m.ShareKeysRequest: "directory",  # clients that are shown different ones are in different sessions
    m.RevealRandomnessRequest: "directory",
    m.ConsistencyCheckRequest: "survivors",  # what is signed is what will be unmasked (C24, C25)
}
"""Lists that a server may shorten: who is here is its to say, and what it said is bound by what follows."""


@dataclass(frozen=True)
class Meeting:
    """A frame, and the state that it meets; ``sender`` is a client, or ``None`` for the server."""

    frame: bytes
    message: Message
    state: Any
    sender: int | None

    def receive(self, data: bytes) -> None:
        if self.sender is None:
            client_machine.receive(self.state, data, InsecureSeededEntropy("fuzz"))
        else:
            server_machine.receive(self.state, self.sender, data)


def meetings(variant: Variant) -> dict[type[Message], Meeting]:
    """One meeting for every message type of a round, noted while the round runs."""
    found: dict[type[Message], Meeting] = {}
    network = Network(make_cohort(variant, variant.n, variant.threshold))

    def note(delivery: Any) -> list[bytes]:
        _, message = read_frame(delivery.frame)
        receiver = network.server if delivery.upward else network.clients[delivery.client]
        sender = delivery.client if delivery.upward else None
        found.setdefault(type(message), Meeting(delivery.frame, message, receiver.state, sender))
        return [delivery.frame]

    network.tampers.append(note)
    network.run_until_end()
    waiting = found[m.MaskedInputRequest]
    abort = m.CODEC.encode(network.cohort.params.hash(), m.Abort("enough"))
    found[m.Abort] = Meeting(abort, m.Abort("enough"), waiting.state, None)
    return found


def torn(frame: bytes, dice: random.Random) -> bytes:
    """Change the bytes."""
    data = bytearray(frame)
    place, other = dice.randrange(len(data)), dice.randrange(len(data))
    match dice.randrange(7):
        case 0:
            data[place] ^= 1 << dice.randrange(8)
        case 1:
            data[place] = dice.randrange(256)
        case 2:
            del data[place : place + dice.randrange(1, 9)]
        case 3:
            data[place:place] = dice.randbytes(dice.randrange(1, 9))
        case 4:
            del data[place:]
        case 5:
            data[place : place + 8] = data[other : other + 8]
        case _:
            data[place:place] = data[other : other + dice.randrange(1, 200)]
    return bytes(data)


def changed(value: Any, dice: random.Random) -> Any:
    """Change one thing somewhere inside a decoded message."""
    if isinstance(value, list) and value and dice.random() < 0.85:
        place = dice.randrange(len(value))
        return [*value[:place], changed(value[place], dice), *value[place + 1 :]]
    if isinstance(value, list):
        place = dice.randrange(len(value) + 1)
        return dice.choice(
            [value[:place] + value[place + 1 :], value[:place] + value[-1:] + value[place:], value[::-1], []]
        )
    if isinstance(value, bytes):
        return dice.choice([torn(value, dice) if value else b"\0", bytes(len(value)), value[:-1], value + b"\0", b""])
    if isinstance(value, int):
        return dice.choice([value + 1, value - 1, 0, 2**16, 2**32, 2**63, -1, True, str(value)])
    return dice.choice([None, "", 0, b"", [], {}, 1.5])


def mutant(frame: bytes, dice: random.Random) -> bytes:
    if dice.random() < 0.5:
        return torn(frame, dice)
    version, kind, context, body = msgspec.msgpack.decode(frame)
    if dice.random() < 0.1:
        return msgspec.msgpack.encode(changed([version, kind, context, body], dice))
    return msgspec.msgpack.encode([version, kind, context, changed(body, dice)])


def same_meaning(meeting: Meeting, data: bytes) -> bool:
    _, message = read_frame(data)
    original, kind = meeting.message, type(meeting.message)
    if type(message) is not kind:
        return False
    if kind in SHORTER:
        return set(getattr(message, SHORTER[kind])) <= set(getattr(original, SHORTER[kind]))
    bound = set(original.__struct_fields__) - FREE.get(kind, set())
    return all(getattr(message, name) == getattr(original, name) for name in bound)


NOISY = replace(ACTIVE, params={**ACTIVE.params, "noise_components": 2}, policy={"colluders": 0}, n=5, threshold=3)
"""Active, with all that a round can have: two components of noise, so that paths are not empty."""

DENSE, SPARSE = meetings(NOISY), meetings(SPARSE_ACTIVE)
MEETINGS = {**SPARSE, **DENSE}


def test_every_message_is_met() -> None:
    assert set(MEETINGS) == set(m.CODEC._kinds.values())


@pytest.mark.parametrize("kind", MEETINGS, ids=lambda kind: kind.__name__)
def test_mutants_are_refused_or_mean_the_same(kind: type[Message], request: pytest.FixtureRequest) -> None:
    meeting = MEETINGS[kind]
    meeting.receive(meeting.frame)
    before = states.snapshot(meeting.state)
    seed = f"{request.config.getoption('--seed')} {kind.__name__}"
    dice = random.Random(seed)
    rules: Counter[str] = Counter()
    for _ in range(MUTANTS):
        data = mutant(meeting.frame, dice)
        if data == meeting.frame:
            continue
        try:
            meeting.receive(data)
        except RemoteProtocolError as refusal:
            rules[refusal.rule.value] += 1
        except LocalProtocolError:
            rules["another message, out of order"] += 1
        except Exception as error:
            error.add_note(f"seed {seed!r}, frame {data.hex()}")
            raise
        else:
            rules["accepted"] += 1
            assert same_meaning(meeting, data), f"seed {seed!r}: accepted {data.hex()}"
    assert states.snapshot(meeting.state) == before
    assert len(rules) >= 3, rules
