import math
from fractions import Fraction
from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from quant.errors import InputError
from quant.rounding import LEAST_SCALED, MOST_SCALED, STOCHASTIC_BIAS, nearest, stochastic
from quant.streams import SYSTEM_STREAM
from quant.vectors import SLICE
from tests.quant.conftest import HIGHEST, LOWEST, ConstantStream, InsecureSeededStream

SCALED = hnp.arrays(np.float64, st.integers(0, 30), elements=st.floats(LEAST_SCALED, MOST_SCALED))


@settings(max_examples=100)
@given(SCALED, st.integers(0, 2**64))
def test_stochastic_moves_by_less_than_one(scaled, seed):
    for stream in (InsecureSeededStream(seed), ConstantStream(LOWEST), ConstantStream(HIGHEST)):
        rounded = stochastic(scaled, stream)
        assert rounded.dtype == np.int64
        assert rounded.shape == scaled.shape
        for value, whole in zip(scaled.tolist(), rounded.tolist(), strict=True):
            assert whole in (math.floor(value), math.ceil(value))


@settings(max_examples=100)
@given(st.floats(LEAST_SCALED, MOST_SCALED), st.integers(LOWEST, HIGHEST))
def test_stochastic_against_plain_integers(value, coin):
    fixed = round(Fraction(value) * 2**32)  # halves to even, like rint
    assert stochastic(np.array([value]), ConstantStream(coin)).tolist() == [(fixed + coin) >> 32]


@settings(max_examples=100)
@given(st.floats(LEAST_SCALED, MOST_SCALED))
def test_residual_bias_is_as_stated(value):
    # Of the 2^32 coins, exactly t mod 2^32 round up, so the mean of the result is t / 2^32.
    fixed = round(Fraction(value) * 2**32)
    up = fixed % 2**32
    if up:
        assert stochastic(np.array([value]), ConstantStream(2**32 - up)).tolist() == [fixed // 2**32 + 1]
        assert stochastic(np.array([value]), ConstantStream(2**32 - up - 1)).tolist() == [fixed // 2**32]
    assert abs(Fraction(fixed, 2**32) - Fraction(value)) <= Fraction(STOCHASTIC_BIAS)


@pytest.mark.parametrize("value", [0.5, 0.001, -0.25, 1234.875, -(2.0**30) + 0.125, 2.0**20 + 1e-3])
def test_stochastic_is_unbiased_over_a_million_draws(value):
    draws = 10**6
    rounded = stochastic(np.full(draws, value), InsecureSeededStream(f"bias {value}"))
    up = value - math.floor(value)
    z = (int(rounded.sum()) - draws * value) / math.sqrt(draws * up * (1 - up))
    assert abs(z) < 4.9


def test_coins_are_independent_between_coordinates():
    draws = 10**6
    ups = stochastic(np.full(draws, 0.5), InsecureSeededStream("pairs"))
    z = (int((ups[1:] ^ ups[:-1]).sum()) - (draws - 1) / 2) / math.sqrt((draws - 1) / 4)
    assert abs(z) < 4.9


WHOLE = np.array([0, 1, -1, 7, 2.0**31 - 1, -(2.0**31), 2.0**20, -0.0])


@pytest.mark.parametrize("coin", [LOWEST, 1, 2**31, HIGHEST])
def test_whole_values_never_move(coin):
    assert np.array_equal(stochastic(WHOLE, ConstantStream(coin)), WHOLE.astype(np.int64))
    assert np.array_equal(nearest(WHOLE), WHOLE.astype(np.int64))


def test_known_answers():
    scaled = np.array([0.25, 0.25, -0.25, -0.25, 2.5, 2.5])
    coins = np.array([0xBFFFFFFF, 0xC0000000, 0x3FFFFFFF, 0x40000000, 0x7FFFFFFF, 0x80000000], "<u4")

    class Scripted:
        def fill(self, out):
            out[:] = coins.view(np.uint8)

    assert stochastic(scaled, Scripted()).tolist() == [0, 1, -1, 0, 2, 3]


def test_four_bytes_per_value_whatever_the_slices():
    scaled = np.linspace(-5, 5, 2 * SLICE + 3)
    stream = InsecureSeededStream(1)
    whole = stochastic(scaled, stream)
    assert stream.taken == 4 * scaled.size
    stream = InsecureSeededStream(1)
    cuts = [0, 10, SLICE, SLICE + 1, scaled.size]
    pieces = [stochastic(scaled[a:b], stream) for a, b in pairwise(cuts)]
    assert np.array_equal(np.concatenate(pieces), whole)


def test_inputs_are_left_alone():
    scaled = np.array([0.5, 1.25])
    stochastic(scaled, SYSTEM_STREAM)
    nearest(scaled)
    assert scaled.tolist() == [0.5, 1.25]


@settings(max_examples=100)
@given(SCALED)
def test_nearest_is_pythons_round(scaled):
    assert nearest(scaled).tolist() == [round(value) for value in scaled.tolist()]


def test_nearest_halves_go_to_even():
    assert nearest(np.array([0.5, 1.5, 2.5, -0.5, -1.5])).tolist() == [0, 2, 2, 0, -2]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2.0**31, 2.0**31 - 0.5, -(2.0**31) - 0.5])
def test_beyond_fixed_point_is_refused(bad):
    scaled = np.array([0.0, bad])
    with pytest.raises(InputError, match="scaled values must lie in"):
        stochastic(scaled, SYSTEM_STREAM)
    with pytest.raises(InputError, match="scaled values must lie in"):
        nearest(scaled)
