"""The NVIDIA FLARE adapter inside FLARE's own simulator, in an environment of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.stacks import run_in_stack

pytestmark = pytest.mark.stacks


def shift(places: list[int]) -> float:
    """What one round adds to every coordinate: site p has 10 p examples and moves by p / 256."""
    return sum(p * p for p in places) / sum(places) / 256


def report(program: str, *arguments: str) -> Any:
    text = run_in_stack("nvflare", "nvflare", "-m", f"tests.integrations.nvflare.{program}", *arguments)
    return json.loads(next(line for line in text.splitlines() if line.startswith("REPORT "))[7:])


@pytest.mark.parametrize("program", ["collab_job", "classic_job"])
def test_five_sites_one_of_which_fails(program: str) -> None:
    first, second, third = report(program, "20000", "3")
    everybody, open_ones = [1, 2, 3, 4, 5], [1, 3, 4, 5]
    assert first["included"] == everybody
    assert second["included"] == third["included"] == open_ones
    expected = [shift(everybody), shift(everybody) + shift(open_ones), shift(everybody) + 2 * shift(open_ones)]
    for entry, value in zip((first, second, third), expected, strict=True):
        low, high = entry["w"]
        assert low == pytest.approx(value, abs=5e-4)
        assert high == pytest.approx(value, abs=5e-4)
    assert first["loss"] == pytest.approx(sum(p * p for p in everybody) / sum(everybody) / 2, abs=1e-5)


def test_the_sites_own_filter_lets_nothing_out_but_parts_of_sums_that_it_accepts() -> None:
    told = report("site_policy")
    assert told["in clear"].startswith("ContentBlockedException")
    assert "C2" in told["3 sites"]  # the site's policy asks for four
    assert told["5"] == "1 ['__headers__', 'secagg.letters']"  # one frame, and no weights
