import json
from dataclasses import replace

import pytest

from secagg.cli import main
from secagg.demo import DemoConfig, sweep, sweep_command
from secagg.demo.sweep import Row, Sweep, count_runs, run_sweep, settings
from secagg.errors import UsageError

TINY = DemoConfig(sites=6, rounds=1, skew="iid", bits=6)


@pytest.fixture(scope="module")
def mixed():
    return run_sweep("mixed", TINY, [0, 1])


def test_one_point_goes_through_the_protocol_and_equals_the_sum_in_the_clear(mixed):
    assert mixed.equal
    assert mixed.masked.masked
    assert not any(row.masked for row in mixed.rows)
    assert mixed.to_json()["masked"] is False


def test_rows_carry_the_means_over_seeds(mixed):
    assert [row.value for row in mixed.rows] == ["0", "1", "2", "3", "4", "5"]
    for row in mixed.rows:
        assert row.runs == 2
        assert row.loss == pytest.approx(row.accuracy_plain - row.accuracy)
    assert len({row.accuracy_plain for row in mixed.rows}) == 1  # plain floats know nothing of precision


def test_progress_counts_every_training():
    told = []
    run_sweep("mixed", replace(TINY, bits=3), [0], told.append)
    assert len(told) == count_runs("mixed", replace(TINY, bits=3), [0])


def test_files_table_and_picture(tmp_path, capfd):
    options = ["--sites", "6", "--rounds", "1", "--bits", "3", "--repeats", "1", "--out", str(tmp_path)]
    assert main(["demo", "--sweep", "mixed", *options]) == 0
    out, _ = capfd.readouterr()
    assert "masked: false" in out
    assert "bit for bit" in out
    assert (tmp_path / "sweep-mixed.png").read_bytes()[:4] == b"\x89PNG"
    assert len(json.loads((tmp_path / "sweep-mixed.json").read_text())["rows"]) == 3


@pytest.mark.fast
@pytest.mark.parametrize("axis", sweep.AXES)
def test_every_axis_has_points_that_differ(axis):
    points = settings(axis, DemoConfig())
    assert len({point.config for point in points}) == len(points) >= 5
    assert sweep_command.AXES == sweep.AXES


@pytest.mark.fast
def test_unknown_axes_and_no_seeds():
    with pytest.raises(UsageError, match="bits, skew, sites, mixed"):
        settings("weather", DemoConfig())
    with pytest.raises(UsageError, match="at least one seed"):
        run_sweep("bits", DemoConfig(), [])


@pytest.mark.fast
def test_least_bits_is_where_losses_stay_below_a_point():
    def row(bits, loss):
        return Row("stochastic", str(bits), bits, 3, 0.9, 0.9 + loss, loss, 0.0, False)

    def least(*losses):
        rows = tuple(row(bits, loss) for bits, loss in zip((2, 4, 6, 8), losses, strict=True))
        return Sweep("bits", DemoConfig(), rows, rows[0], True).least_bits["stochastic"]

    assert least(0.2, 0.02, 0.005, 0.0) == 6
    assert least(0.0, 0.02, 0.005, 0.01) == 6  # 2 bits did well by luck: 4 did not
    assert least(0.0, 0.0, 0.0, -0.1) == 2
    assert least(0.0, 0.0, 0.0, 0.1) is None
