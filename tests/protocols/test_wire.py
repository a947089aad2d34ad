"""The codec: one form for every message, limits before memory, and a rule number for every refusal."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import CodecError, LocalProtocolError, ProtocolError, RemoteProtocolError
from protocols.pairwise import client as client_machine
from protocols.pairwise import messages as m
from protocols.pairwise import server as server_machine
from protocols.wire import WIRE_VERSION, WireRule
from secagg.attack.network import Delivery, Network, read_frame
from tests.support.cohort import ACTIVE, CURIOUS, JOINT, VARIANTS, Variant, make_cohort
from tests.support.entropy import InsecureSeededEntropy

PARAMS = make_cohort(CURIOUS).params
CONTEXT = PARAMS.hash()
KEYS = m.AdvertiseKeys(b"\1" * 32, b"\2" * 32, b"", b"")
FRAME = m.CODEC.encode(CONTEXT, KEYS)


def refused(data: bytes) -> WireRule:
    with pytest.raises(CodecError) as refusal:
        server_machine.receive(server_machine.start(PARAMS, bytes(32)).state, 1, data)
    assert isinstance(refusal.value.rule, WireRule)
    return refusal.value.rule


def frame(version: Any = WIRE_VERSION, kind: Any = 1, context: Any = CONTEXT, body: Any = None) -> bytes:
    return msgspec.msgpack.encode(
        [version, kind, context, list(msgspec.structs.astuple(KEYS)) if body is None else body]
    )


@pytest.mark.fast
def test_the_plain_frame_is_taken() -> None:
    assert frame() == FRAME
    server_machine.receive(server_machine.start(PARAMS, bytes(32)).state, 1, FRAME)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (FRAME + bytes(10_000), "W1"),
        (frame(body=[b"\1" * 3000, b"\2" * 32, b"", b""]), "W1"),
        (b"", "W2"),
        (b"\xc1", "W2"),
        (FRAME[:-1], "W2"),
        (FRAME + b"\0", "W2"),
        (frame(context=bytes(31)), "W2"),
        (frame(body={"enc_key": bytes(32)}), "W2"),
        (frame(body=[b"\1" * 32, b"\2" * 32, b""]), "W2"),
        (frame(body=[b"\1" * 32, b"\2" * 32, b"", b"", b""]), "W2"),
        (frame(body=["\1" * 32, b"\2" * 32, b"", b""]), "W2"),
        (frame(body=[b"\1" * 32, b"\2" * 32, b"", bytes(65)]), "W2"),
        (frame(version=True), "W2"),
        (frame(version=2), "W3"),
        (frame(version=-1), "W3"),
        (frame(kind=99), "W4"),
        (frame(kind=2, body=[[]]), "W4"),
        (frame(context=bytes(32)), "W5"),
        (FRAME.replace(b"\x94\x01\x01", b"\x94\xcc\x01\x01", 1), "W6"),
        (FRAME.replace(b"\xc4\x20" + b"\1" * 32, b"\xc5\x00\x20" + b"\1" * 32, 1), "W6"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.hex()[:16],
)
def test_each_rule(data: bytes, rule: str) -> None:
    assert refused(data).value == rule


@pytest.mark.fast
@pytest.mark.parametrize(
    "head",
    [b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"],
    ids=["array", "bytes", "text", "map"],
)
@pytest.mark.parametrize("place", ["frame", "body", "element"])
def test_a_declared_length_of_four_billion_takes_no_memory(head: bytes, place: str) -> None:
    whole = {
        "frame": head + bytes(64),
        "body": b"\x94\x01\x01\xc4\x20" + CONTEXT + head + bytes(64),
        "element": b"\x94\x01\x01\xc4\x20" + CONTEXT + b"\x94" + head + bytes(64),
    }[place]
    tracemalloc.start()
    try:
        assert refused(whole) is WireRule.MALFORMED
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


@pytest.mark.fast
@pytest.mark.parametrize("head", [b"\x91", b"\x81\x01"], ids=["arrays", "maps"])
def test_deep_nesting_is_malformed(head: bytes) -> None:
    """Deeper than the interpreter recurses, and well-formed otherwise."""
    params = make_cohort(CURIOUS, 12, 8).params
    body = head * 2000 + b"\xc0"
    for kind in (1, 3):
        data = b"\x94\x01" + bytes([kind]) + b"\xc4\x20" + params.hash() + body
        with pytest.raises(CodecError) as refusal:
            server_machine.receive(server_machine.start(params, bytes(32)).state, 1, data)
        assert refusal.value.rule in (WireRule.MALFORMED, WireRule.SIZE)


@pytest.mark.fast
def test_text_that_is_not_utf8_is_malformed() -> None:
    client = make_cohort(CURIOUS).client(1)
    data = b"\x94\x01\x0f\xc4\x20" + CONTEXT + b"\x91\xa2\xff\xfe"
    with pytest.raises(CodecError) as refusal:
        client.receive(data)
    assert refusal.value.rule is WireRule.MALFORMED


@given(st.binary(max_size=400))
def test_random_bytes_are_refused_with_a_wire_rule(data: bytes) -> None:
    refused(data)


IDS = st.integers(1, 65_535)
HASHES = st.binary(min_size=32, max_size=32)


@given(
    st.lists(st.tuples(IDS, HASHES, HASHES, st.sampled_from([b"", bytes(32)]), st.sampled_from([b"", bytes(64)]))),
    HASHES,
)
def test_what_is_encoded_is_decoded_to_the_same(entries: list[tuple[Any, ...]], context: bytes) -> None:
    message = m.ShareKeysRequest(tuple(m.AdvertisedKeys(*entry) for entry in entries))
    data = m.CODEC.encode(context, message)
    assert read_frame(data) == (context, message)
    assert m.CODEC.encode(*read_frame(data)) == data


def recorded(variant: Variant) -> list[tuple[Delivery, Any]]:
    """Every delivery of a round with the state of its receiver."""
    network = Network(make_cohort(variant, 5, 4))
    met: list[tuple[Delivery, Any]] = []

    def note(delivery: Delivery) -> list[bytes]:
        receiver = network.server if delivery.upward else network.clients[delivery.client]
        met.append((delivery, receiver.state))
        return [delivery.frame]

    network.tampers.append(note)
    network.run()
    return [(delivery, state) for delivery, state in met if delivery.client == 2]


def meet(delivery: Delivery, state: Any, data: bytes) -> None:
    if delivery.upward:
        server_machine.receive(state, delivery.client, data)
    else:
        client_machine.receive(state, data, InsecureSeededEntropy("wire"))


FREE_BITS = {m.MaskedInputRequest: 256}
"""Bits that a receiver cannot judge yet: the model hash, which is compared when the input is handed in (C20)."""


@pytest.mark.parametrize("variant", [CURIOUS, ACTIVE], ids=str)
def test_every_truncation_and_every_flipped_bit(variant: Variant) -> None:
    for delivery, state in recorded(variant):
        kind = type(read_frame(delivery.frame)[1])
        for end in range(len(delivery.frame)):
            with pytest.raises(CodecError):
                meet(delivery, state, delivery.frame[:end])
        taken = 0
        for bit in range(8 * len(delivery.frame)):
            flipped = bytearray(delivery.frame)
            flipped[bit // 8] ^= 1 << bit % 8
            try:
                meet(delivery, state, bytes(flipped))
            except ProtocolError:
                continue
            taken += 1
        if variant.active:
            assert taken <= FREE_BITS.get(kind, 0), kind


CURIOUS_MALLEABLE = {m.AdvertiseKeys, m.ShareKeysRequest, m.ShareKeys, m.MaskedInputRequest, m.MaskedInput}
"""Without signatures other keys, hashes, sealed shares and inputs are taken: the transport vouches for senders."""


def test_a_curious_round_relies_on_its_transport_for_these_only() -> None:
    for delivery, state in recorded(CURIOUS):
        kind = type(read_frame(delivery.frame)[1])
        if kind in CURIOUS_MALLEABLE:
            continue
        flipped = bytearray(delivery.frame)
        flipped[-1] ^= 1
        with pytest.raises(ProtocolError):
            meet(delivery, state, bytes(flipped))


# -- whole rounds with one bit flipped on the way ----------------------------------------------------------------------


def round_with_a_flip(variant: Variant, number: int, bit: int) -> None:
    """Flip one bit of delivery ``number`` and let everybody go on as far as they will.

    Whoever is left ends with the exact sum of the survivors, or with a typed error.
    """
    cohort = make_cohort(variant)
    network = Network(cohort)
    payload_hit = False

    def flip(delivery: Delivery) -> list[bytes]:
        nonlocal payload_hit
        if len(network.transcript) != number:
            return [delivery.frame]
        data = bytearray(delivery.frame)
        place = bit % (8 * len(data))
        data[place // 8] ^= 1 << place % 8
        try:
            before, after = (read_frame(frame)[1] for frame in (delivery.frame, bytes(data)))
            payload_hit = isinstance(before, m.MaskedInput) and before.payload != after.payload
        except ProtocolError:
            pass
        return [bytes(data)]

    network.tampers.append(flip)
    try:
        outcome = network.run()
    except (LocalProtocolError, RemoteProtocolError):
        return
    if payload_hit and not variant.active:
        return  # the sum is of what arrived: a curious round leaves integrity on the way to the transport
    expected = cohort.sum_of(network.server.survivors)
    for name, total in expected.items():
        np.testing.assert_array_equal(outcome[name], total, err_msg=f"{variant}, delivery {number}, bit {bit}")


def deliveries(variant: Variant) -> list[int]:
    """Bits of every delivery of a round."""
    network = Network(make_cohort(variant))
    network.run()
    return [8 * len(delivery.frame) for delivery in network.transcript]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_sampled_flips_never_make_a_wrong_sum(variant: Variant, rng: np.random.Generator) -> None:
    sizes = deliveries(variant)
    for number, bits in enumerate(sizes):
        for bit in rng.integers(0, bits, 2 if variant.sparse else 6):
            round_with_a_flip(variant, number, int(bit))


@pytest.mark.slow
@pytest.mark.parametrize("variant", [CURIOUS, JOINT], ids=str)
def test_no_flip_makes_a_wrong_sum(variant: Variant) -> None:
    """Every bit of what client 2 says and hears."""
    network = Network(make_cohort(variant))
    network.run()
    for number, delivery in enumerate(network.transcript):
        if delivery.client == 2:
            for bit in range(8 * len(delivery.frame)):
                round_with_a_flip(variant, number, bit)
