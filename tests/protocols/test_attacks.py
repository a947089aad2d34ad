"""The field's attacks, by their number in the list that SECURITY.md answers to: each is stopped, and by which rule.

The attack code is in secagg/attack; test_rule_removal.py shows that every one of them wins when its rules are off.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols import ProtocolError, RemoteProtocolError
from protocols.pairwise import Rule
from protocols.pairwise import messages as m
from secagg.attack.adversary import AttackFailedError
from secagg.attack.network import Network, edit
from tests.support.cohort import SPARSE_ACTIVE, make_cohort
from tests.support.scenarios import NOT_STOPPED, SCENARIOS, Scenario

ATTACKS = {
    1: "model inconsistency",
    2: "both shares of one client",
    3: "partition in unmasking",
    4: "Sybil, fake keys",
    5: "share reflection and mix-up",
    6: "biased or ground graph",
    7: "late message, false drop-out",
    8: "set differencing",
    9: "small cohort",
    14: "predictable or reused masks",
    17: "malicious clients: keys, shares, inputs",
    18: "tampering with the sum on the way",
    20: "crash and rollback replay",
    21: "parameter confusion and downgrade",
}
"""What a masking protocol can stop. The other numbers are in SECURITY.md (not protected) or above this layer."""

NOT_OF_THIS_LAYER = {
    10: "N9",  # linear-layer leakage: what a model makes clients say
    11: "N1",  # what a sum tells of its parts
    12: "N1",
    13: "N4",
    15: "quant.capacity",
    16: "secagg.RoundConfig",
    19: "N10",
}


@pytest.mark.fast
def test_every_attack_of_the_list_is_run_or_named() -> None:
    run = {scenario.anchor for scenario in SCENARIOS} - {0}
    assert run == set(ATTACKS)
    assert run | set(NOT_OF_THIS_LAYER) == set(range(1, 22))
    security = (Path(__file__).parents[2] / "SECURITY.md").read_text()
    for where in NOT_OF_THIS_LAYER.values():
        assert f"**{where}" in security or where in security, where


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"{scenario.anchor}-{scenario}")
def test_it_is_stopped(scenario: Scenario) -> None:
    with pytest.raises((ProtocolError, AttackFailedError)):
        scenario.attack(scenario.cohort())


def test_a_victim_on_a_sparse_graph_cannot_be_told_of_fewer_neighbours() -> None:
    """An active server says to one client alone that a neighbour shared no keys, to drop the others later.

    The victim would add no mask for the neighbour that it was not told of; those of the neighbours that are then named
    as dropped are reconstructed; its own self mask comes off with the shares of clients that know nothing of it.
    """
    victim, cohort = 2, make_cohort(SPARSE_ACTIVE)

    def hide_one(request: m.MaskedInputRequest) -> m.MaskedInputRequest:
        hidden = request.relayed[0].dealer
        shared = tuple(client for client in request.shared if client != hidden)
        return m.MaskedInputRequest(shared, request.relayed[1:], request.parts, request.model_hash)

    network = Network(cohort, tampers=[edit(m.MaskedInputRequest, hide_one, client=victim)])
    network.until(m.Phase.MASKED_INPUT)
    refusal = network.refusals[victim]
    assert isinstance(refusal, RemoteProtocolError)
    assert refusal.rule is Rule.SHARED_LARGE_ENOUGH


@pytest.mark.fast
def test_what_is_not_stopped_is_few_and_named() -> None:
    assert {scenario.anchor for scenario in NOT_STOPPED} == {3, 4, 8}
