"""Encoding in float32 and in 32-bit words: faster, and inside of every bound that the grid declares."""

from bisect import bisect_right
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from quant.chain import chain
from quant.clip import ClipL2
from quant.grid import SINGLE_FLOAT_ERROR, UniformGrid
from quant.lanes import BLOCK, LaneLayout
from quant.transforms import HadamardRotation
from quant.vectors import WIDE_SLICE
from tests.quant.conftest import HIGHEST, LOWEST, ConstantStream, InsecurePublic, InsecureSeededStream

ROUNDINGS = ("stochastic", "dither", "conditional")
STREAMS = (lambda: ConstantStream(LOWEST), lambda: ConstantStream(HIGHEST), lambda: InsecureSeededStream(3))


def singles(bound, size=24):
    edge = float(np.float32(bound))
    edge = edge if edge <= bound else float(np.nextafter(np.float32(bound), np.float32(0)))
    inside = st.floats(-edge, edge, width=32)
    return hnp.arrays(np.float32, st.integers(1, size), elements=st.one_of(inside, st.sampled_from([edge, -edge, 0.0])))


@settings(max_examples=150)
@given(st.data(), st.integers(2, 256), st.one_of(st.floats(1e-30, 1e30), st.sampled_from([1.0, 0.1, 1e-30, 1e30])))
def test_no_float32_in_range_violates_the_declared_error(data, levels, bound):
    x = data.draw(singles(bound))
    for rounding in ROUNDINGS[:2]:
        grid = UniformGrid(levels, bound, rounding, 16)
        for make in STREAMS:
            q = grid.encode(x, make())
            assert q.min() >= 0
            assert q.max() <= levels - 1
            dithers = [make()] if rounding == "dither" else []
            assert np.abs(grid.decode(q, 1, dithers) - x).max() <= grid.max_error


@settings(max_examples=60)
@given(st.data(), st.integers(2, 256), st.floats(1e-3, 1e3))
def test_what_the_coins_are_added_to_is_off_by_no_more_than_declared(data, levels, bound):
    """q goes up by one at coin 2^16 - (t mod 2^16): a bisection over coins finds t, to compare with exact fractions."""
    check_units(UniformGrid(levels, bound, "stochastic", 16), data.draw(singles(bound, 3)))


def test_nor_for_large_values_where_float32_is_coarsest(rng):
    for bound in rng.lognormal(0, 3, 300):
        check_units(UniformGrid(256, bound, "stochastic", 16), (bound * rng.uniform(0.9, 1, 2)).astype(np.float32))


def check_units(grid, values):
    for value in values:
        exact = (Fraction(float(value)) / Fraction(grid.bound) + 1) * Fraction(grid.levels - 1, 2)  # in steps
        low = encode_one(grid, value, 0)
        first = bisect_right(range(2**16), low, key=lambda coin, value=value: encode_one(grid, value, coin))
        t = Fraction(low * 2**16 + 2**16 - first, 2**16)
        assert abs(t - exact) <= Fraction(1, 2**17) + Fraction(SINGLE_FLOAT_ERROR) * (grid.levels - 1) / 2


def encode_one(grid, value, coin):
    return int(grid.encode(np.array([value], np.float32), ConstantStream(coin | coin << 16))[0])


@settings(max_examples=60)
@given(st.integers(2, 2**14), st.integers(0, 2**32), st.sampled_from([1.0, 1.7, 40.0, 1e4, 1e9]))
def test_values_beyond_the_range_end_on_the_grid(levels, seed, spread):
    x = (np.random.default_rng(seed).standard_cauchy(50) * spread).astype(np.float32)
    grid = UniformGrid(levels, 1.0, "stochastic", 16)
    for make in STREAMS:
        q = grid.encode(x, make())
        assert q.min() >= 0
        assert q.max() <= levels - 1
        assert np.all(q[x >= 1] == levels - 1)
        assert np.all(q[x <= -1] == 0)


def test_the_ends_of_every_range_end_on_the_grid(rng):
    for bound in rng.lognormal(0, 9, 500):
        edge = np.float32(bound)
        edge = edge if float(edge) <= bound else np.nextafter(edge, np.float32(0))
        ends = np.array([-edge, edge])
        for levels in (2, 3, 26, 253, 256):
            grid = UniformGrid(levels, bound, "stochastic", 16)
            assert grid.encode(ends, ConstantStream(HIGHEST)).max() == levels - 1
            assert grid.encode(ends, ConstantStream(LOWEST)).min() == 0


def test_zero_stays_in_the_middle():
    for levels in (3, 27, 255):
        grid = UniformGrid(levels, 0.3, "stochastic", 16)
        assert np.all(grid.encode(np.zeros(9, np.float32), ConstantStream(HIGHEST)) == levels // 2)


@settings(max_examples=60)
@given(st.integers(1, 300), st.integers(0, 2**32), st.sampled_from([2, 25, 256, 300, 5000]), st.floats(0.01, 30))
def test_clipping_in_the_cache_is_clipping(dim, seed, levels, length):
    x = np.random.default_rng(seed).normal(size=dim).astype(np.float32)
    x *= np.float32(length / max(np.linalg.norm(x), 1e-9))
    grid = UniformGrid(levels, 0.2, "stochastic", 16)
    codec = chain(ClipL2(1.0), grid, dim=dim)
    found = codec.encode(x, InsecureSeededStream(seed))
    assert np.array_equal(found, grid.encode(codec.clip(x), InsecureSeededStream(seed)))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("rotation", [False, True])
@pytest.mark.parametrize("dim", [1, 100, 4096])
def test_no_coins_make_integers_longer_than_declared(rounding, rotation, dim, rng):
    stages = (ClipL2(1.0), *([HadamardRotation()] if rotation else []), UniformGrid(255, 0.5, rounding, 16))
    codec = chain(*stages, dim=dim)
    for scale in (0.1, 1.0, 7.0):
        x = rng.normal(size=dim).astype(np.float32)
        x *= np.float32(scale / np.linalg.norm(x))
        for make in STREAMS:
            public = InsecurePublic(1)
            if rounding == "dither":
                public.stream = lambda label, client=None, make=make: make()
            q = codec.encode(x, make(), public=public, client=1)
            assert np.sum((2 * q - codec.facts.upper) ** 2) / 4 <= codec.facts.integer_l2_squared


@pytest.mark.parametrize("width", [*range(1, 18), 21, 31, 32, 40])
def test_packing_in_pieces_is_packing(width, rng):
    for dim in (1, 5, BLOCK - 1, BLOCK * (64 // width) + 3, WIDE_SLICE + BLOCK + 7):
        lanes = LaneLayout(dim, width)
        values = rng.integers(0, 2**width, dim)

        def fill(part, out, values=values):
            out[:] = values[part]

        assert np.array_equal(lanes.pack_from(fill), lanes.pack(values))


@pytest.mark.parametrize("coin_bits", [16, 32])
@pytest.mark.parametrize("levels", [2, 26, 256, 2**14, 2**16])
def test_packed_encoding_is_encoding_packed(levels, coin_bits, rng):
    dim = WIDE_SLICE + 777
    x = rng.normal(size=dim).astype(np.float32)
    for clip in (1.0, 1e6):
        codec = chain(ClipL2(clip), UniformGrid(levels, 2.5, "stochastic", coin_bits), dim=dim)
        lanes = codec.facts.lanes(10)
        packed = codec.encode_packed(x, lanes, InsecureSeededStream(1))
        assert np.array_equal(packed, lanes.pack(codec.encode(x, InsecureSeededStream(1))))
