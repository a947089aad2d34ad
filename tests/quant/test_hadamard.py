import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant.clip import Bounds
from quant.errors import ConfigurationError, InputError
from quant.hadamard import hadamard_columns, hadamard_error
from quant.transforms import HadamardRotation, flip_signs
from tests.quant.conftest import ConstantStream, InsecurePublic, InsecureSeededStream


def matrix(n):
    return np.array([[(-1) ** bin(i & j).count("1") for j in range(n)] for i in range(n)])


@pytest.mark.parametrize("n", [1, 2, 4, 8, 32, 64, 128, 512, 4096])
@pytest.mark.parametrize("m", [1, 3])
def test_against_the_definition(n, m, rng):
    whole = rng.integers(-50, 50, (n, m))
    expected = matrix(n) @ whole if n <= 512 else None
    for dtype in (np.float32, np.float64):
        result = hadamard_columns(whole.astype(dtype))
        assert result.dtype == dtype
        if expected is not None and math.isqrt(n) ** 2 == n:
            assert np.array_equal(result * math.isqrt(n), expected)  # powers of two: exact
        if expected is not None:
            assert np.allclose(result * math.sqrt(n), expected, atol=1e-3)
        again = hadamard_columns(result)
        assert np.linalg.norm(again - whole) <= 2.1 * hadamard_error(n, np.dtype(dtype)) * np.linalg.norm(whole)


@settings(max_examples=60)
@given(st.integers(0, 9), st.integers(1, 5), st.integers(0, 2**32), st.sampled_from([np.float32, np.float64]))
def test_error_is_within_the_stated_bound(bits, m, seed, dtype):
    n = 1 << bits
    x = np.random.default_rng(seed).standard_cauchy((n, m)).astype(dtype)
    exact = matrix(n).astype(np.longdouble) @ x.astype(np.longdouble) / np.sqrt(np.longdouble(n))
    result = hadamard_columns(x)
    for column in range(m):
        error = np.linalg.norm((result[:, column] - exact[:, column]).astype(float))
        norm = np.linalg.norm(x[:, column].astype(float))
        assert error <= hadamard_error(n, np.dtype(dtype)) * norm + 1e-300


@pytest.mark.parametrize("bad", [np.zeros((3, 2)), np.zeros(4), np.zeros((0, 2)), np.zeros((4, 4))[:, ::2]])
def test_what_has_no_transform_is_refused(bad):
    with pytest.raises(InputError, match="power of two"):
        hadamard_columns(bad)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_signs(dtype):
    x = np.arange(1, 12, dtype=dtype)
    flipped = flip_signs(x, ConstantStream(0x0001_0003))  # bytes 03 00
    assert flipped.tolist() == [-1, -2, *range(3, 12)]
    assert flipped.dtype == dtype
    assert np.array_equal(flip_signs(flipped, ConstantStream(0x0001_0003)), x)


@settings(max_examples=60)
@given(st.integers(1, 300), st.sampled_from([None, 2, 8, 64, 256]), st.integers(0, 2**32))
def test_rotation_keeps_norms_and_comes_back(dim, block, seed):
    rotation = HadamardRotation(block)
    x = np.random.default_rng(seed).normal(size=dim).astype(np.float32)
    public = InsecurePublic(seed)
    y = rotation.forward(x, public)
    assert y.shape == (rotation.out_dim(dim),)
    assert y.dtype == np.float32
    error = hadamard_error(rotation.rows(dim), np.dtype(np.float32))
    norm = np.linalg.norm(x.astype(float))
    assert abs(np.linalg.norm(y.astype(float)) - norm) <= error * norm
    assert np.linalg.norm(rotation.backward(y, dim, public) - x) <= 2.01 * error * norm
    back = rotation.backward(y.astype(float), dim, public)
    assert back.dtype == np.float64
    bounds = rotation.narrow(Bounds(norm, float(np.abs(x).max())), dim)
    assert np.linalg.norm(y.astype(float)) <= bounds.l2
    assert np.abs(y).max() <= bounds.linf


def test_rotation_is_linear(rng):
    rotation, public = HadamardRotation(64), InsecurePublic(3)
    x, y = rng.integers(-9, 9, (2, 1000)).astype(float)
    total = rotation.forward(x, public) + rotation.forward(y, public)
    assert np.array_equal(total, rotation.forward(x + y, public))
    assert np.array_equal(rotation.backward(total, 1000, public), x + y)


@pytest.mark.parametrize(
    ("dim", "block", "rows", "out"),
    [(1, None, 2, 2), (5, None, 8, 8), (4096, None, 4096, 4096), (4097, None, 4096, 8192), (10, 4, 4, 12)],
)
def test_lengths(dim, block, rows, out):
    rotation = HadamardRotation(block)
    assert (rotation.rows(dim), rotation.out_dim(dim)) == (rows, out)


def test_blocks_take_their_coordinates_from_all_over_the_vector():
    layered = np.repeat([1.0, 100.0], 4096)  # a small layer and a large one
    y = HadamardRotation(1024).forward(layered, InsecurePublic(0)).reshape(1024, 8)
    norms = np.linalg.norm(y, axis=0)
    assert norms.max() / norms.min() < 1 + 1e-12


def test_saturation_is_as_rare_as_stated():
    x = np.random.default_rng(1).lognormal(size=65536).astype(np.float32)
    rotation, sigmas = HadamardRotation(), 3.0
    sigma = np.linalg.norm(x) / 256
    beyond = sum(
        np.count_nonzero(np.abs(rotation.forward(x, InsecurePublic(seed))) > sigmas * sigma) for seed in range(5)
    )
    assert beyond / (5 * 65536) == pytest.approx(math.erfc(sigmas / math.sqrt(2)), rel=0.2)


@pytest.mark.parametrize("block", [1, 3, 2**21, 4.0, "64"])
def test_bad_blocks_are_refused(block):
    with pytest.raises(ConfigurationError, match="rotation block must be"):
        HadamardRotation(block)


def test_giants_are_refused_before_they_overflow():
    x = np.full(4096, 3e38, np.float32)
    with pytest.raises(InputError, match="too large to be rotated in float32: clip the update first"):
        HadamardRotation().forward(x, InsecurePublic(0))
    assert np.isfinite(HadamardRotation().forward(x * np.float32(1e-5), InsecurePublic(0))).all()


def test_the_stream_is_one_bit_per_coordinate():
    stream = InsecureSeededStream(1)
    flip_signs(np.ones(17), stream)
    assert stream.taken == 3
