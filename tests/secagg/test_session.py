"""The two halves of the engine, driven over bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import quant
from protocols import LocalProtocolError, RemoteProtocolError
from protocols.pairwise import LocalPolicy, MemoryLedger
from secagg import ClientSession, RoundConfig, ServerSession, UsageError
from tests.secagg.conftest import MODEL

pytestmark = pytest.mark.fast


def to_input(config: RoundConfig, model: bytes = MODEL) -> tuple[ServerSession, dict[int, ClientSession]]:
    """Drive a round up to the point where the clients' inputs are wanted."""
    server = ServerSession(config, model)
    clients = {client: ClientSession(config, client) for client in config.clients}
    for client, session in clients.items():
        server.receive(client, session.start())
    for client, request in server.advance():
        for frame in clients[client].receive(request):
            server.receive(client, frame)
    for client, request in server.advance():
        assert clients[client].receive(request) == ()
        assert clients[client].wants_input
    return server, clients


def test_the_clip_bounds_one_example_whatever_the_weight(config: RoundConfig) -> None:
    """A site of weight 1 among weights up to 50 moves the sum by a fiftieth of the clip, however large its update."""
    clipped = replace(config, max_weight=50, quantization={"bits": 16, "range": 1.0, "clip": 1.0})
    _, clients = to_input(clipped)
    codec = clipped.codec
    sent = clients[1].prepare(np.full(33, 1e6), weight=1)
    norm = np.linalg.norm(codec.decode(sent.integers, 1))
    assert norm < 1 / 50 + codec.facts.step * np.sqrt(33)


def test_weighted_round(config: RoundConfig, updates: dict[int, np.ndarray]) -> None:
    weighted = replace(config, max_weight=50)
    server, clients = to_input(weighted)
    for client, session in clients.items():
        for frame in session.submit(updates[client], MODEL, weight=10 * client):
            server.receive(client, frame)
    for client, request in server.advance():
        for frame in clients[client].receive(request):
            server.receive(client, frame)
    server.advance()
    opened = server.result()
    assert opened.total_weight == 150
    expected = np.average(list(updates.values()), axis=0, weights=[10, 20, 30, 40, 50])
    np.testing.assert_allclose(opened.mean, expected, atol=config.codec.facts.step * 50 * 5 / 150)
    np.testing.assert_allclose(opened.sum, expected * 150, atol=config.codec.facts.step * 50 * 5)


def test_an_update_is_taken_once(config: RoundConfig, updates: dict[int, np.ndarray]) -> None:
    _, clients = to_input(config)
    list(clients[1].submit(updates[1], MODEL))
    with pytest.raises(LocalProtocolError):
        clients[1].submit(updates[2], MODEL)


def test_input_before_it_is_wanted(config: RoundConfig, updates: dict[int, np.ndarray]) -> None:
    with pytest.raises(LocalProtocolError, match="does not wait"):
        ClientSession(config, 1).submit(updates[1], MODEL)


def test_bad_input_leaves_the_round_open(config: RoundConfig, updates: dict[int, np.ndarray]) -> None:
    server, clients = to_input(config)
    with pytest.raises(quant.InputError):
        clients[1].submit(np.full(33, np.nan), MODEL)
    with pytest.raises(UsageError, match="no weight"):
        clients[1].submit(updates[1], MODEL, weight=3)
    for frame in clients[1].submit(updates[1], MODEL):
        server.receive(1, frame)
    assert server.status.have == (1,)


def test_a_weighted_round_wants_weights(config: RoundConfig, updates: dict[int, np.ndarray]) -> None:
    _, clients = to_input(replace(config, max_weight=10))
    with pytest.raises(UsageError, match="a weight for every update"):
        clients[1].submit(updates[1], MODEL)


def test_another_model_is_refused_by_the_client(config: RoundConfig, updates: dict[int, np.ndarray]) -> None:
    _, clients = to_input(config, model=bytes(32))
    with pytest.raises(RemoteProtocolError, match="C20"):
        clients[1].submit(updates[1], MODEL)


def test_sites_that_were_told_different_tasks_do_not_meet(config: RoundConfig) -> None:
    server = ServerSession(config, MODEL)
    other = ClientSession(replace(config, quantization={"bits": 12, "range": 2.0}), 1)
    with pytest.raises(RemoteProtocolError, match="W5"):
        server.receive(1, other.start())


def test_the_policy_decides(config: RoundConfig) -> None:
    with pytest.raises(RemoteProtocolError, match="C2"):
        ClientSession(config, 1, policy=LocalPolicy(min_clients=6))


def test_no_result_before_the_end_and_only_once(config: RoundConfig, updates: dict[int, np.ndarray]) -> None:
    server, clients = to_input(config)
    with pytest.raises(LocalProtocolError, match="no result"):
        server.result()
    for client, session in clients.items():
        for frame in session.submit(updates[client], MODEL):
            server.receive(client, frame)
    for client, request in server.advance():
        for frame in clients[client].receive(request):
            server.receive(client, frame)
    server.advance()
    server.result()
    with pytest.raises(LocalProtocolError, match="taken before"):
        server.result()


def test_rounding_is_fresh_every_time(config: RoundConfig, updates: dict[int, np.ndarray]) -> None:
    session = ClientSession(config, 1)
    first, second = session.prepare(updates[1]).integers, session.prepare(updates[1]).integers
    assert (first != second).any()
    assert np.abs(first - second).max() <= 1


def test_counters_are_summed_exactly_beside_the_update(config: RoundConfig, updates: dict[int, np.ndarray]) -> None:
    server, clients = to_input(replace(config, counters=("right", "seen")))
    for client, session in clients.items():
        counted = session.prepare(updates[client], counters={"right": client, "seen": 1 << 40})
        for frame in session.submit(counted, MODEL):
            server.receive(client, frame)
    for client, request in server.advance():
        for frame in clients[client].receive(request):
            server.receive(client, frame)
    server.advance()
    assert server.result().counters == {"right": 15, "seen": 5 << 40}


@pytest.mark.parametrize("counters", [None, {"right": 1}, {"right": 1, "seen": -1}, {"right": 1, "seen": 2.0}])
def test_unusable_counters(config: RoundConfig, updates: dict[int, np.ndarray], counters: dict[str, int]) -> None:
    _, clients = to_input(replace(config, counters=("right", "seen")))
    with pytest.raises(UsageError, match=r"this round counts|whole number"):
        clients[1].prepare(updates[1], counters=counters)


def test_a_restored_session_goes_on(config: RoundConfig, updates: dict[int, np.ndarray]) -> None:
    server, clients = to_input(config)
    for client in clients:
        clients[client] = ClientSession.restore(config, client, clients[client].snapshot(), ledger=MemoryLedger())
        for frame in clients[client].submit(updates[client], MODEL):
            server.receive(client, frame)
    for client, request in server.advance():
        clients[client] = ClientSession.restore(config, client, clients[client].snapshot(), ledger=MemoryLedger())
        for frame in clients[client].receive(request):
            server.receive(client, frame)
        assert clients[client].over
    server.advance()
    np.testing.assert_allclose(server.result().mean, np.mean(list(updates.values()), axis=0), atol=0.01)
