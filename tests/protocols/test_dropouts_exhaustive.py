"""Drop-outs: every assignment of "last phase each client completed" gives the exact sum or the predicted refusal.

Inputs are unit vectors, one coordinate per client: an entry of the sum counts how often that client is included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, product

import numpy as np
import pytest

from protocols import LocalProtocolError
from protocols.pairwise import Phase, VectorSpec
from protocols.pairwise.graph import CompleteGraph, HararyGraph
from secagg.attack.network import Delivery, Network, edit
from tests.support.cohort import ACTIVE, CURIOUS, JOINT, VARIANTS, Cohort, Variant, Vectors, make_cohort

Graph = CompleteGraph | HararyGraph
DENSE = (CURIOUS, ACTIVE, JOINT)

Completed = dict[int, int]
"""How many phases each client completed before it vanished."""


def predicted(cohort: Cohort, completed: Mapping[int, int], graph: Graph) -> Phase | tuple[int, ...]:
    """The oracle, from the schedule and the graph alone: the phase that stays short of clients, or U3."""
    phases, params = cohort.variant.phases, cohort.params
    done = {phase: {client for client, last in completed.items() if last > i} for i, phase in enumerate(phases)}
    survivors = done[Phase.MASKED_INPUT]
    signed = done.get(Phase.CONSISTENCY_CHECK, survivors)
    for phase in phases:
        if len(done[phase]) < params.least_survivors and phase is not Phase.UNMASKING:
            return phase
        # Everybody who committed to a part of the joint seed must reveal it.
        reveals = Phase.REVEAL_RANDOMNESS if params.sparse else Phase.SHARE_KEYS if params.commits else None
        if phase is reveals and done[phase] != done[Phase.ADVERTISE_KEYS]:
            return phase
        if params.shares_from_all and phase is Phase.SHARE_KEYS and done[phase] != done[Phase.ADVERTISE_KEYS]:
            return phase
    holders = {client: set(graph.holders(client)) for client in done[Phase.SHARE_KEYS]}
    answering = done[Phase.UNMASKING]
    if cohort.variant.active:
        if isinstance(graph, HararyGraph) and graph.fewest_in_a_run(survivors) == 0:
            return Phase.CONSISTENCY_CHECK  # rule C29: everybody refuses to sign
        answering = {client for client in answering if len(holders[client] & signed) >= params.threshold}
    for dealer, near in holders.items():
        needed = dealer in survivors or near & survivors
        if needed and len(near & answering) < params.threshold:
            return Phase.UNMASKING
    return tuple(sorted(survivors))


def check(network: Network, completed: Mapping[int, int], outcome: Vectors | LocalProtocolError) -> None:
    cohort = network.cohort
    expected = predicted(cohort, completed, network.graph.build() if network.graph else CompleteGraph(cohort.ids))
    if isinstance(outcome, LocalProtocolError):
        assert isinstance(expected, Phase), (completed, outcome)
        assert expected.value in str(outcome)
        return
    assert not isinstance(expected, Phase), (completed, expected)
    assert outcome.keys() == {spec.name for spec in cohort.params.vectors}
    for name, total in cohort.sum_of(expected).items():
        np.testing.assert_array_equal(outcome[name], total, err_msg=str(completed))


def outcome_of(network: Network, completed: Mapping[int, int]) -> Vectors | LocalProtocolError:
    try:
        return network.run(completed)
    except LocalProtocolError as error:
        return error


def explore(network: Network, gone: Completed) -> Iterator[tuple[Network, Completed, Vectors | LocalProtocolError]]:
    """Every way to go on from here: rounds that begin alike share their beginning, since states are values."""
    phases = len(network.cohort.variant.phases)
    left = [client for client in network.clients if client not in gone]
    if network.steps == phases:
        yield network, gone | dict.fromkeys(left, phases), outcome_of(network, {})
        return
    for count in range(len(left) + 1):
        for answering in combinations(left, count):
            branch = network.fork()
            branch.step(answering)
            now_gone = gone | dict.fromkeys(set(left) - set(answering), network.steps)
            if branch.server.status.ready:
                yield from explore(branch, now_gone)
                continue
            with pytest.raises(LocalProtocolError) as refusal:
                branch.server.advance()
            for later in product(range(network.steps + 1, phases + 1), repeat=count):
                yield branch, now_gone | dict(zip(answering, later, strict=True)), refusal.value


def exhaust(cohort: Cohort) -> None:
    seen = set()
    for network, completed, outcome in explore(Network(cohort), {}):
        check(network, completed, outcome)
        seen.add(tuple(completed[client] for client in cohort.ids))
    assert len(seen) == (len(cohort.variant.phases) + 1) ** len(cohort.ids)


@pytest.mark.parametrize("threshold", [3, 4])
@pytest.mark.parametrize("variant", DENSE, ids=str)
def test_every_schedule_of_four(variant: Variant, threshold: int) -> None:
    exhaust(make_cohort(variant, 4, threshold))


@pytest.mark.parametrize("threshold", [4, 5])
@pytest.mark.parametrize("variant", DENSE, ids=str)
def test_every_schedule_of_five(variant: Variant, threshold: int) -> None:
    exhaust(make_cohort(variant, 5, threshold))


@pytest.mark.slow
@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant.sparse], ids=str)
def test_every_schedule_of_six_on_a_sparse_graph(variant: Variant) -> None:
    exhaust(make_cohort(variant))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_sampled_schedules(variant: Variant, rng: np.random.Generator) -> None:
    """Whole rounds without shared beginnings, ids with gaps, late drop-outs likelier than early ones."""
    cohort = make_cohort(variant, ids=(2, 3, 700, 40000, 40001, 65535), threshold=3 if variant.sparse else 5)
    last = len(variant.phases)
    for _ in range(60):
        drawn = rng.choice(last + 1, size=6, p=[0.03] * last + [1 - 0.03 * last])
        completed = dict(zip(cohort.ids, map(int, drawn), strict=True))
        network = Network(cohort)
        check(network, completed, outcome_of(network, completed))


def one_phase_schedules(variant: Variant) -> list[tuple[int, tuple[int, ...]]]:
    subsets = [chosen for count in range(11) for chosen in combinations(range(1, 11), count)]
    return list(product(range(len(variant.phases)), subsets))


@pytest.mark.parametrize("variant", DENSE, ids=str)
def test_sampled_subsets_of_ten_drop_at_one_phase(variant: Variant, rng: np.random.Generator) -> None:
    cohort = make_cohort(variant, 10, 7)
    tolerated = [(phase, chosen) for phase, chosen in one_phase_schedules(variant) if len(chosen) <= 4]
    for index in rng.choice(len(tolerated), size=24, replace=False):
        phase, dropping = tolerated[index]
        completed = {client: phase if client in dropping else len(variant.phases) for client in cohort.ids}
        network = Network(cohort)
        check(network, completed, outcome_of(network, completed))


@pytest.mark.slow
@pytest.mark.parametrize("variant", DENSE, ids=str)
def test_every_subset_of_ten_drops_at_one_phase(variant: Variant) -> None:
    cohort = make_cohort(variant, 10, 7)
    network, begun = Network(cohort), 0
    for phase, dropping in one_phase_schedules(variant):
        for _ in range(begun, phase):
            network.step()
        begun = phase
        completed = {client: phase if client in dropping else len(variant.phases) for client in cohort.ids}
        branch = network.fork()
        check(branch, completed, outcome_of(branch, completed))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("upward", [False, True], ids=["request-lost", "answer-lost"])
def test_each_exchange_lost_once(variant: Variant, upward: bool) -> None:
    """Whether the request or the answer is lost makes no difference to the sum."""
    cohort = make_cohort(variant) if variant.sparse else make_cohort(variant, 5, 4)
    for index, client in product(range(0 if upward else 1, len(variant.phases)), cohort.ids):
        lost = (variant.phases[index], upward, client)

        def lose(delivery: Delivery, lost: tuple[Phase, bool, int] = lost) -> list[bytes]:
            return [] if (delivery.phase, delivery.upward, delivery.client) == lost else [delivery.frame]

        completed = {other: index if other == client else len(variant.phases) for other in cohort.ids}
        network = Network(cohort, tampers=[lose])
        check(network, completed, outcome_of(network, dict.fromkeys(cohort.ids, 99)))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_client_that_vanishes_between_two_chunks_leaves_no_trace(
    variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("params", "messages"):
        monkeypatch.setattr(f"protocols.pairwise.{module}.CHUNK_ELEMENTS", 4)
    vectors = (VectorSpec("x", 10, 1 << 20), VectorSpec("w", 3, 2))
    cohort = make_cohort(variant, vectors=vectors)
    for passed in range(5):
        left = iter(range(passed))

        def cut(delivery: Delivery, left: Iterator[int] = left) -> list[bytes]:
            affected = delivery.client == 2 and delivery.upward and delivery.phase is Phase.MASKED_INPUT
            return [] if affected and next(left, None) is None else [delivery.frame]

        network = Network(cohort, tampers=[cut])
        outcome = network.run()
        # Four chunks make an input: three of "x" and one of "w".
        included = tuple(client for client in cohort.ids if passed == 4 or client != 2)
        assert network.server.survivors == included
        for name, total in cohort.sum_of(included).items():
            np.testing.assert_array_equal(outcome[name], total)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_an_empty_round_and_a_lone_client(variant: Variant) -> None:
    cohort = make_cohort(variant)
    for present in ((), (1,)):
        completed = {client: 9 if client in present else 0 for client in cohort.ids}
        network = Network(cohort)
        check(network, completed, outcome_of(network, completed))


def test_the_edit_tamper_reaches_only_whom_it_names() -> None:
    from protocols.pairwise.messages import ShareKeys

    cohort = make_cohort(VARIANTS[0], 4, 3)
    network = Network(cohort, tampers=[edit(ShareKeys, lambda message: None, client=3)])
    np.testing.assert_array_equal(network.run()["x"], cohort.sum_of((1, 2, 4))["x"])
