"""Every protection is needed: switch it off, alone or with those behind it, and its attack succeeds."""

from __future__ import annotations

import pytest

from protocols import ProtocolError, RemoteProtocolError
from protocols.pairwise import Rule
from secagg.attack.adversary import AttackFailedError
from tests.support.scenarios import NOT_STOPPED, SCENARIOS, Scenario
from tests.support.switches import Guard, switch_off

LAYERS = [(scenario, layer) for scenario in SCENARIOS for layer in range(len(scenario.stops))]


def named(value: Scenario | int) -> str:
    return str(value) if isinstance(value, Scenario) else f"layer-{value}"


@pytest.mark.parametrize(("scenario", "layer"), LAYERS, ids=named)
def test_each_layer_stops_the_attack(scenario: Scenario, layer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the layers outside switched off, the next one refuses, and by its own name."""
    switch_off(monkeypatch, *scenario.stops[:layer])
    stop = scenario.stops[layer]
    with pytest.raises((ProtocolError, AttackFailedError)) as stopped:
        scenario.attack(scenario.cohort())
    if isinstance(stop, Rule):
        assert isinstance(stopped.value, RemoteProtocolError)
        assert stopped.value.rule is stop, stopped.value


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_without_them_the_attack_succeeds(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    switch_off(monkeypatch, *scenario.stops)
    scenario.attack(scenario.cohort())


@pytest.mark.parametrize("scenario", NOT_STOPPED, ids=str)
def test_attacks_that_nothing_stops(scenario: Scenario) -> None:
    """What SECURITY.md says is not protected: these attacks win with every rule in force."""
    scenario.attack(scenario.cohort())


@pytest.mark.fast
def test_every_rule_and_guard_stops_an_attack() -> None:
    stopping = {stop for scenario in SCENARIOS for stop in scenario.stops}
    assert set(Rule) - stopping == set()
    assert set(Guard) - stopping == set()
