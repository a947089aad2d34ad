"""The adapter inside Flower's own engine (Ray workers), in a process of its own: engine and Ray print and warn."""

from __future__ import annotations

import json

import pytest

from tests.support.stacks import run_in_stack

pytestmark = pytest.mark.stacks


def test_a_cnn_trained_in_the_simulation_is_as_good_as_without_masks() -> None:
    text = run_in_stack("flower", "ray", "-m", "tests.integrations.flower.digits_simulation", "6", "6")
    report = json.loads(next(line for line in text.splitlines() if line.startswith('{"plain"')))
    assert report["secure"]["rounds"] == report["plain"]["rounds"] == [1, 2, 3, 4, 5, 6]
    assert report["plain"]["accuracy"] > 0.85
    assert abs(report["secure"]["accuracy"] - report["plain"]["accuracy"]) <= 0.01
