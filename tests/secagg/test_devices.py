"""Devices of different precision in one cohort: nested grids through the protocol, groups large enough, savings."""

from __future__ import annotations

import numpy as np
import pytest

import quant
import secagg
from secagg.devices import Devices, nesting_levels
from tests.secagg.conftest import MODEL
from tests.secagg.test_session import to_input

GRID = {"levels": nesting_levels(10, 4), "range": 1.0}
COARSE = {4: 4, 5: 4, 6: 4}


@pytest.fixture
def six(rng: np.random.Generator) -> dict[int, np.ndarray]:
    return {client: rng.uniform(-0.9, 0.9, 400) for client in range(1, 7)}


@pytest.mark.parametrize("extra", [{}, {"rounding": "nearest"}, {"clip": 25.0, "rotation": True}], ids=str)
def test_coarse_and_fine_add_up_exactly(six: dict[int, np.ndarray], extra: dict[str, object]) -> None:
    result = secagg.aggregate(six, quantization={**GRID, **extra}, devices=COARSE, dropouts={2: "masked-input"})
    assert result.record.exact
    true = np.mean([six[client] for client in (1, 3, 4, 5, 6)], axis=0)
    coarse_step = 2 / 63
    assert np.abs(result.value - true).max() < (3 * coarse_step + 2 * coarse_step / 16) / 5 * (
        20 if "clip" in extra else 1
    )
    assert np.abs(result.value - true).max() > 0.1 * coarse_step  # it would be a sixteenth of that on fine grids


def test_each_device_rounds_on_its_own_grid(six: dict[int, np.ndarray]) -> None:
    config = secagg.RoundConfig(clients=tuple(six), layout=quant.Layout.of(six[1]), quantization=GRID, devices=COARSE)
    _, clients = to_input(config, MODEL)
    fine, coarse = (clients[client].prepare(six[client]).integers for client in (1, 4))
    assert (coarse % 16 == 0).all()
    assert not (fine % 16 == 0).all()


def test_error_feedback_and_monitoring_know_the_coarser_step(six: dict[int, np.ndarray]) -> None:
    fine = secagg.aggregate(six, quantization=GRID).record.monitoring
    mixed = secagg.aggregate(six, quantization=GRID, devices=COARSE).record.monitoring
    assert fine is not None
    assert mixed is not None
    assert mixed.squared_error == pytest.approx(fine.squared_error * (3 + 3 * 256) / 6, rel=0.1)
    once = secagg.aggregate(six, quantization=GRID, devices=COARSE, residuals={})
    assert np.abs(once.residuals[4].vector).max() > 8 * np.abs(once.residuals[1].vector).max()


@pytest.mark.fast
def test_a_precision_of_two_would_name_them(six: dict[int, np.ndarray]) -> None:
    with pytest.raises(quant.ConfigurationError, match="only 2 devices"):
        secagg.aggregate(six, quantization=GRID, devices={5: 4, 6: 4})
    with pytest.raises(quant.ConfigurationError, match="only 2 devices"):
        secagg.aggregate(six, quantization=GRID, devices={3: 2, 4: 2, 5: 2, 6: 2})  # two are left on the finest
    secagg.aggregate(six, quantization=GRID, devices=dict.fromkeys(six, 4))


@pytest.mark.fast
@pytest.mark.parametrize(
    "quantization",
    [
        {"levels": GRID["levels"], "range": 1.0, "rounding": "dither"},
        {"modulus_bits": 14, "step": 0.01},
        {"exact_low": -8, "exact_high": 1},
    ],
    ids=str,
)
def test_grids_that_cannot_nest(six: dict[int, np.ndarray], quantization: dict[str, object]) -> None:
    with pytest.raises((quant.ConfigurationError, secagg.UsageError)):
        secagg.aggregate(six, quantization=quantization, devices=COARSE)


@pytest.mark.fast
def test_savings_are_computed_from_the_layout() -> None:
    codec = quant.from_config(GRID, 10_000)
    groups = Devices(codec, tuple(range(1, 11)), dict.fromkeys(range(5, 11), 4)).savings()
    assert [(group.shift, group.clients) for group in groups] == [(0, 4), (4, 6)]
    assert groups[0].together_bytes == groups[1].together_bytes == 8 * codec.facts.lanes(10).lanes
    assert groups[1].apart_bytes < 0.75 * groups[1].together_bytes


@pytest.mark.fast
@pytest.mark.parametrize(("bits", "shift", "levels"), [(8, 0, 256), (8, 1, 255), (8, 4, 241), (5, 4, 17)])
def test_nesting_levels(bits: int, shift: int, levels: int) -> None:
    assert nesting_levels(bits, shift) == levels
    assert (levels - 1) % 2**shift == 0


@pytest.mark.fast
def test_more_coarseness_than_bits() -> None:
    with pytest.raises(secagg.UsageError, match="more bits"):
        nesting_levels(4, 4)
