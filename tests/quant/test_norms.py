import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant.chain import chain
from quant.clip import ClipL2
from quant.errors import ConfigurationError
from quant.grid import UniformGrid
from quant.norms import BETA, checked
from quant.transforms import HadamardRotation
from tests.quant.conftest import HIGHEST, LOWEST, ConstantStream, InsecurePublic, InsecureSeededStream, finite_vectors

ROUNDINGS = ["stochastic", "nearest", "dither", "conditional"]


def squared_norm(q, levels):
    """Around the middle of the grid, times four: whole even if the middle is between two points."""
    return sum((2 * value - (levels - 1)) ** 2 for value in q.tolist())


@settings(max_examples=120)
@given(finite_vectors(), st.integers(1, 2000), st.floats(0.01, 100), st.sampled_from(ROUNDINGS), st.booleans())
def test_no_input_violates_the_integer_norm(x, half, reach, rounding, rotate):
    stages = [ClipL2(1.0), *([HadamardRotation()] if rotate else []), UniformGrid(2 * half + 1, reach, rounding)]
    codec = chain(*stages, dim=x.size)
    public = InsecurePublic(0)
    for stream in (ConstantStream(LOWEST), ConstantStream(HIGHEST), InsecureSeededStream(3)):
        q = codec.encode(x, stream, public=public, client=1)
        assert squared_norm(q, codec.facts.levels) <= 4 * codec.facts.integer_l2_squared


@settings(max_examples=60)
@given(finite_vectors(), st.integers(2, 300), st.floats(0.01, 100), st.sampled_from(["stochastic", "nearest"]))
def test_even_levels_too(x, levels, reach, rounding):
    codec = chain(ClipL2(1.0), UniformGrid(levels, reach, rounding), dim=x.size)
    q = codec.encode(x, ConstantStream(HIGHEST))
    assert squared_norm(q, levels) <= 4 * codec.facts.integer_l2_squared


def test_the_bound_is_close_for_many_coordinates():
    dim = 2**16
    conditional = chain(ClipL2(1.0), UniformGrid(2**15 + 1, 1.0, "conditional"), dim=dim).facts
    plain = chain(ClipL2(1.0), UniformGrid(2**15 + 1, 1.0), dim=dim).facts
    length = 1.0 / conditional.step  # 64 sqrt(d)
    assert conditional.integer_l2_squared / length**2 < 1.001
    assert plain.integer_l2_squared / length**2 > 1.03
    coarse = chain(ClipL2(1.0), UniformGrid(513, 1.0, "conditional"), dim=dim).facts  # length = sqrt(d)
    assert coarse.integer_l2_squared * coarse.step**2 == pytest.approx(1.25, abs=0.06)


def test_bad_coins_send_the_zero_vector():
    codec = chain(ClipL2(1.0), UniformGrid(65, 1.0, "conditional"), dim=4096)
    x = np.full(4096, 0.01)
    unlucky = codec.encode(x, ConstantStream(HIGHEST))  # all coordinates go up
    assert np.all(unlucky == 32)
    assert not codec.decode(unlucky, 1).any()
    lucky = codec.encode(x, InsecureSeededStream(0))
    assert not np.all(lucky == 32)


def test_conditional_rounding_is_unbiased():
    codec = chain(ClipL2(1.0), UniformGrid(65, 1.0, "conditional"), dim=1000)
    x, draws = np.full(1000, 0.01), 1000
    total = sum(int(codec.encode(x, InsecureSeededStream(seed)).sum()) - 32_000 for seed in range(draws))
    up = 0.01 * 32
    z = (total - draws * 1000 * up) / math.sqrt(draws * 1000 * up * (1 - up))
    assert abs(z) < 4.9
    assert BETA <= 1e-10


def test_the_check_is_exact_at_the_limit():
    for limit, kept in ((25, True), (24, False)):
        encoded = np.array([10 + 3, 10 - 4], np.int64)
        checked(encoded, 21, limit)
        assert encoded.tolist() == ([13, 6] if kept else [10, 10])


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ([UniformGrid(5, 1.0, "conditional")], "put a ClipL2"),
        ([ClipL2(1.0), UniformGrid(4, 1.0, "conditional")], "odd number of levels.*take 5"),
        ([ClipL2(1.0), UniformGrid(2**25 + 1, 1.0, "conditional")], "at most 16777215"),
    ],
)
def test_conditional_needs_a_norm_and_a_zero(stages, says):
    with pytest.raises(ConfigurationError, match=says):
        chain(*stages, dim=3)


def test_without_a_clip_nothing_is_claimed():
    assert chain(UniformGrid(5, 1.0), dim=3).facts.integer_l2_squared is None
