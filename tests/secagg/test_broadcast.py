"""The way down: quantized bytes, their hash, and the residual that the server keeps."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

import quant
import secagg
from protocols import RemoteProtocolError
from secagg.broadcast import Downlink, hash_of, read
from tests.secagg.test_session import to_input

pytestmark = pytest.mark.fast


@pytest.fixture
def model(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"w": rng.normal(size=(40, 25)).astype(np.float32), "b": np.zeros(25, np.float32)}


@pytest.mark.parametrize("bits", [1, 4, 8, 16, 24])
def test_a_site_reads_the_model_within_half_a_step_and_zeros_exactly(model: dict[str, np.ndarray], bits: int) -> None:
    layout = quant.Layout.of(model)
    data, after = Downlink.start(layout, bits).send(model)
    got = layout.unflatten(read(data, layout, bits))
    step = 2 * np.abs(model["w"]).max() / max(2**bits - 2, 1)
    assert np.abs(got["w"] - model["w"]).max() <= step / 2 + 2.0**-23 * np.abs(model["w"]).max()
    assert bits == 1 or not got["b"].any()
    assert len(data) <= 1025 * bits / 8 + 100
    np.testing.assert_allclose(read(data, layout, bits) + after.residual, layout.flatten(model), atol=1e-12)


def test_float32_is_sent_as_it_is(model: dict[str, np.ndarray]) -> None:
    layout = quant.Layout.of(model)
    data, after = Downlink.start(layout, None).send(model)
    np.testing.assert_array_equal(read(data, layout, None), layout.flatten(model))
    assert not after.residual.any()


def test_what_is_left_out_is_said_later(model: dict[str, np.ndarray]) -> None:
    """The mean of what was sent of a model that stands still comes to it; without feedback it never would."""
    layout = quant.Layout.of(model)
    state, seen = Downlink.start(layout, 3), np.zeros(layout.dim)
    for _ in range(64):
        data, state = state.send(model)
        seen += read(data, layout, 3)
    alone = np.abs(read(Downlink.start(layout, 3).send(model)[0], layout, 3) - layout.flatten(model)).max()
    assert np.abs(seen / 64 - layout.flatten(model)).max() < alone / 20


@pytest.mark.parametrize("bits", [0, 25, 32, True, 8.0])
def test_bits_that_cannot_be(model: dict[str, np.ndarray], bits: int) -> None:
    with pytest.raises(secagg.UsageError, match="1 to 24"):
        Downlink.start(quant.Layout.of(model), bits)


def test_other_bytes_than_agreed_on_are_refused(model: dict[str, np.ndarray]) -> None:
    layout = quant.Layout.of(model)
    data, _ = Downlink.start(layout, 8).send(model)
    fields = list(msgspec.msgpack.decode(data))
    wrong = [data[:-1], data + b"\0", b"", {"version": 1}]
    for place, value in [(0, 2), (1, bytes(32)), (2, 9), (3, [1.0]), (3, [1.0, float("nan")]), (4, b"\0" * 9)]:
        wrong.append([*fields[:place], value, *fields[place + 1 :]])
    for bad in wrong:
        with pytest.raises(secagg.RoundRefused, match="server's model"):
            read(bad if isinstance(bad, bytes) else msgspec.msgpack.encode(bad), layout, 8)
    with pytest.raises(secagg.RoundRefused):
        read(data, layout, None)
    with pytest.raises(secagg.RoundRefused):
        read(data, quant.Layout.of({"w": model["w"], "c": model["b"]}), 8)


def test_the_round_is_bound_to_the_bytes_that_a_site_received(
    config: secagg.RoundConfig, updates: dict[int, np.ndarray], rng: np.random.Generator
) -> None:
    """A model that differs by less than a step makes the same bytes; one bit on the wire makes another hash."""
    layout = quant.Layout.of(np.zeros(33, np.float32))
    data, _ = Downlink.start(layout, 8).send(rng.normal(size=33).astype(np.float32))
    other = data[:-1] + bytes([data[-1] ^ 1])
    _, clients = to_input(config, model=hash_of(data))
    with pytest.raises(RemoteProtocolError, match="C20"):
        clients[1].submit(updates[1], hash_of(other))
    list(clients[1].submit(updates[1], hash_of(data)))


def test_model_bytes_are_counted_at_every_site(updates: dict[int, np.ndarray]) -> None:
    layout = quant.Layout.of(np.zeros(33, np.float32))
    data, _ = Downlink.start(layout, 8).send(np.ones(33, np.float32))
    record = secagg.aggregate(updates, model=data, downlink_bits=8, dropouts={5: "unmasking"}).record
    assert record.model_bytes == dict.fromkeys(range(1, 6), len(data))
    messages = sum(by_client[1] for by_client in record.downlink_bytes.values())
    assert record.downlink_total(1) == len(data) + messages > len(data)


def test_a_leaf_that_stays_zero_is_sent_for_as_long_as_its_residual_shrinks(rng: np.random.Generator) -> None:
    layout = quant.Layout.of({"w": np.zeros(40)})
    _, server = Downlink.start(layout, 8).send({"w": rng.normal(size=40)})
    for _ in range(30):
        _, server = server.send({"w": np.zeros(40)})
    assert np.abs(server.residual).max() < 1e-30


def test_zeros_are_not_sent_as_ones_with_a_single_bit() -> None:
    layout = quant.Layout.of({"w": np.zeros(4)})
    data, server = Downlink.start(layout, 1).send({"w": np.zeros(4)})
    assert np.abs(read(data, layout, 1)).max() < 1.1e-30
    assert np.abs(server.residual).max() < 1.1e-30


@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7, 0.9 * 16777217 / 2**24, 1e-40, 1e30 * (1 - 1e-7)])
def test_the_range_of_a_leaf_holds_its_largest_value(value: float) -> None:
    layout = quant.Layout.of({"w": np.zeros(1)})
    data, _ = Downlink.start(layout, 8).send({"w": np.array([value])})
    assert msgspec.msgpack.decode(data)[3][0] >= value


@pytest.mark.parametrize(("bits", "value"), [(8, 1e35), (8, 1e30), (None, 1e300)])
def test_a_model_beyond_what_can_be_sent_is_refused(bits: int | None, value: float) -> None:
    layout = quant.Layout.of({"w": np.zeros(1)})
    with pytest.raises(quant.InputError, match="beyond"):
        Downlink.start(layout, bits).send({"w": np.array([value])})
