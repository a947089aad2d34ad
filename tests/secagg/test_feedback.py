"""Error feedback at a site: nothing is lost, nothing is said twice, and patients are refused."""

from __future__ import annotations

import numpy as np
import pytest

import quant
import secagg
from secagg.feedback import SiteResidual, check_feedback

COARSE = {"levels": 5, "range": 1.0, "rounding": "nearest"}


def rounds(updates: dict[int, np.ndarray], count: int, feedback: bool, **options: object) -> np.ndarray:
    """The sum of the means of several rounds with the same updates."""
    residuals: dict[int, SiteResidual] | None = {} if feedback else None
    total = np.zeros(33)
    for number in range(count):
        result = secagg.aggregate(
            updates,
            quantization=COARSE,
            residuals=residuals,
            round_index=number,
            **options,  # type: ignore[arg-type]
        )
        residuals = result.residuals if feedback else None
        total += result.value
    return total


def test_what_rounding_left_out_is_said_later(updates: dict[int, np.ndarray]) -> None:
    true = 10 * np.mean(list(updates.values()), axis=0)
    with_it = np.abs(rounds(updates, 10, True) - true).max()
    without = np.abs(rounds(updates, 10, False) - true).max()
    assert with_it <= 0.26  # one residual, half a step of 0.5
    assert without > 3 * with_it


def test_weights_are_taken_out_of_the_residual(updates: dict[int, np.ndarray]) -> None:
    weights = {1: 10, 2: 5, 3: 10, 4: 7, 5: 10}
    true = 12 * np.average(list(updates.values()), axis=0, weights=list(weights.values()))
    got = rounds(updates, 12, True, weights=weights)
    assert np.abs(got - true).max() <= 0.26 * 10 / 5  # half a step at the site of least weight


def test_an_update_that_did_not_arrive_is_left_over_whole(updates: dict[int, np.ndarray]) -> None:
    """Client 2 vanishes before its input in round 0; the next round of its own has said all of it."""
    first = secagg.aggregate(updates, quantization=COARSE, residuals={}, dropouts={2: "masked-input"})
    assert not first.residuals[2].vector.any()  # it was never asked for an update
    late = secagg.aggregate(updates, quantization=COARSE, residuals={}, dropouts={2: "unmasking"})
    assert 2 in late.included
    assert np.abs(late.residuals[2].vector).max() <= 0.2501  # sent: only rounding is left, though it saw no end


def test_missed_and_included_differ_by_what_was_sent(updates: dict[int, np.ndarray]) -> None:
    before = SiteResidual.start(33)
    sent = np.round(updates[1] * 2) / 2
    after = before.after(before.add_to(updates[1]), sent, 1.0)
    np.testing.assert_array_equal(after.missed().vector, updates[1])
    np.testing.assert_allclose(after.included().vector, updates[1] - sent, atol=1e-15)
    weightless = before.after(before.add_to(updates[1]), sent, 0.0)
    np.testing.assert_array_equal(weightless.included().vector, updates[1])


@pytest.mark.fast
def test_a_residual_survives_the_disk() -> None:
    kept = SiteResidual(np.array([0.5, -1e-300, 3.0]))
    np.testing.assert_array_equal(SiteResidual.from_bytes(kept.to_bytes()).vector, kept.vector)
    for bad in (b"\0" * 7, np.array([np.nan]).tobytes()):
        with pytest.raises(secagg.UsageError):
            SiteResidual.from_bytes(bad)


@pytest.mark.fast
@pytest.mark.parametrize("unit", ["patient", "record", "example"])
def test_patients_are_refused(config: secagg.RoundConfig, unit: str) -> None:
    with pytest.raises(quant.ConfigurationError, match="influence into later rounds"):
        check_feedback(config.codec, unit)
    check_feedback(config.codec, "site")


@pytest.mark.fast
def test_residuals_that_do_not_fit(config: secagg.RoundConfig, updates: dict[int, np.ndarray]) -> None:
    with pytest.raises(secagg.UsageError, match="no error feedback"):
        secagg.ClientSession(config, 1, residual=SiteResidual.start(33))
    with pytest.raises(secagg.UsageError, match="shape"):
        secagg.aggregate(updates, residuals={1: SiteResidual.start(32)})


def test_feedback_comes_before_the_clip(updates: dict[int, np.ndarray]) -> None:
    """A huge residual makes a site say no more in one round than the clip allows."""
    huge = {client: SiteResidual(np.full(33, 100.0)) for client in updates}
    result = secagg.aggregate(updates, quantization={"bits": 16, "clip": 1.0, "range": 1.0}, residuals=huge)
    assert np.linalg.norm(result.value) <= 1.001
    assert result.record.monitoring is not None
    assert result.record.monitoring.clipped_fraction == 1
