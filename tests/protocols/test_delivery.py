"""The network may reorder, repeat, delay and replay: the sum is the same, or somebody says no by rule."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import msgspec
import numpy as np
import pytest

from protocols import CodecError, LocalProtocolError, ProtocolError, RemoteProtocolError
from protocols.pairwise import Phase, Rule, VectorSpec, states
from protocols.pairwise import messages as m
from protocols.wire import WireRule
from secagg.attack.adversary import Attacker
from secagg.attack.network import Delivery, Network, read_frame
from tests.support.cohort import ACTIVE, CURIOUS, MODEL, VARIANTS, Variant, make_cohort


@pytest.mark.parametrize("variant", [CURIOUS, ACTIVE], ids=str)
def test_every_order_of_arrival_of_three_gives_the_same_round(variant: Variant) -> None:
    """Orders are explored phase by phase: what the server keeps and says does not depend on the order of one phase."""
    cohort = make_cohort(variant, 3, 3)
    network = Network(cohort)
    for phase in variant.phases:
        outcomes = []
        for order in permutations(range(3)):
            branch = network.fork()
            branch.arrival = lambda answers, order=order: [answers[place] for place in order]
            branch.step()
            assert not branch.rejected
            following = branch.fork()
            said = list(following.server.advance())
            outcomes.append((said, branch))
        assert all(said == outcomes[0][0] for said, _ in outcomes), phase
        network = outcomes[-1][1]
    np.testing.assert_array_equal(network.finish()["x"], cohort.sum_of(cohort.ids)["x"])


@pytest.mark.slow
@pytest.mark.parametrize("variant", [CURIOUS, ACTIVE], ids=str)
def test_every_combination_of_orders_of_three(variant: Variant) -> None:
    cohort = make_cohort(variant, 3, 3)
    orders = list(permutations(range(3)))
    for chosen in product(orders, repeat=len(variant.phases)):
        network = Network(cohort)
        network.arrival = lambda answers, chosen=chosen, network=network: [
            answers[place] for place in chosen[network.steps - 1]
        ]
        np.testing.assert_array_equal(network.run()["x"], cohort.sum_of(cohort.ids)["x"])


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_everything_said_twice_changes_nothing(variant: Variant) -> None:
    """The server takes a repetition for what it is; a client refuses it, and goes on from where it was."""
    cohort = make_cohort(variant, vectors=[VectorSpec("x", 6, 1 << 16), VectorSpec("w", 2, 97)])
    network = Network(cohort)

    def twice(delivery: Delivery) -> list[bytes]:
        if delivery.upward:
            network.server.receive(delivery.client, delivery.frame)
            state = network.server.state
            network.server.receive(delivery.client, delivery.frame)
            assert states.snapshot(network.server.state) == states.snapshot(state)
        return [delivery.frame]

    network.tampers.append(twice)
    inner = network._answer

    def answer_once(client: int, request: bytes) -> list[bytes]:
        answers = inner(client, request)
        before = network.clients[client].snapshot()
        with pytest.raises(ProtocolError):
            network.clients[client].receive(request)
        assert network.clients[client].snapshot() == before
        return answers

    network._answer = answer_once  # type: ignore[method-assign]
    outcome = network.run()
    assert not network.rejected
    for name, total in cohort.sum_of(cohort.ids).items():
        np.testing.assert_array_equal(outcome[name], total)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_frame_in_every_later_phase_is_out_of_step(variant: Variant) -> None:
    cohort = make_cohort(variant)
    network = Network(cohort)
    said: list[Delivery] = []
    for _ in variant.phases:
        network.step()
        for old in said:
            if not old.upward:
                continue
            before = states.snapshot(network.server.state)
            with pytest.raises(RemoteProtocolError) as refusal:
                network.server.receive(old.client, old.frame)
            assert refusal.value.rule is Rule.IN_PHASE
            assert states.snapshot(network.server.state) == before
        said = list(network.transcript)
    np.testing.assert_array_equal(network.finish()["x"], cohort.sum_of(cohort.ids)["x"])


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_masked_input_that_comes_late_is_left_out(variant: Variant) -> None:
    """Whoever is late for the survivor list is unmasked as dropped; its input can no longer enter the sum."""
    cohort = make_cohort(variant)
    late: list[Delivery] = []

    def delay(delivery: Delivery) -> list[bytes]:
        if delivery.upward and delivery.client == 2 and delivery.phase is Phase.MASKED_INPUT:
            late.append(delivery)
            return []
        return [delivery.frame]

    network = Network(cohort, tampers=[delay]).until(Phase.MASKED_INPUT)
    network.step()
    with pytest.raises(RemoteProtocolError) as refusal:
        network.server.receive(2, late[0].frame)
    assert refusal.value.rule is Rule.IN_PHASE
    network.tampers.clear()
    outcome = network.run()
    included = [client for client in cohort.ids if client != 2]
    np.testing.assert_array_equal(outcome["x"], cohort.sum_of(included)["x"])


# -- replay ------------------------------------------------------------------------------------------------------------


def receivers(network: Network, delivery: Delivery) -> None:
    """Hand a frame to whom it would be for."""
    if delivery.upward:
        network.server.receive(delivery.client, delivery.frame)
    else:
        network.clients[delivery.client].receive(delivery.frame)


@pytest.mark.parametrize(
    "change", [{"round_index": 1}, {"attempt": 1}, {"study": "another"}, {"task": bytes(range(32))}]
)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_no_frame_of_one_round_is_taken_in_another(variant: Variant, change: dict[str, object]) -> None:
    """Also not with the very same keys: the parameters are in the context of every frame."""
    cohort = make_cohort(variant)
    first, second = Network(cohort), Network(cohort.with_params(**change))
    for _ in variant.phases:
        seen = len(first.transcript)
        first.step()
        for delivery in first.transcript[seen:]:
            with pytest.raises(ProtocolError) as refusal:
                receivers(second, delivery)
            if isinstance(refusal.value, CodecError):
                assert refusal.value.rule is WireRule.CONTEXT
        second.step()
    np.testing.assert_array_equal(second.run()["x"], cohort.sum_of(cohort.ids)["x"])


def recontexted(frame: bytes, context: bytes) -> bytes:
    return m.CODEC.encode(context, read_frame(frame)[1])


def stale(change: dict[str, object]) -> tuple[Attacker, Attacker]:
    """Two active rounds of the same people, up to the dealing of shares: (then, now)."""
    cohort = make_cohort(ACTIVE)
    then, now = Attacker(cohort), Attacker(cohort.with_params(**change))
    for attacker in (then, now):
        attacker.advertise()
        for client in cohort.ids:
            attacker.send_directory(client)
    return then, now


def test_signed_keys_of_another_round_are_refused_in_any_context() -> None:
    cohort = make_cohort(ACTIVE)
    old = cohort.client(2).start()
    server = cohort.with_params(round_index=1).server()
    with pytest.raises(RemoteProtocolError) as refusal:
        server.receive(2, recontexted(old, server.state.terms.params.hash()))
    assert refusal.value.rule is Rule.KEYS_ACCEPTABLE


def test_shares_of_another_round_are_refused_in_any_context() -> None:
    then, now = stale({"round_index": 1})
    relayed = (*then.relay(1, [2]), *now.relay(1, [3, 4]))
    with pytest.raises(RemoteProtocolError) as refusal:
        now.send_shares(1, relayed=relayed)
    assert refusal.value.rule is Rule.SHARE_AS_PUBLISHED


def test_shares_for_another_holder_are_refused() -> None:
    """Mix-up: what 2 sealed for 3 goes to 1, under 2's entry for 3 or for 1.

    In an active round the signature tells; the vectors of C18 have the same in a curious one, where the seal does.
    """
    _, now = stale({"round_index": 1})
    for_one, for_three = now.relay(1, [2])[0], now.relay(3, [2])[0]
    entries = {entry.dealer: entry for entry in now.relay(1, [2, 3, 4])}
    mixed = msgspec.structs.replace(for_one, sealed=for_three.sealed)
    for wrong in (for_three, mixed):
        with pytest.raises(RemoteProtocolError) as refusal:
            now.send_shares(1, relayed=(wrong, entries[3], entries[4]))
        assert refusal.value.rule is Rule.SHARE_AS_PUBLISHED


def test_signatures_on_survivors_of_another_round_are_refused() -> None:
    cohort = make_cohort(ACTIVE)
    then, now = Attacker(cohort).reach_inputs(), Attacker(cohort.with_params(round_index=1)).reach_inputs()
    for attacker in (then, now):
        for client in cohort.ids:
            attacker.send_survivors(client, cohort.ids)
    now.signatures = dict(then.signatures)
    with pytest.raises(RemoteProtocolError) as refusal:
        now.send_unmasking(1, cohort.ids, ())
    assert refusal.value.rule is Rule.SURVIVORS_SIGNED


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_sizes_tell_nothing_of_the_input(variant: Variant, rng: np.random.Generator) -> None:
    """Message sizes depend on public parameters only."""
    cohort = make_cohort(variant, vectors=[VectorSpec("x", 100, 1 << 20), VectorSpec("w", 3, 97)])
    sizes = set()
    for seed in range(4):
        inputs = {
            client: {
                "x": rng.integers(0, 2 ** (5 * seed) + 1, 100, dtype=np.uint64),
                "w": rng.integers(0, 97 if seed else 1, 3, dtype=np.uint64),
            }
            for client in cohort.ids
        }
        network = Network(replace(cohort, inputs=inputs, seed=seed))
        network.run()
        sizes.add(tuple(sorted((d.client, d.phase.value, d.upward, len(d.frame)) for d in network.transcript)))
    assert len(sizes) == 1


@pytest.mark.parametrize("end", ["advance", "abort"])
def test_shares_that_were_erased_are_not_sent_again(end: str) -> None:
    """Requests are made as they are sent: one that is to be sent after its phase is refused, not a stray error."""
    network = Network(make_cohort(CURIOUS)).until(Phase.SHARE_KEYS)
    requests = network.server.advance()
    first = list(requests)
    assert list(requests) == first
    for client, request in first:
        for answer in network._answer(client, request):
            network.server.receive(client, answer)
    if end == "abort":
        network.server.abort("enough")
    else:
        network.server.advance()
    with pytest.raises(LocalProtocolError, match="erased"):
        list(requests)


@pytest.mark.parametrize("found", [[0, 0, 0, 0], None, np.zeros(4), np.zeros((4, 1), np.uint64)], ids=repr)
def test_a_source_of_something_else_than_a_vector_is_refused(found: object) -> None:
    """What a function gives is only seen when it is masked; the machine stays where it was."""
    cohort = make_cohort(CURIOUS)
    network = Network(cohort).until(Phase.SHARE_KEYS)
    machine = network.clients[1]
    machine.receive(dict(network.server.advance())[1])
    with pytest.raises(LocalProtocolError, match="takes 4 values of uint64 next"):
        list(machine.submit({"x": lambda low, high: found}, MODEL))  # type: ignore[dict-item,return-value]
    assert len(list(machine.submit(cohort.inputs[1], MODEL))) == 1
