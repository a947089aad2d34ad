"""Monitoring: what the server learns of range, clip and error, from sums only, and only if it is on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import quant
import secagg
from secagg.monitoring import MONITOR, MOST, Monitoring, observe


def monitoring(updates: object, quantization: dict[str, object], **options: object) -> Monitoring:
    found = secagg.aggregate(updates, quantization=quantization, **options).record.monitoring  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize("rounding", ["stochastic", "nearest", "dither"])
def test_error_is_what_quantization_did_to_each_site(rng: np.random.Generator, rounding: str) -> None:
    """Against the true squared errors, known here since nearest rounding and a wide net tell them."""
    updates = {client: rng.uniform(-1, 1, 3000) for client in range(1, 6)}
    seen = monitoring(updates, {"bits": 5, "range": 1.0, "rounding": rounding})
    step = 2 / 31
    per_coordinate = {"stochastic": 1 / 6, "nearest": 1 / 12, "dither": 1 / 12}[rounding]
    expected = per_coordinate * step**2 * 3000 / 5
    assert seen.squared_error == pytest.approx(expected, rel=0.05)
    assert (seen.clients, seen.clipped_fraction, seen.saturated_fraction) == (5, 0.0, 0.0)


def test_estimated_error_of_the_mean_is_the_true_one(rng: np.random.Generator) -> None:
    updates = {client: rng.uniform(-1, 1, 20_000) for client in range(1, 6)}
    weights = {1: 5, 2: 10, 3: 3, 4: 7, 5: 1}
    result = secagg.aggregate(updates, weights=weights, quantization={"bits": 6, "range": 1.0})
    true = np.average(list(updates.values()), axis=0, weights=list(weights.values()))
    squared = float(np.sum((result.value - true) ** 2))
    seen = result.record.monitoring
    assert seen is not None
    assert seen.relative_error is not None
    assert seen.squared_error == pytest.approx(squared, rel=0.05)
    assert seen.relative_error == pytest.approx(squared / float(np.sum(true**2)), rel=0.05)


def test_clipped_sites_and_cut_coordinates_are_counted(rng: np.random.Generator) -> None:
    updates = {client: np.full(100, 0.1 * client) for client in range(1, 6)}  # norms 1 to 5
    seen = monitoring(updates, {"bits": 8, "clip": 3.5, "range": 0.32})
    assert seen.clipped_fraction == pytest.approx(2 / 5)
    assert seen.saturated_fraction == pytest.approx(2 / 5)  # 0.35 after the clip lies beyond 0.32
    assert any("beyond the grid" in warning for warning in seen.warnings())


def test_warnings_name_a_bad_range_and_only_that(rng: np.random.Generator) -> None:
    updates = {client: rng.normal(size=500) * 0.01 for client in range(1, 6)}
    assert monitoring(updates, {"bits": 8, "range": 0.05}).warnings() == ()
    (wide,) = monitoring(updates, {"bits": 8, "range": 50.0}).warnings()
    assert "quantization error" in wide
    (narrow,) = monitoring(updates, {"bits": 8, "range": 0.01}).warnings()
    assert "widen the range" in narrow
    (clipped,) = monitoring(updates, {"bits": 12, "range": 0.05, "clip": 0.1}).warnings()
    assert "raise the clip" in clipped


def test_rotated_and_sparse_codecs_are_monitored_too(rng: np.random.Generator) -> None:
    updates = {client: rng.normal(size=1000) * 0.1 for client in range(1, 6)}
    rotated = {"bits": 8, "clip": 4.0, "rotation": True, "rounding": "dither"}
    seen = monitoring(updates, rotated)
    assert seen.saturated_fraction < 0.01
    assert seen.relative_error is not None
    assert seen.relative_error < 0.01
    sparse = monitoring(updates, {"bits": 8, "range": 0.5, "random_k": 100})
    assert sparse.relative_error is not None
    assert sparse.relative_error > 0.5  # nine of ten coordinates were left out


@pytest.mark.fast
def test_off_means_off(config: secagg.RoundConfig, updates: dict[int, np.ndarray]) -> None:
    silent = replace(config, monitor=False)
    assert [vector.name for vector in silent.params.vectors] == ["update"]
    assert silent.task != config.task
    result = secagg.aggregate(updates, monitor=False)
    assert result.record.monitoring is None
    assert result.record.exact


@pytest.mark.fast
def test_figures_are_masked(config: secagg.RoundConfig, updates: dict[int, np.ndarray]) -> None:
    """What a site adds is three small numbers; what leaves it are three of 64 bits that look like nothing."""
    from tests.secagg.test_session import to_input

    _, clients = to_input(config)
    contribution = clients[1].prepare(updates[1])
    assert contribution.vectors[MONITOR].max() < 2**20
    packed = contribution.vectors[MONITOR].astype("<u8").tobytes()
    assert not any(packed in frame for frame in clients[1].submit(contribution, bytes(range(32))))


@pytest.mark.fast
def test_a_mean_of_zero_has_no_relative_error() -> None:
    seen = secagg.aggregate([np.zeros(5)] * 3, quantization={"levels": 255, "range": 1.0}).record.monitoring
    assert seen is not None
    assert seen.relative_error is None
    assert seen.warnings() == ()
    assert "none" in seen.line()


def test_a_value_infinitely_far_beyond_the_grid_is_counted_as_the_most() -> None:
    facts = quant.from_config({"bits": 8, "range": 1.0}, 2).facts
    assert observe(facts, clipped=False, saturated=1, error=np.array([1e200, 0.0])).tolist() == [0, 1, MOST]


def test_a_lossless_grid_of_huge_steps_has_no_error() -> None:
    facts = quant.from_config({"exact_low": 600, "exact_high": 640}, 2).facts
    assert Monitoring.of(np.zeros(3, np.uint64), facts, 3, 1.0, 1.0).squared_error == 0.0
