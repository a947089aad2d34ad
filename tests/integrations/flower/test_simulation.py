"""The adapter inside Flower's own engines, in processes of their own: engine and Ray print and warn.

Seconds are those of two busy cores; nothing here fails because a machine was slow, but for the limits.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from secagg.integrations.trial import read
from tests.support.stacks import run_in_stack

pytestmark = pytest.mark.stacks


def trial(*words: str, module: str = "flwr", seconds: int = 300) -> dict[str, Any]:
    program = ("-m", "secagg.integrations.flower.trial", *words, f"seconds={seconds - 20}")
    return read(run_in_stack("flower", module, *program, seconds=seconds))


def test_a_cnn_trained_in_the_simulation_is_as_good_as_without_masks() -> None:
    text = run_in_stack("flower", "ray", "-m", "tests.integrations.flower.digits_simulation", "6", "6")
    report = json.loads(next(line for line in text.splitlines() if line.startswith('{"plain"')))
    assert report["secure"]["rounds"] == report["plain"]["rounds"] == [1, 2, 3, 4, 5, 6]
    assert report["plain"]["accuracy"] > 0.85
    assert abs(report["secure"]["accuracy"] - report["plain"]["accuracy"]) <= 0.01


@pytest.mark.parametrize(("adversary", "steady"), [("curious", 2), ("active", 3)])
@pytest.mark.parametrize(("nodes", "dropped"), [(3, 0), (5, 1)])
def test_sums_are_exact_in_the_simulation(adversary: str, steady: int, nodes: int, dropped: int) -> None:
    words = ("engine=simulation", f"adversary={adversary}", f"nodes={nodes}", f"dropped={dropped}", "rounds=3")
    report = trial(*words, module="ray")
    assert report["exact"] is True
    assert [row["exchanges"] for row in report["rounds"]][1:] == [steady] * 2


@pytest.mark.parametrize(("adversary", "steady"), [("curious", 2), ("active", 3)])
def test_sums_are_exact_over_a_superlink_with_five_supernodes(adversary: str, steady: int) -> None:
    words = ("engine=superlink", f"adversary={adversary}", "nodes=5", "dropped=1", "rounds=3", "dim=100000")
    report = trial(*words, seconds=600)
    assert report["exact"] is True
    assert [row["exchanges"] for row in report["rounds"]][1:] == [steady] * 2


def test_an_app_with_the_mod_behind_the_sites_own_launcher_is_masked_once() -> None:
    report = trial("engine=launcher", "nodes=3", "dropped=0", "rounds=3", seconds=400)
    assert report["exact"] is True
    assert {name for row in report["rounds"] for name in row["seen"]} <= {"secagg.parcels", "secagg.bulk"}


def test_a_hostile_app_behind_the_sites_own_launcher_gets_nothing_out() -> None:
    report = trial("engine=launcher", "system=hostile", "nodes=3", "dropped=0", "rounds=3", seconds=400)
    assert report["exact"] is True  # the app left the mod out, and its updates were masked all the same
    assert {name for row in report["rounds"] for name in row["seen"]} <= {"secagg.parcels", "secagg.bulk"}


def test_without_a_launcher_the_hostile_app_sends_what_it_likes() -> None:
    """The attack that the launcher is for: the server gets updates in clear, and more."""
    words = ("engine=simulation", "system=hostile", "nodes=3", "dropped=0", "rounds=2")
    assert trial(*words, module="ray")["exact"] is not True
