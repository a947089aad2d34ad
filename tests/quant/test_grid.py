import math
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant.errors import ConfigurationError, InputError
from quant.grid import UniformGrid
from quant.vectors import SLICE
from tests.quant.conftest import (
    HIGHEST,
    LOWEST,
    ConstantStream,
    InsecureSeededStream,
    NoStream,
    finite_vectors,
    levels_and_bounds,
)

STREAMS = (ConstantStream(LOWEST), ConstantStream(HIGHEST), InsecureSeededStream(3))


def point(grid, q):
    """Grid point q as a fraction."""
    return Fraction(grid.bound) * Fraction(2 * q - (grid.levels - 1), grid.levels - 1)


@settings(max_examples=120)
@given(finite_vectors(), levels_and_bounds(), st.sampled_from(["stochastic", "nearest"]))
def test_no_input_leaves_the_grid(x, levels_and_bound, rounding):
    grid = UniformGrid(*levels_and_bound, rounding)
    for stream in STREAMS:
        q = grid.encode(x, stream)
        assert q.dtype == np.int64
        assert q.shape == x.shape
        assert q.min() >= 0
        assert q.max() <= grid.levels - 1
    low, high = x.astype(float) < -grid.bound, x.astype(float) > grid.bound
    assert np.all(q[low] == 0)
    assert np.all(q[high] == grid.levels - 1)
    assert grid.saturated(x) == low.sum() + high.sum()


@settings(max_examples=120)
@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=20),
    levels_and_bounds(),
    st.sampled_from(["stochastic", "nearest"]),
    st.sampled_from([np.float32, np.float64]),
)
def test_no_input_in_range_violates_the_declared_error(shares, levels_and_bound, rounding, dtype):
    grid = UniformGrid(*levels_and_bound, rounding)
    x = np.clip((np.array(shares) * grid.bound).astype(dtype).astype(float), -grid.bound, grid.bound)
    for stream in STREAMS:
        q = grid.encode(x, stream)
        decoded = grid.decode(q, 1)
        for value, index, back in zip(x.tolist(), q.tolist(), decoded.tolist(), strict=True):
            assert abs(Fraction(back) - Fraction(value)) <= Fraction(grid.max_error)
            assert abs(Fraction(back) - point(grid, index)) <= Fraction(grid.bound) / 2**51


@settings(max_examples=100)
@given(st.floats(-1, 1), levels_and_bounds())
def test_declared_bias_bounds_the_mean_over_all_coins(share, levels_and_bound):
    grid = UniformGrid(*levels_and_bound)
    x = max(-grid.bound, min(grid.bound, share * grid.bound))
    lowest = int(grid.encode(np.array([x]), ConstantStream(LOWEST))[0])
    # The number of coins that round up, by bisection: the result grows with the coin.
    low, high = 0, 2**32
    while low < high:
        coin = (low + high) // 2
        if grid.encode(np.array([x]), ConstantStream(coin))[0] > lowest:
            high = coin
        else:
            low = coin + 1
    up = Fraction(2**32 - low, 2**32)
    mean = point(grid, lowest) * (1 - up) + (point(grid, lowest + 1) * up if up else 0)
    assert abs(mean - Fraction(x)) <= Fraction(grid.max_bias)


@pytest.mark.parametrize("levels", [2**32, 2**32 - 1, 2**26 + 1, 4096])
def test_the_very_end_of_the_range_does_not_wrap(levels, rng):
    overshoots = 0
    for bound in rng.uniform(0.5, 2, 500).tolist():
        grid = UniformGrid(levels, bound)
        overshoots += bound * (((levels - 1) / 2) / bound) > (levels - 1) / 2
        for stream in STREAMS[:2]:
            low, high = grid.encode(np.array([-bound, bound]), stream).tolist()
            assert low in (0, 1)  # exact up to 2^18 levels; beyond, the bias of 2^-49 may show in one coin of many
            assert high in (levels - 2, levels - 1)
    assert overshoots or levels < 2**32 - 1  # these would wrap around, were the scale not rounded down


@pytest.mark.parametrize("levels", [2, 3, 255, 4096])
@pytest.mark.parametrize("x", [0.0, 0.3, -0.7501, 0.9999])
def test_stochastic_encoding_is_unbiased_over_a_million_draws(levels, x):
    grid = UniformGrid(levels, 1.0)
    draws = 10**6
    q = grid.encode(np.full(draws, x), InsecureSeededStream(f"grid {levels} {x}"))
    up = ((x + 1) / grid.step) % 1
    if min(up, 1 - up) < 1e-9:  # on a grid point: nothing is random
        assert len(np.unique(q)) == 1
        return
    z = (q.sum() * grid.step - draws * (1 + x)) / (grid.step * math.sqrt(draws * up * (1 - up)))
    assert abs(z) < 4.9


@pytest.mark.parametrize("levels", [2, 3, 10, 4095, 4096, 2**18 - 1, 2**18])
@pytest.mark.parametrize("bound", [1.0, 0.1, 1e-30, 3e29, math.pi])
@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
def test_grid_points_stay_put(levels, bound, rounding):
    grid = UniformGrid(levels, bound, rounding)
    q = np.unique(np.linspace(0, levels - 1, 5000).astype(np.int64))
    x = grid.decode(q, 1)
    assert np.abs(x).max() <= bound * (1 + 2**-52)
    for stream in STREAMS[:2]:
        assert np.array_equal(grid.encode(np.clip(x, -bound, bound), stream), q)


def test_one_bit_is_the_two_ends():
    grid = UniformGrid(2, 0.5)
    assert (grid.bits, grid.step) == (1, 1.0)
    assert grid.decode(grid.encode(np.float32([0.5, -0.5, 9, -9]), STREAMS[2]), 1).tolist() == [0.5, -0.5, 0.5, -0.5]


def test_odd_levels_keep_zero():
    x = np.zeros(1000, np.float32)
    assert not UniformGrid(4095, 1.0).decode(UniformGrid(4095, 1.0).encode(x), 1).any()
    assert set(UniformGrid(4096, 1.0).encode(x, InsecureSeededStream(0)).tolist()) == {2047, 2048}


@pytest.mark.parametrize(("levels", "bits"), [(2, 1), (3, 2), (4, 2), (5, 3), (4096, 12), (4097, 13), (2**32, 32)])
def test_bits(levels, bits):
    assert UniformGrid(levels, 1.0).bits == bits


def test_known_answers():
    grid = UniformGrid(5, 1.0, "nearest")
    x = np.float32([-2, -1, -0.74, -0.26, 0, 0.25, 0.3, 0.75, 1, 7])
    assert grid.encode(x, NoStream()).tolist() == [0, 0, 1, 1, 2, 2, 3, 4, 4, 4]
    assert grid.decode(np.arange(5), 1).tolist() == [-1, -0.5, 0, 0.5, 1]
    assert grid.decode(np.arange(0, 21, 5), 5).tolist() == [-5, -2.5, 0, 2.5, 5]
    even = UniformGrid(4, 3.0, "nearest")
    assert even.encode(np.float32([-3, -2.1, -1.9, 0.1, 1.9, 2.1]), NoStream()).tolist() == [0, 0, 1, 2, 2, 3]


@settings(max_examples=100)
@given(levels_and_bounds(), st.integers(1, 1000), st.integers(0, 2**64))
def test_decode_is_linear_and_odd(levels_and_bound, count, seed):
    grid = UniformGrid(*levels_and_bound)
    most = count * (grid.levels - 1)
    total = np.random.default_rng(seed).integers(0, most, 20, endpoint=True)
    decoded = grid.decode(total, count)
    assert np.array_equal(grid.decode(most - total, count), -decoded)
    exact = [Fraction(grid.bound) * (2 * int(t) - most) / (grid.levels - 1) for t in total]
    for got, value in zip(decoded.tolist(), exact, strict=True):
        assert abs(Fraction(got) - value) <= abs(value) / 2**50
    if levels_and_bound == (4096, 1.0):
        assert np.allclose(decoded, grid.step * total - count * grid.bound)


@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
def test_sum_of_encoded_is_close_to_the_sum(rounding, rng):
    grid, n = UniformGrid(1000, 2.0, rounding), 20
    xs = rng.uniform(-2, 2, (n, 500))
    total = sum(grid.encode(x, InsecureSeededStream(i)) for i, x in enumerate(xs))
    error = np.abs(grid.decode(total, n) - xs.sum(axis=0)).max()
    assert error <= n * grid.max_error
    assert error > grid.max_error / 2  # the bound is no empty promise


def test_slices_do_not_matter(rng):
    grid = UniformGrid(300, 1.0)
    x = rng.uniform(-1.1, 1.1, 2 * SLICE + 7)
    whole = grid.encode(x, InsecureSeededStream(5))
    stream = InsecureSeededStream(5)
    pieces = [grid.encode(x[:100], stream), grid.encode(x[100:SLICE], stream), grid.encode(x[SLICE:], stream)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert stream.taken == 4 * x.size
    assert np.array_equal(grid.decode(np.tile(whole, 2), 1)[: x.size], grid.decode(whole, 1))


def test_odd_memory_is_read_right():
    grid, x = UniformGrid(50, 1.0, "nearest"), np.linspace(-1, 1, 31)
    expected = grid.encode(x[::-3].copy())
    assert np.array_equal(grid.encode(x[::-3]), expected)
    assert np.array_equal(grid.encode(x[::-3].astype(">f8")), expected)
    assert np.array_equal(grid.encode(np.float16([1, -1])), [49, 0])


@pytest.mark.parametrize("x", [np.full(3, 1.7e308), np.full(3, 5e-324), np.float32([3e38, -1e-45])])
@pytest.mark.parametrize("bound", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
def test_no_float_flag_is_raised(x, bound, rounding):
    grid = UniformGrid(2**32, bound, rounding)
    with np.errstate(all="raise"):
        grid.decode(grid.encode(x), 1)
        grid.saturated(x)


def test_saturation_is_strict_and_counted_in_float64():
    grid = UniformGrid(16, 0.1)
    assert grid.saturated(np.array([0.1, -0.1, 0.0])) == 0
    assert grid.saturated(np.float32([0.1, -0.1, 0.05])) == 2  # float32(0.1) is above 0.1
    assert grid.saturated(np.tile([9.0, 0.0], SLICE)) == SLICE


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad):
    for action in (UniformGrid(4, 1.0).encode, UniformGrid(4, 1.0).saturated):
        with pytest.raises(InputError, match="1 of 2 coordinates"):
            action(np.array([0, bad]))


@pytest.mark.parametrize("levels", [1, 0, -5, 2**32 + 1, 2.0, True, None])
def test_bad_levels_are_refused(levels):
    with pytest.raises(ConfigurationError, match="levels"):
        UniformGrid(levels, 1.0)


def test_other_bad_settings_are_refused():
    with pytest.raises(ConfigurationError, match="grid range"):
        UniformGrid(4, -1.0)
    with pytest.raises(ConfigurationError, match="stochastic or nearest or dither or conditional, not 'up'"):
        UniformGrid(4, 1.0, "up")
    with pytest.raises(ConfigurationError, match="stochastic or nearest"):
        UniformGrid(4, 1.0, ["nearest"])
    with pytest.raises(ConfigurationError, match="coin_bits must be 16 or 32, not 8"):
        UniformGrid(4, 1.0, "stochastic", 8)
    with pytest.raises(ConfigurationError, match="stochastic rounding, 16-bit coins: at most 65536 levels"):
        UniformGrid(2**16 + 1, 1.0, "stochastic", 16)
    with pytest.raises(ConfigurationError, match="dither rounding, 32-bit coins: at most 1073741824 levels"):
        UniformGrid(2**30 + 1, 1.0, "dither")


@pytest.mark.parametrize(
    ("total", "count", "says"),
    [
        (np.array([0, 7]), 2, "wrong count or a wrapped sum"),
        (np.array([-1]), 2, "wrong count or a wrapped sum"),
        (np.array([1.0]), 2, "not float64"),
        (np.ones((2, 2), np.int64), 2, "shape"),
        (np.array([1]), 0, "count"),
        (np.array([1]), 2.0, "count"),
        (np.array([1]), 2**61, "62 bits"),
    ],
)
def test_bad_totals_are_refused(total, count, says):
    with pytest.raises(InputError, match=says):
        UniformGrid(4, 1.0).decode(total, count)


def test_largest_totals_decode():
    grid = UniformGrid(2**32, 1.0)
    count = 2**30
    assert grid.decode(np.array([count * (2**32 - 1)]), count).tolist() == [float(count)]
    assert grid.decode(np.empty(0, np.int64), 3).shape == (0,)


def test_config():
    assert UniformGrid(7, 2).config() == {"levels": 7, "range": 2.0, "rounding": "stochastic"}
