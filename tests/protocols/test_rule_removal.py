"""Every protection is needed: switch it off, alone or with those behind it, and its attack succeeds."""

from __future__ import annotations

import pytest

from protocols import ProtocolError, RemoteProtocolError
from protocols.pairwise import Rule
from tests.support.adversary import AttackFailedError
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
def test_attacks_on_curious_rounds_that_only_active_rounds_stop(scenario: Scenario) -> None:
    """Documented in SECURITY.md: a curious round does not withstand a server that lies."""
    scenario.attack(scenario.cohort())


@pytest.mark.fast
def test_every_rule_and_guard_stops_an_attack() -> None:
    stopping = {stop for scenario in SCENARIOS for stop in scenario.stops}
    assert set(Rule) - stopping == set()
    assert set(Guard) - stopping == set()


@pytest.mark.fast
def test_every_rule_is_the_last_stop_of_some_attack_or_names_its_backup() -> None:
    """Either switching the rule off alone is fatal, or the rules behind it are listed with it."""
    alone = {scenario.stops[0] for scenario in SCENARIOS if len(scenario.stops) == 1}
    backed_up = {stop: scenario.stops for scenario in SCENARIOS for stop in scenario.stops}
    assert set(Rule) <= alone | backed_up.keys()
