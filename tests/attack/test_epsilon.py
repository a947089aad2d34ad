"""``secagg attack --only epsilon``: below the claim on the mechanism as it is built, above it with half the noise."""

from __future__ import annotations

import json

import pytest

from secagg.attack import epsilon
from secagg.attack.outcomes import Outcome
from secagg.attack.setting import Setting
from secagg.cli import main

CLAIM = 1.0


def test_the_mechanism_as_built_keeps_its_claim() -> None:
    (result,) = epsilon.run_all(Setting(), CLAIM, 200_000)
    assert result.outcome is Outcome.STOPPED, result
    assert 0 < result.curve[-1][1] <= 1


def test_half_the_noise_breaks_the_claim() -> None:
    (result,) = epsilon.run_all(Setting(), CLAIM, 200_000, sigma=0.5)
    assert result.outcome is Outcome.POSSIBLE, result


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", "--only", "epsilon", "--releases", "20000", "--sigma", "0.2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["possible"] == 1
    assert main(["attack", "--only", "epsilon", "--releases", "10"]) == 2


@pytest.mark.slow
def test_twenty_of_twenty_audits_stay_below_the_claim() -> None:
    results = [result for _ in range(20) for result in epsilon.run_all(Setting(), CLAIM)]
    assert [result.outcome for result in results] == [Outcome.STOPPED] * 20
