"""Shared-seed subtractive dither: the error is uniform, whatever the values are."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant.chain import chain
from quant.errors import InputError
from quant.grid import UniformGrid
from quant.rounding import add_dither
from quant.transforms import HadamardRotation
from tests.quant.conftest import ConstantStream, InsecurePublic, InsecureSeededStream, NoStream


class AllCoins:
    """Every 16-bit coin exactly once."""

    def fill(self, out):
        out[:] = np.arange(2**16, dtype="<u2").view(np.uint8)[: out.size]


def fine(levels, bound=1.0, coin_bits=16):
    return UniformGrid(levels, bound, "dither", coin_bits)


@pytest.mark.parametrize("levels", [2, 3, 26, 4096, 2**16])
@pytest.mark.parametrize("x", [0.0, 0.3, -0.7501, 0.9999, -1.0, 1.0])
def test_over_all_coins_the_error_is_exactly_uniform(levels, x):
    grid = fine(levels)
    coins = np.zeros(2**16, np.int64)
    # One long vector of x meets every coin once; the grid walks it in slices, so it gets a stream that counts on.
    stream = Counting()
    q = grid.encode(np.full(2**16, x), stream)
    add_dither([AllCoins()], 16, coins)
    # decoded value in units of step / 2^17, relative to the lower end; t is what rounding saw, the same for all coins
    decoded = q * 2**17 - coins
    steps = np.sort(decoded)
    assert np.array_equal(np.diff(steps), np.full(2**16 - 1, 2))  # evenly spaced over exactly one step
    centre = (int(steps[0]) + int(steps[-1])) / 2 / 2**17
    assert abs(centre - (x + 1) / grid.step) <= 2.0**-17 + 2.0**-40 * levels


class Counting:
    """Coins 0, 1, 2, ... across fills."""

    def __init__(self):
        self.next = 0

    def fill(self, out):
        out[:] = np.arange(self.next, self.next + out.size // 2).astype("<u2").view(np.uint8)
        self.next += out.size // 2


@settings(max_examples=80)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.integers(2, 2**16), st.sampled_from([16, 32]))
def test_no_input_in_range_violates_the_declared_error(values, levels, coin_bits):
    grid = fine(levels, 1.0, coin_bits)
    x = np.array(values)
    for make in (lambda: ConstantStream(0), lambda: ConstantStream(2**32 - 1), lambda: InsecureSeededStream(1)):
        q = grid.encode(x, make())
        assert q.min() >= 0
        assert q.max() <= levels - 1
        assert np.abs(grid.decode(q, 1, [make()]) - x).max() <= grid.max_error


@settings(max_examples=60)
@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=9), st.integers(2, 2**30))
def test_out_of_range_is_saturated(values, levels):
    grid = fine(levels, 1.0, 32)
    x = np.array(values)
    q = grid.encode(x, InsecureSeededStream(2))
    assert q.min() >= 0
    assert q.max() <= levels - 1
    assert np.all(q[x >= 1] == levels - 1)
    assert np.all(q[x <= -1] == 0)


@pytest.mark.parametrize("coin_bits", [16, 32])
@pytest.mark.parametrize("x", [0.0, 0.123, -0.77])
def test_a_million_draws_are_unbiased_with_a_twelfth_of_variance(x, coin_bits):
    draws, grid = 10**6, fine(26, 1.0, coin_bits)
    seed = f"{x}{coin_bits}"
    q = grid.encode(np.full(draws, x), InsecureSeededStream(seed))
    errors = (grid.decode(q, 1, [InsecureSeededStream(seed)]) - x) / grid.step
    assert abs(errors.sum()) / math.sqrt(draws / 12) < 4.9
    # variance of the square of a uniform value: 1/80 - 1/144
    assert abs((errors**2).sum() - draws / 12) / math.sqrt(draws * (1 / 80 - 1 / 144)) < 4.9
    assert grid.variance == pytest.approx(grid.step**2 / 12)


def test_half_the_variance_of_stochastic_rounding():
    x = np.random.default_rng(0).uniform(-1, 1, 200_000)
    stochastic, dither = UniformGrid(26, 1.0), fine(26)
    rough = stochastic.decode(stochastic.encode(x, InsecureSeededStream(1)), 1) - x
    smooth = dither.decode(dither.encode(x, InsecureSeededStream(2)), 1, [InsecureSeededStream(2)]) - x
    assert np.mean(smooth**2) / np.mean(rough**2) == pytest.approx(0.5, rel=0.02)


def test_errors_are_independent_of_the_value_and_between_clients():
    draws, codec = 400_000, chain(fine(26), dim=400_000)
    x = np.random.default_rng(1).uniform(-1, 1, draws)
    public = InsecurePublic(5)
    errors = [codec.decode(codec.encode(x, public=public, client=c), 1, public=public, clients=[c]) - x for c in (1, 2)]
    scale = codec.grid.step / math.sqrt(12)
    for first, second in ((errors[0], errors[1]), (errors[0], x * scale * math.sqrt(3))):
        assert abs(np.dot(first, second) / scale**2) / math.sqrt(draws) < 4.9
    fractions = (x / codec.grid.step) % 1  # stochastic rounding's error depends on these
    assert abs(np.dot(errors[0] / scale, (fractions - 0.5) * math.sqrt(12))) / math.sqrt(draws) < 4.9


def test_survivors_only():
    dim, public = 500, InsecurePublic(9)
    codec = chain(HadamardRotation(), fine(257, 4.0), dim=dim)
    updates = {c: np.random.default_rng(c).normal(size=dim) for c in (3, 5, 8, 13)}
    integers = {c: codec.encode(x, NoStream(), public=public, client=c) for c, x in updates.items()}
    alive = [13, 3, 8]  # any order
    total = sum(integers[c] for c in alive)
    decoded = codec.decode(total, 3, public=public, clients=alive)
    error = decoded - sum(updates[c] for c in alive)
    assert np.linalg.norm(error) == pytest.approx(codec.grid.step * math.sqrt(512 * 3 / 12), rel=0.15)
    wrong = codec.decode(total, 3, public=public, clients=[3, 5, 8]) - sum(updates[c] for c in alive)
    assert np.linalg.norm(wrong) > 1.3 * np.linalg.norm(error)


def test_one_dither_for_all_would_correlate():
    x, n, grid = np.full(20_000, 0.123), 8, fine(26)
    one = np.mean(
        [grid.decode(grid.encode(x, InsecureSeededStream(0)), 1, [InsecureSeededStream(0)]) for _ in range(n)], axis=0
    )
    own = np.mean(
        [grid.decode(grid.encode(x, InsecureSeededStream(c)), 1, [InsecureSeededStream(c)]) for c in range(n)], axis=0
    )
    assert np.mean((one - x) ** 2) / np.mean((own - x) ** 2) == pytest.approx(n, rel=0.1)


def test_the_number_of_dithers_must_be_the_count():
    with pytest.raises(InputError, match="dither rounding of 2 vectors does not go with 1 dithers"):
        fine(4).decode(np.array([1]), 2, [ConstantStream(0)])
    with pytest.raises(InputError, match="stochastic rounding of 1 vectors does not go with 1 dithers"):
        UniformGrid(4, 1.0).decode(np.array([1]), 1, [ConstantStream(0)])


@pytest.mark.parametrize("value", [0.5, 0.001, -0.25])
def test_short_coins_are_unbiased_over_a_million_draws(value):
    grid, draws = UniformGrid(9, 4.0, "stochastic", 16), 10**6
    q = grid.encode(np.full(draws, value), InsecureSeededStream(f"short {value}"))
    up = value % 1
    z = (int(q.sum()) - 4 * draws - draws * value) / math.sqrt(draws * up * (1 - up))
    assert abs(z) < 4.9
    assert grid.max_bias <= 2.0**-17 * grid.step + 2.0**-22 * grid.bound
