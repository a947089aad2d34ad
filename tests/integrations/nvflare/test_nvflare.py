"""The NVIDIA FLARE adapter inside FLARE's own simulator, in an environment of its own."""

from __future__ import annotations

from typing import Any

import pytest

from secagg.integrations.trial import read
from tests.support.stacks import run_in_stack

pytestmark = pytest.mark.stacks


def shift(places: list[int]) -> float:
    """What one round adds to every coordinate: site p has 10 p examples and moves by p / 256."""
    return sum(p * p for p in places) / sum(places) / 256


def report(program: str, *arguments: str) -> Any:
    return read(run_in_stack("nvflare", "nvflare", "-m", f"tests.integrations.nvflare.{program}", *arguments))


def trial(*words: str) -> Any:
    return read(run_in_stack("nvflare", "nvflare", "-m", "secagg.integrations.nvflare.trial", *words))


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
    assert told["to another site"].startswith("ContentBlockedException")
    assert told["of another site"].startswith("ContentBlockedException")
    assert told["components"] == ["Silent", "NPTrainer"]  # and none of those that send past filters


def test_a_site_of_a_collab_job_answers_one_call_at_a_time() -> None:
    assert report("two_calls") == {"waits": [True], "included": [1, 2, 3, 4]}


def test_a_site_that_plays_the_server_to_others_gets_no_frame() -> None:
    assert report("peer_calls") == {"frames": ["CollabCallError"] * 2, "included": [1, 2, 3]}


@pytest.mark.parametrize("adversary", ["curious", "active"])
def test_a_collab_job_of_a_million_coordinates_is_exact(adversary: str) -> None:
    told = trial("engine=collab", f"adversary={adversary}", "nodes=5", "dropped=1", "dim=1000000", "rounds=3")
    assert told["exact"] is True
    assert [row["included"] for row in told["rounds"]] == [5, 4, 4]


def test_a_job_of_the_controller_api_is_exact() -> None:
    told = trial("engine=classic", "nodes=5", "dropped=1", "dim=1000000", "rounds=3")
    assert told["exact"] is True
    assert [row["included"] for row in told["rounds"]] == [5, 4, 4]


def test_real_processes_with_a_drop_out_are_exact() -> None:
    told = trial("engine=poc", "nodes=4", "dropped=1", "dim=100000", "rounds=3")
    assert told["exact"] is True
    assert [row["included"] for row in told["rounds"]] == [4, 3, 3]


def test_a_cnn_is_as_good_as_under_flares_own_fedavg() -> None:
    plain, secure = report("digits_job", "plain", "8"), report("digits_job", "secure", "8")
    assert plain["rounds"] == secure["rounds"] == 8
    assert plain["accuracy"] > 0.85
    assert abs(secure["accuracy"] - plain["accuracy"]) <= 0.01
