"""``secagg demo --processes``: every party a process, and the accuracy of plain training."""

from __future__ import annotations

import json

import pytest

from secagg.cli import main


def run(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, float]:
    assert main(["demo", "--processes", "--json", *options]) == 0
    out, _ = capsys.readouterr()
    return json.loads(out)


def test_three_processes_train(capsys: pytest.CaptureFixture[str]) -> None:
    told = run(capsys, "--dataset", "breast-cancer", "--sites", "3", "--rounds", "3")
    assert (told["sites"], told["rounds"], told["processes"]) == (3, 3, 4)
    assert abs(told["accuracy"] - told["accuracy_plain_fedavg"]) < 0.03


@pytest.mark.slow
def test_ten_processes_train_to_the_demos_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    """With nobody dropping out, masked training differs from plain training by rounding alone."""
    told = run(capsys, "--dataset", "breast-cancer", "--sites", "10")
    assert told["processes"] == 11
    assert told["accuracy"] > 0.95
    assert abs(told["accuracy"] - told["accuracy_plain_fedavg"]) < 0.01
