"""Metrics as whole numbers: what is no number that a float can hold is refused by name."""

from __future__ import annotations

import pytest

from secagg.errors import UsageError
from secagg.metrics import MetricGrid

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("value", [10**400, "1.0", None, float("nan"), float("inf")])
def test_what_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="not finite"):
        MetricGrid.of({"loss": 1.0}, 1).encode({"loss": value}, 1)  # type: ignore[dict-item]


def test_a_bound_beyond_float64_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a bound"):
        MetricGrid.of({"loss": 10**400}, 1)


def test_the_largest_weights_fit_into_the_modulus_or_are_refused() -> None:
    grid = MetricGrid.of({"loss": 1.0}, 2**40)
    assert 15 * int(grid.encode({"loss": 2.0}, 2**40)[0]) < grid.modulus(15) <= 2**64
    with pytest.raises(UsageError, match="64 fit"):
        grid.modulus(16)
