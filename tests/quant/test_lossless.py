import math
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from quant import from_config
from quant.chain import chain
from quant.errors import ConfigurationError, InputError
from quant.grid import UniformGrid
from quant.lossless import LosslessGrid, fixed_point
from tests.quant.conftest import NoStream

FLOAT16 = hnp.arrays(np.float16, (5, 4), elements=st.floats(width=16, allow_nan=False, allow_infinity=False))


@settings(max_examples=100)
@given(FLOAT16)
def test_float16_sums_exactly(updates):
    codec = chain(LosslessGrid.float16(), dim=4)
    total = sum(codec.encode(x, NoStream()) for x in updates)
    decoded = codec.decode(total, 5)
    for place in range(4):
        assert Fraction(decoded[place]) == sum(Fraction(float(x)) for x in updates[:, place])


@pytest.mark.parametrize(("clients", "width"), [(1, 41), (2, 42), (10, 45), (16, 45), (1000, 51)])
def test_float16_takes_41_bits_and_the_cohort(clients, width):
    facts = chain(LosslessGrid.float16(), dim=4).facts
    assert facts.bits == 41
    assert facts.field_width(clients) == width == 41 + math.ceil(math.log2(clients))
    assert (facts.max_error, facts.max_bias, facts.variance, facts.unbiased) == (0, 0, 0, True)


def test_float32_inside_a_window():
    codec = from_config({"exact_low": -20, "exact_high": 2}, 3)
    x = np.float32([3.5, -1.25, 2.0**-20])
    assert codec.decode(codec.encode(x) * 7, 7).tolist() == (7 * x.astype(float)).tolist()
    for bad, says in (
        (4.0, "1 coordinates are not below 2\\^2"),
        (2.0**-21, "1 coordinates are no multiples of 2\\^-20"),
    ):
        with pytest.raises(InputError, match=says):
            codec.encode(np.float32([0, bad, 0]))
    with pytest.raises(InputError, match="NaN"):
        codec.encode(np.float32([0, np.nan, 0]))


@settings(max_examples=60)
@given(hnp.arrays(np.int64, (3, 4), elements=st.integers(-(2**20) + 1, 2**20 - 1)))
def test_integers_in_integers_out(updates):
    grid = LosslessGrid(0, 20)
    total = sum(grid.encode_integers(x) for x in updates)
    assert np.array_equal(grid.decode_integers(total, 3), updates.sum(axis=0))
    assert np.array_equal(chain(grid, dim=4).decode(total, 3), updates.sum(axis=0))


def test_what_is_not_exact_is_refused():
    grid = LosslessGrid(0, 53)
    total = grid.encode_integers(np.array([2**53 - 1])) + grid.encode_integers(np.array([2]))
    assert grid.decode_integers(total, 2).tolist() == [2**53 + 1]
    with pytest.raises(InputError, match="beyond 53 bits"):
        grid.decode(total, 2)
    with pytest.raises(InputError, match="beyond"):
        grid.encode_integers(np.array([2**53]))
    with pytest.raises(InputError, match="no sum of 1 vectors"):
        grid.decode_integers(np.array([-1]), 1)
    with pytest.raises(InputError, match="62 bits"):
        grid.decode_integers(np.array([5]), 2**10)
    for low, high in ((0, 54), (3, 3), (-2000, 0)):
        with pytest.raises(ConfigurationError, match=r"window|exponent"):
            LosslessGrid(low, high)


@pytest.mark.parametrize(("whole", "fraction"), [(0, 7), (7, 0), (3, 12), (15, 16)])
def test_fixed_point(whole, fraction):
    grid = fixed_point(whole, fraction, "nearest")
    assert isinstance(grid, UniformGrid)
    assert grid.step == 2.0**-fraction
    assert grid.bits == whole + fraction + 1
    top = 2 ** (whole + fraction) - 1
    q = np.unique(np.linspace(-top, top, 1001).astype(np.int64))
    values = q * 2.0**-fraction
    assert np.array_equal(grid.encode(values) - top, q)
    assert np.array_equal(grid.decode(q + top, 1), values)
    assert from_config({"integer_bits": whole, "fraction_bits": fraction, "rounding": "nearest"}, 3).grid == grid


@pytest.mark.parametrize(("whole", "fraction"), [(0, 0), (16, 16), (-1, 4), (4, 1.5)])
def test_bad_fixed_points_are_refused(whole, fraction):
    with pytest.raises(ConfigurationError, match=r"bits"):
        fixed_point(whole, fraction)


@pytest.mark.parametrize("low", [1, 900])
def test_a_tiny_value_below_a_window_of_large_numbers_is_refused_and_not_lost(low):
    codec = chain(LosslessGrid(low, low + 40), dim=2)
    with pytest.raises(InputError, match="1 coordinates are no multiples"):
        codec.encode(np.array([5e-324, 2.0**low]), NoStream())


def test_a_sum_beyond_float64_is_refused():
    codec = chain(LosslessGrid(1023, 1024), dim=1)
    integers = codec.encode(np.array([2.0**1023]), NoStream())
    assert codec.decode(integers, 1) == 2.0**1023
    with pytest.raises(InputError, match="beyond float64"):
        codec.decode(2 * integers, 2)
