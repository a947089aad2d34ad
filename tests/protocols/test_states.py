"""Both machines against their tables: what is in them leads on, what is not changes nothing; secrets come and go."""

from __future__ import annotations

import base64
import copy
import pickle
import traceback
from collections import Counter
from typing import Any

import pytest

from protocols import LocalProtocolError, ParameterError, ProtocolError, RemoteProtocolError, Secret
from protocols.pairwise import Client, MemoryRelay, Phase, Server, states
from protocols.pairwise import client as client_machine
from protocols.pairwise import messages as m
from protocols.pairwise import server as server_machine
from protocols.wire import Message
from secagg.attack.adversary import AttackFailedError
from secagg.attack.network import Network, read_frame
from tests.support.cohort import MODEL, VARIANTS, Variant, make_cohort
from tests.support.entropy import PUBLIC_LABELS, EntropyFailureError, FailingEntropy, InsecureSeededEntropy
from tests.support.scenarios import SCENARIOS, Scenario


def walk(variant: Variant) -> tuple[dict[type, Any], dict[type, Any], dict[type[Message], bytes]]:
    """A round: every client state and server state met, and one frame of every message."""
    client_states: dict[type, Any] = {}
    server_states: dict[type, Any] = {}
    frames: dict[type[Message], bytes] = {}
    network = Network(make_cohort(variant))

    def note(delivery: Any) -> list[bytes]:
        frames.setdefault(type(read_frame(delivery.frame)[1]), delivery.frame)
        for machine in network.clients.values():
            client_states.setdefault(type(machine.state), machine.state)
        server_states.setdefault(type(network.server.state), network.server.state)
        return [delivery.frame]

    network.tampers.append(note)
    network.run_until_end()
    network.server.advance()
    server_states[states.Opened] = network.server.state
    client_states[states.Completed] = network.clients[1].state
    client_states[states.Aborted] = states.Aborted("a test")
    server_states[states.Aborted] = states.Aborted("a test")
    waiting = next(s for kind, s in client_states.items() if kind is states.ExpectMaskedInputRequest)
    client_states.setdefault(states.ExpectInput, _input_state(waiting, frames))
    frames[m.Abort] = m.CODEC.encode(network.cohort.params.hash(), m.Abort("enough"))
    return client_states, server_states, frames


def _input_state(waiting: Any, frames: dict[type[Message], bytes]) -> Any:
    return client_machine.receive(waiting, frames[m.MaskedInputRequest], InsecureSeededEntropy("walk")).state


WALKS = {variant.name: walk(variant) for variant in VARIANTS}


def test_together_the_variants_visit_every_state() -> None:
    clients = {kind for walked in WALKS.values() for kind in walked[0]}
    servers = {kind for walked in WALKS.values() for kind in walked[1]}
    assert {before for before, _ in states.CLIENT_TRANSITIONS} | {states.Completed, states.Aborted} == clients
    assert {*states.SERVER_ADVANCES, states.Opened, states.Aborted} == servers


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_client_takes_what_its_table_says_and_nothing_else(variant: Variant) -> None:
    client_states, _, frames = WALKS[variant.name]
    for before, state in client_states.items():
        snapshot = states.snapshot(state)
        for kind, frame in frames.items():
            legal = states.CLIENT_TRANSITIONS.get((before, kind), ())
            if not legal or kind is m.MaskedInput:
                with pytest.raises(ProtocolError):
                    client_machine.receive(state, frame, InsecureSeededEntropy("table"))
            else:
                try:
                    step = client_machine.receive(state, frame, InsecureSeededEntropy("table"))
                except RemoteProtocolError:
                    continue  # a frame meant for another client
                assert type(step.state) in legal
        assert states.snapshot(state) == snapshot


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_server_takes_what_its_table_says_and_nothing_else(variant: Variant) -> None:
    _, server_states, frames = WALKS[variant.name]
    for before, state in server_states.items():
        snapshot = states.snapshot(state)
        for kind, frame in frames.items():
            legal = states.SERVER_TRANSITIONS.get((before, kind), ())
            if legal:
                assert type(server_machine.receive(state, 1, frame).state) in legal
            else:
                with pytest.raises(ProtocolError):
                    server_machine.receive(state, 1, frame)
        assert states.snapshot(state) == snapshot


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_finished_server_does_nothing(variant: Variant) -> None:
    _, server_states, _ = WALKS[variant.name]
    for kind in (states.Opened, states.Aborted):
        for call in (
            lambda state: server_machine.advance(state, MemoryRelay().entry),
            lambda state: server_machine.abort(state, "again"),
        ):
            with pytest.raises(LocalProtocolError, match="over"):
                call(server_states[kind])
        assert server_machine.status(server_states[kind]).phase is None


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_advance_needs_enough_clients(variant: Variant) -> None:
    network = Network(make_cohort(variant))
    with pytest.raises(LocalProtocolError, match="wait for more, or abort"):
        network.server.advance()
    assert network.server.status.phase is Phase.ADVERTISE_KEYS


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_abort_reaches_whoever_is_in_the_round(variant: Variant) -> None:
    network = Network(make_cohort(variant))
    network.step()
    network.step()
    for client, frame in network.server.abort("the study was stopped"):
        assert network.clients[client].receive(frame) == ()
        assert network.clients[client].state == states.Aborted("the server aborted the round: the study was stopped")
        with pytest.raises(LocalProtocolError, match="over"):
            network.clients[client].receive(frame)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_snapshot_and_restore_at_every_step_change_nothing(variant: Variant) -> None:
    """Restored before every message, with the same entropy and ledger, both machines say the same bytes."""
    plain, restored = Network(make_cohort(variant)), Network(make_cohort(variant))

    def revive(delivery: Any) -> list[bytes]:
        old = restored.clients[delivery.client]
        if not old.wants_input:
            restored.clients[delivery.client] = Client.restore(old.snapshot(), ledger=old._ledger, entropy=old._entropy)
        assert states.snapshot(states.restore_server(states.snapshot(restored.server.state))) == states.snapshot(
            restored.server.state
        )
        restored.server.state = states.restore_server(states.snapshot(restored.server.state))
        return [delivery.frame]

    restored.tampers.append(revive)
    first, second = plain.run(), restored.run()
    assert [d.frame for d in plain.transcript] == [d.frame for d in restored.transcript]
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xc1", b"\x80", b"\x81\xa4type\xa6Nobody", bytes(100)], ids=bytes.hex)
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    for restore in (states.restore_client, states.restore_server):
        with pytest.raises(LocalProtocolError, match="not a snapshot"):
            restore(data)


def test_a_server_snapshot_is_no_client_snapshot() -> None:
    _, server_states, _ = WALKS[VARIANTS[0].name]
    with pytest.raises(LocalProtocolError):
        states.restore_client(states.snapshot(server_states[states.CollectUnmasking]))


def test_an_active_round_needs_the_right_identity() -> None:
    active = next(variant for variant in VARIANTS if variant.active)
    cohort = make_cohort(active)
    for wrong in (None, Secret(bytes(32))):
        with pytest.raises(ParameterError, match="identity"):
            Client(cohort.params, cohort.policy, 1, identity=wrong)
    with pytest.raises(ParameterError, match="roster"):
        Server(cohort.params, MODEL)
    with pytest.raises(ParameterError, match="32 bytes"):
        Server(cohort.params, b"short", roster=cohort.roster)


# -- secrets -----------------------------------------------------------------------------------------------------------


@pytest.mark.fast
def test_a_secret_does_not_print_pickle_or_copy() -> None:
    secret = Secret(b"\xde\xad\xbe\xef" * 8)
    assert repr(secret) == str(secret) == "Secret(32 bytes)"
    assert "deadbeef" not in f"{secret!r} {secret} {[secret]} { ({'key': secret}) }"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            leak(secret)
    assert secret == Secret(b"\xde\xad\xbe\xef" * 8)
    assert secret != Secret(bytes(32))
    assert secret != secret.reveal()
    with pytest.raises(TypeError):
        hash(secret)


@pytest.mark.fast
def test_the_wire_encoder_does_not_know_secrets() -> None:
    with pytest.raises(TypeError):
        m.CODEC.encode(bytes(32), m.ConsistencyCheck(Secret(bytes(64))))  # type: ignore[arg-type]


def forms(secret: bytes) -> list[bytes]:
    return [secret, secret.hex().encode(), base64.b64encode(secret), repr(secret).encode()]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_secrets_reach_no_frame_no_text_and_no_final_state(variant: Variant) -> None:
    network = Network(make_cohort(variant))
    machines = dict(network.clients)
    texts: list[str] = []

    def eavesdrop(delivery: Any) -> list[bytes]:
        for machine in network.clients.values():
            texts.append(repr(machine.state))
            try:
                machine.receive(b"\x94" + delivery.frame[:40])
            except ProtocolError as error:
                texts.append("".join(traceback.format_exception(error)))
        return [delivery.frame]

    network.tampers.append(eavesdrop)
    network.run()
    # Of the dropped nobody is left here, so mask keys stay secret for ever; self-mask seeds are opened share by share.
    labels = {"enc-key", "mask-key", "self-mask-seed", "noise-link", "shamir-coefficient"}
    secrets = [s for machine in machines.values() for label in labels for s in machine._entropy.drawn(label)]
    assert len(secrets) > 3 * len(machines)
    said = b"".join(delivery.frame for delivery in network.transcript)
    shown = "".join(texts).encode()
    ended = b"".join(states.snapshot(machine.state) for machine in machines.values())
    for secret in secrets:
        for form in forms(secret):
            assert form not in said
            assert form not in shown
            assert form not in ended
    assert all(isinstance(machine.state, states.Completed) for machine in machines.values())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_no_refusal_tells_a_secret(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an attacker provokes, neither the error nor what led to it shows anything that a client drew."""
    drawn: list[bytes] = []
    take = InsecureSeededEntropy.take

    def recorded(self: InsecureSeededEntropy, n: int, label: str) -> bytes:
        value = take(self, n, label)
        drawn.extend([value] if label not in PUBLIC_LABELS else [])
        return value

    monkeypatch.setattr(InsecureSeededEntropy, "take", recorded)
    with pytest.raises((ProtocolError, AttackFailedError)) as stopped:
        scenario.attack(scenario.cohort())
    error: BaseException | None = stopped.value
    while error is not None:
        shown = f"{error} {error!r} {error.args} {vars(error)}".encode()
        assert not [form for secret in drawn for form in forms(secret) if form in shown]
        error = error.__cause__ or error.__context__


# -- randomness that fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_step_without_randomness_leaves_the_machine_as_it_was(variant: Variant) -> None:
    """Whichever draw fails, the error passes through and the step can be taken again."""
    cohort = make_cohort(variant)
    with pytest.raises(EntropyFailureError):
        cohort.client(1, FailingEntropy(1))
    network = Network(cohort)
    network.until(variant.phases[variant.phases.index(Phase.SHARE_KEYS) - 1])
    requests = dict(network.server.advance())
    for draws in (0, 1, 3):
        machine = copy.copy(network.clients[1])
        machine._entropy = FailingEntropy(draws)
        before = machine.snapshot()
        with pytest.raises(EntropyFailureError):
            machine.receive(requests[1])
        assert machine.snapshot() == before
        machine._entropy = network.clients[1]._entropy
        assert machine.receive(requests[1])


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_what_is_drawn_is_drawn_once_and_known_by_name(variant: Variant) -> None:
    """The amounts: two keys, one seed, one link, t - 1 coefficients for each secret, one nonce for each neighbour."""
    network = Network(make_cohort(variant))
    network.run()
    t = network.cohort.params.threshold
    assert network.graph is not None
    for client, machine in network.clients.items():
        drawn = Counter(label for label, _ in machine._entropy.records)
        near = len(network.graph.build().neighbours(client))
        parts = {"joint-randomness": 1} if network.cohort.params.commits else {}
        links = {"noise-link": 1} if network.cohort.params.noise_components else {}
        assert drawn == {
            "enc-key": 1,
            "mask-key": 1,
            **parts,
            "self-mask-seed": 1,
            **links,
            "shamir-coefficient": (2 + network.cohort.params.noise_components) * (t - 1),
            "aead-nonce": near,
        }
    values = [value for machine in network.clients.values() for _, value in machine._entropy.records]
    assert len(set(values)) == len(values)
