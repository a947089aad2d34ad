import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant.chain import chain
from quant.errors import ConfigurationError, InputError
from quant.lanes import LaneLayout
from quant.modular import ModularGrid, modular_step
from tests.quant.conftest import InsecurePublic, InsecureSeededStream, NoStream


@settings(max_examples=100)
@given(
    st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=1, max_size=6),
    st.integers(9, 20),
    st.sampled_from(["stochastic", "dither"]),
)
def test_sums_come_back_while_they_fit(rows, bits, rounding):
    updates = np.array(rows)
    grid = ModularGrid(bits, 1.0, rounding)
    codec, public = chain(grid, dim=3), InsecurePublic(1)
    n = len(rows)
    total = np.zeros(3, np.int64)
    for client, x in enumerate(updates):
        q = codec.encode(x, InsecureSeededStream(client), public=public, client=client)
        assert q.min() >= 0
        assert q.max() < 2**bits
        total += q
    exact = updates.sum(axis=0)
    for sent in (total, total % 2**bits):  # the lane reduces, or not
        error = codec.decode(sent, n, public=public, clients=range(n)) - exact
        fits = np.abs(exact) < 2 ** (bits - 1) - 1 - n
        assert np.abs(error[fits]).max(initial=0) <= n * grid.max_error
        turns = error / 2**bits
        assert np.abs(turns - np.rint(turns)).max() <= n * grid.max_error / 2**bits  # off by whole moduli only


def test_single_values_may_wrap_if_the_sum_does_not():
    codec = chain(ModularGrid(4, 1.0), dim=1)
    q = codec.encode(np.array([20.0]), NoStreamButHalves()) + codec.encode(np.array([-15.0]), NoStreamButHalves())
    assert codec.decode(q, 2).tolist() == [5.0]
    assert codec.saturated(np.array([20.0])) == 1
    assert codec.facts.may_saturate


class NoStreamButHalves:
    def fill(self, out):
        out[:] = 0x7F


def test_what_wraps_shares_no_lane():
    facts = chain(ModularGrid(12, 0.1), dim=5).facts
    assert facts.wraps
    assert not facts.may_share_lanes
    assert facts.field_width(1000) == 12  # no room for the cohort
    lanes = facts.lanes(1000)
    assert (lanes.fields, lanes.lanes, lanes.lane_bits) == (1, 5, 12)
    total = np.array([4095, 0, 7, 4096, 5], np.int64)
    assert lanes.unpack(total.astype(np.uint64)).tolist() == [4095, 0, 7, 0, 5]
    assert LaneLayout(5, 12).fields == 5


@pytest.mark.parametrize("deviation", [1.0, 0.01, 300.0])
@pytest.mark.parametrize("probability", [1e-2, 1e-4, 1e-9])
def test_the_wrap_probability_is_what_was_asked_for(deviation, probability):
    grid = ModularGrid(10, modular_step(10, deviation, probability))
    assert grid.wrap_probability(deviation) <= probability
    assert grid.wrap_probability(deviation) == pytest.approx(probability, rel=1e-4)
    assert grid.wrap_probability(2 * deviation) > probability


def test_wraps_are_as_frequent_as_stated():
    draws = 200_000
    grid = ModularGrid(8, modular_step(8, 1.0, 0.01))
    x = np.random.default_rng(0).normal(size=draws)
    codec = chain(grid, dim=draws)
    decoded = codec.decode(codec.encode(x, InsecureSeededStream(0)), 1)
    wrapped = np.count_nonzero(np.abs(decoded - x) > 2 * grid.step)
    assert abs(wrapped - 0.01 * draws) < 4.9 * math.sqrt(0.01 * draws) + 0.002 * draws


def test_bad_settings_are_refused():
    for build, says in (
        (lambda: ModularGrid(1, 1.0), "modulus_bits must be between 2 and 30"),
        (lambda: ModularGrid(8, 0.0), "the step must be between"),
        (lambda: ModularGrid(8, 1.0, "nearest"), "modular rounding must be stochastic or dither"),
        (lambda: modular_step(8, 1.0, 0.0), "a wrap probability lies between 0 and 1"),
    ):
        with pytest.raises(ConfigurationError, match=says):
            build()
    codec = chain(ModularGrid(8, 1.0), dim=1)
    with pytest.raises(InputError, match=r"2\^32 steps from zero.*clip the update"):
        codec.encode(np.array([1e12]), NoStream())
    with pytest.raises(InputError, match="does not go with 0 dithers"):
        ModularGrid(8, 1.0, "dither").decode(np.array([1]), 1)


@pytest.mark.parametrize("x", [0.25, -0.7])
def test_unbiased_over_a_million_draws(x):
    codec, draws = chain(ModularGrid(6, 1.0), dim=10**6), 10**6
    decoded = codec.decode(codec.encode(np.full(draws, x), InsecureSeededStream(x)), 1)
    up = x % 1
    assert abs(decoded.sum() - draws * x) / math.sqrt(draws * up * (1 - up)) < 4.9


def test_a_wrap_probability_whose_half_is_no_float_is_refused():
    with pytest.raises(ConfigurationError, match="a wrap probability lies between 0 and 1"):
        modular_step(16, 1.0, 5e-324)
    assert modular_step(16, 1.0, 1e-300) < 2.0**-9
