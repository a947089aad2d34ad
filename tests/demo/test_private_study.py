"""The study over epsilon: every run through the protocol, arms paired, differences with their errors."""

import json

import pytest

from secagg.cli import main
from secagg.demo.private.setting import PrivateConfig
from secagg.demo.private.study import DROPOUTS, EPSILONS, Paired, count_runs, possible, run_study
from secagg.errors import UsageError

TINY = PrivateConfig(dataset="breast-cancer", sites=5, rounds=2, bits=12, skew="iid")


@pytest.fixture(scope="module")
def study():
    return run_study(TINY, [0, 1], epsilons=(1.0, 8.0), dropouts=(0, 1))


def test_a_cell_for_every_epsilon_and_number_of_dropouts(study):
    assert [(cell.dropouts, cell.epsilon) for cell in study.cells] == [(0, 1.0), (0, 8.0), (1, 1.0), (1, 8.0)]
    assert all(cell.exact and cell.runs == 2 for cell in study.cells)
    assert all(cell.claimed <= cell.epsilon for cell in study.cells)


def test_noise_is_the_trusted_servers_and_what_colluders_and_rounding_cost(study):
    for cell in study.cells:
        assert cell.noise > (5 / 4) ** 0.5 if cell.dropouts == 0 else (4 / 3) ** 0.5 * 0.99
        assert cell.noise < 1.6


def test_differences_are_those_of_the_means(study):
    for cell in study.cells:
        assert cell.against_trusted.mean == pytest.approx(cell.accuracy["distributed"] - cell.accuracy["trusted"])
        assert cell.against_local.mean == pytest.approx(cell.accuracy["distributed"] - cell.accuracy["local"])
        assert cell.within == (cell.against_trusted.mean >= -0.01)


def test_standard_errors():
    assert Paired.of([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]) == Paired(2.0, pytest.approx(1 / 3**0.5))
    assert Paired.of([1.0], [0.5]) == Paired(0.5, 0.0)


def test_the_full_study_is_the_one_that_was_asked_for():
    assert EPSILONS == (0.5, 1.0, 3.0, 8.0)
    assert possible(PrivateConfig()) == DROPOUTS == (0, 2, 4)
    assert count_runs(PrivateConfig(), range(20)) == 240
    with pytest.raises(UsageError, match="at least one seed"):
        run_study(TINY, [])


def test_files_table_and_picture(tmp_path, capfd):
    options = ["--sites", "4", "--rounds", "1", "--bits", "10", "--seeds", "1", "--out", str(tmp_path)]
    assert main(["demo", "--sweep", "epsilon", *options]) == 0
    out, _ = capfd.readouterr()
    assert "masked: true" in out
    assert "neighbours: add or remove" in out
    assert (tmp_path / "sweep-epsilon-breast-cancer.png").read_bytes()[:4] == b"\x89PNG"
    found = json.loads((tmp_path / "sweep-epsilon-breast-cancer.json").read_text())
    assert found["masked"] is True
    assert [row["epsilon"] for row in found["rows"]] == list(EPSILONS)
