import math

import numpy as np
import pytest

from quant import from_config
from quant.capacity import max_levels
from quant.errors import CapacityError, ConfigurationError
from quant.planning import Updates, minimum, plan
from quant.prediction import overload_error, predict
from secagg.bench.distortion import CLIENTS, DIM, REPEATS, measure, measure_eden, sample
from tests.quant.conftest import InsecurePublic

KINDS = ("lognormal", "identical")


def nmse(config, kind, repeats=REPEATS):
    return measure(from_config(config, DIM), kind, repeats)


@pytest.mark.parametrize(("kind", "target"), [("lognormal", 0.00065), ("identical", 0.0010)])
def test_eight_wire_bits_reach_the_target_of_issue_4(kind, target):
    best = plan(CLIENTS, Updates.sampled(sample(kind)), width=8).best
    assert (best.levels, best.rounding, best.rotation) == (26, "dither", True)
    found = nmse(best.config(), kind)
    assert found.nmse <= target
    assert found.overflows == 0
    assert found.packed_bytes == DIM
    assert found.saturated == pytest.approx(best.saturated, rel=0.3)
    assert found.nmse == pytest.approx(best.error, abs=4 * found.standard_error + 0.05 * best.error)


def test_eden_at_four_bits_is_no_better():
    assert measure_eden(4, "lognormal", repeats=4) > 0.0009


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [4, 6, 8, 10])
def test_the_planner_is_within_five_percent_of_every_fixed_setting(kind, width):
    check_against_fixed_settings(kind, width, sigmas=(1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0), repeats=6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", range(4, 13))
def test_the_planner_is_within_five_percent_of_a_fine_search(kind, width):
    check_against_fixed_settings(kind, width, sigmas=np.arange(0.8, 5.2, 0.2).tolist(), repeats=40)


def check_against_fixed_settings(kind, width, sigmas, repeats):
    known = Updates.sampled(sample(kind))
    best = plan(CLIENTS, known, width=width).best
    ours = nmse(best.config(), kind, repeats)
    deviation = known.norm / math.sqrt(DIM)
    for k in sigmas:
        for rounding in ("dither", "stochastic", "nearest"):
            for rotation in (False, True):
                fixed = {"levels": best.levels, "range": k * deviation, "rounding": rounding, "rotation": rotation}
                assert ours.nmse <= 1.05 * nmse(fixed, kind, repeats).nmse + 2 * ours.standard_error, fixed


def test_predictions_are_what_normal_values_do():
    rng, n, draws = np.random.default_rng(0), 6, 40_000
    for sigmas, levels, agreement in ((1.1, 2, 0.4), (2.2, 7, 0.0), (2.9, 26, 0.6), (3.2, 100, 0.3), (2.0, 5, 0.97)):
        common = rng.normal(size=draws)
        z = math.sqrt(agreement) * common + math.sqrt(1 - agreement) * rng.normal(size=(n, draws))
        for rounding in ("stochastic", "nearest", "dither"):
            grid = from_config({"levels": levels, "range": sigmas, "rounding": rounding}, draws)
            public = InsecurePublic(sigmas)
            total = sum(grid.encode(row, public=public, client=c) for c, row in enumerate(z))
            clients = range(n) if rounding == "dither" else ()
            mean = grid.decode(total, n, public=public, clients=clients) / n
            errors = (mean - z.mean(axis=0)) ** 2
            predicted = predict(sigmas, levels, n, agreement, rounding).total
            assert abs(errors.mean() - predicted) < 4.9 * errors.std() / math.sqrt(draws) + 0.002 * predicted


def test_overload_limits():
    assert overload_error(2.0, 10, 1.0) == pytest.approx(overload_error(2.0, 1, 0.0), rel=1e-3)
    assert overload_error(2.0, 10, 0.0) == pytest.approx(overload_error(2.0, 1, 0.0) / 10, rel=1e-6)
    assert 0 <= overload_error(30.0, 1, 0.0) < 1e-190


def test_only_a_clip_is_planned_for_the_worst():
    known = Updates.bounded(DIM, 2.0)
    best = plan(CLIENTS, known, width=8).best
    assert best.config()["clip"] == 2.0
    assert best.range * 64 / 2.0 == pytest.approx(3.4, abs=0.1)
    assert from_config(best.config(), DIM).facts.field_width(CLIENTS) == 8


def test_target_error_takes_the_fewest_bits():
    known = Updates.bounded(DIM, 1.0)
    found = plan(CLIENTS, known, error=1e-3)
    assert found.feasible
    assert found.best.width == 8
    assert plan(CLIENTS, known, width=7).best.error > 1e-3 >= found.best.error
    never = plan(CLIENTS, known, error=1e-29)
    assert not never.feasible
    assert "no field of at most 40 bits gets below" in never.reason


def test_target_bytes():
    known = Updates.bounded(DIM, 1.0)
    found = plan(CLIENTS, known, wire_bytes=4096)
    assert found.feasible
    assert (found.best.width, found.best.wire_bytes) == (8, 4096)
    short = plan(CLIENTS, known, wire_bytes=1000)
    assert not short.feasible
    assert short.reason == "all coordinates in the narrowest fields (4 bits) take 2048 bytes, not 1000"
    assert short.best.width == 4
    thin = plan(CLIENTS, known, wire_bytes=1000, sparse=True)
    assert thin.feasible
    assert thin.best.kept is not None
    assert thin.best.wire_bytes <= 1000


def test_thinned_predictions_are_measured():
    known = Updates.sampled(sample("identical"))
    best = plan(CLIENTS, known, wire_bytes=2048, sparse=True).alternatives
    thin = next(s for s in best if s.kept is not None and s.rounding == "dither" and s.width == 8)
    error = nmse(thin.config(), "identical", 20).nmse
    assert error == pytest.approx(thin.error, rel=0.1)


def test_too_narrow_fields_are_infeasible_with_the_nearest():
    found = plan(100, Updates.bounded(64, 1.0), width=5)
    assert not found.feasible
    assert found.best.width == 7
    assert found.reason == "100 clients need fields of at least 7 bits, not 5"


def test_without_public_randomness_there_is_no_rotation():
    known = Updates.sampled(sample("lognormal"))
    found = plan(CLIENTS, known, width=8, public=False)
    assert {(s.rotation, s.rounding) for s in found.alternatives} == {(False, "stochastic"), (False, "nearest")}
    with pytest.raises(ConfigurationError, match="give a sample of updates"):
        plan(CLIENTS, Updates.bounded(8, 1.0), width=8, public=False)


def test_unrotated_predictions_are_measured():
    known = Updates.sampled(sample("lognormal"))
    for setting in plan(CLIENTS, known, width=8).alternatives:
        if not setting.rotation and setting.rounding != "nearest":
            measured = nmse(setting.config(), "lognormal", 12).nmse
            assert 0.5 * setting.error <= measured <= 1.1 * setting.error  # saturation is bounded, not predicted


def test_the_table_lists_all_alternatives():
    found = plan(CLIENTS, Updates.sampled(sample("lognormal")), width=8)
    lines = found.table().splitlines()
    assert len(lines) == 1 + len(found.alternatives) == 7
    assert lines[1].split()[:2] == ["8", "26"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "exactly one target"),
        ({"width": 8, "error": 0.1}, "exactly one target"),
        ({"width": 0}, "field width"),
        ({"error": -1}, "target error"),
        ({"wire_bytes": 0}, "wire_bytes"),
    ],
)
def test_bad_targets_are_refused(arguments, says):
    with pytest.raises(ConfigurationError, match=says):
        plan(CLIENTS, Updates.bounded(8, 1.0), **arguments)


def test_bad_samples_are_refused():
    for updates, says in (([], "at least one update"), ([np.zeros(3)], "all zeros")):
        with pytest.raises(ConfigurationError, match=says):
            Updates.sampled(updates)
    with pytest.raises(CapacityError, match="cannot add up"):
        max_levels(3, 10)


def test_agreement_is_measured():
    rng = np.random.default_rng(0)
    assert Updates.sampled([rng.normal(size=5000) for _ in range(8)]).agreement < 0.02
    one = rng.normal(size=5000)
    assert Updates.sampled([one] * 8).agreement == pytest.approx(1.0)
    mixed = [one + rng.normal(size=5000) for _ in range(8)]
    assert Updates.sampled(mixed).agreement == pytest.approx(0.5, abs=0.04)
    assert Updates.sampled([one]).agreement == 1.0


def test_the_search_finds_valleys():
    for valley in (0.06, 0.5, 3.3, 11.0):
        found = minimum(lambda k, valley=valley: (math.log(k) - math.log(valley)) ** 2, 0.05, 12.0)
        assert found == pytest.approx(valley, rel=2e-3)
    assert minimum(lambda k: k, 0.05, 12.0) == pytest.approx(0.05, rel=4e-3)
