from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from quant.clip import NORM_ERROR, SHRINK, Bounds, ClipL2, ClipLinf, l2_norm
from quant.errors import ConfigurationError, InputError
from quant.vectors import SLICE
from tests.quant.conftest import exact_square_norm, finite_vectors

BOUNDS = st.one_of(st.floats(1e-30, 1e30), st.sampled_from([1.0, 0.1, 1e-30, 1e30]))
HUGE = np.full(5, 1.7e308)


@settings(max_examples=120)
@given(finite_vectors(), BOUNDS)
@example(HUGE, 1e-30)
@example(np.full(7, 3.4e38, np.float32), 1e-30)
@example(np.float32([0.6, 0.8]), 1.0)
@example(np.array([0.6, 0.8]), 1.0)
@example(np.full(3, 1e-45, np.float32), 1e-30)
def test_l2_result_obeys_the_bound_in_exact_arithmetic(x, bound):
    clip = ClipL2(bound)
    kept = x.copy()
    y = clip.apply(x)
    assert np.array_equal(x, kept)
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert exact_square_norm(y) <= Fraction(bound) ** 2
    assert all(abs(float(after)) <= abs(float(before)) for after, before in zip(y, x, strict=True))
    assert np.all(np.signbit(y) == np.signbit(x))
    assert clip.apply(y) is y


@settings(max_examples=100)
@given(finite_vectors(), BOUNDS)
@example(HUGE, 1.0)
def test_l2_leaves_short_vectors_alone_and_keeps_long_ones_long(x, bound):
    y = ClipL2(bound).apply(x)
    square, limit = exact_square_norm(x), Fraction(bound)
    if square <= (limit * (1 - Fraction(2) ** -36)) ** 2:
        assert y is x
    elif square > limit**2:
        loss = Fraction(2) ** (-21 if x.dtype == np.float32 else -34)
        assert exact_square_norm(y) >= (limit * (1 - loss)) ** 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_l2_of_long_vectors_over_many_slices(dtype, rng):
    x = (rng.standard_normal(3 * SLICE + 5) * 10).astype(dtype)
    y = ClipL2(1.0).apply(x)
    assert Fraction(1 - 2**-20) < exact_square_norm(y) <= 1
    cosine = float(np.dot(x.astype(float), y)) / (l2_norm(x) * l2_norm(y))
    assert cosine == pytest.approx(1, abs=1e-12)


def test_shrink_pays_for_every_rounding():
    # The proof in ClipL2, in numbers: both must leave 4 norm errors of room.
    e = NORM_ERROR
    assert (1 - SHRINK["float32"]) * (1 + e) * (1 + 2**-24) ** 2 * (1 + 2**-50) + 2**-30 < 1 - 4 * e
    assert (1 - SHRINK["float64"]) * (1 + e) * (1 + 2**-50) < 1 - 4 * e


def test_l2_aliasing_is_as_documented():
    x = np.float32([0.5, 0.5])
    assert ClipL2(1.0).apply(x) is x
    assert not np.shares_memory(ClipL2(0.5).apply(x), x)


@settings(max_examples=120)
@given(finite_vectors(max_size=40))
def test_norm_is_as_accurate_as_it_says(x):
    norm = l2_norm(x)
    square = exact_square_norm(x)
    if norm == np.inf:
        assert square >= Fraction(float(np.finfo(float).max)) ** 2
    elif norm > 1e-300:  # below, the result itself is rounded to the denormal grid
        error = Fraction(2) ** -38
        assert (Fraction(norm) * (1 - error)) ** 2 <= square <= (Fraction(norm) * (1 + error)) ** 2


@pytest.mark.parametrize(
    ("x", "norm"),
    [
        (np.float32([3, 4]), 5),
        (np.array([3e200, 4e200]), 5e200),
        (np.array([3e-200, 4e-200]), 5e-200),
        (np.array([0.0, -0.0]), 0),
        (np.array([5e-324]), 5e-324),
        (np.float32([1e-45]), float(np.float32(1e-45))),
        (np.full(4, 1.7e308), np.inf),
    ],
)
def test_norms_known_by_heart(x, norm):
    with np.errstate(all="raise"):
        assert l2_norm(x) == pytest.approx(norm, rel=1e-11)


@settings(max_examples=120)
@given(finite_vectors(), BOUNDS)
@example(np.float32([1.0, -1.0]), 0.1)  # float32(0.1) is above 0.1
def test_linf_cuts_exactly(x, bound):
    y = ClipLinf(bound).apply(x)
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    for before, after in zip(x.tolist(), y.tolist(), strict=True):
        assert abs(after) <= bound
        if abs(before) <= bound:
            assert after == before
        else:
            spacing = np.spacing(x.dtype.type(bound))
            assert abs(after) >= bound - spacing
            assert np.signbit(after) == np.signbit(before)
    assert ClipLinf(bound).apply(y) is y


def test_linf_leaves_its_input_alone():
    x = np.float32([2, -2])
    ClipLinf(1.0).apply(x)
    assert x.tolist() == [2, -2]


@pytest.mark.parametrize("kind", [ClipL2, ClipLinf])
@pytest.mark.parametrize("x", [HUGE, np.full(4, 5e-324), np.float32([3e38, 1e-45]), np.array([1e308, 1e-308])])
@pytest.mark.parametrize("bound", [1e-30, 1.0, 1e30])
def test_no_float_flag_is_raised(kind, x, bound):
    with np.errstate(all="raise"):
        kind(bound).apply(x)


@pytest.mark.parametrize("kind", [ClipL2, ClipLinf])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_finite_is_refused(kind, bad, dtype):
    x = np.array([1, bad, bad, 2], dtype)
    with pytest.raises(InputError, match="2 of 4 coordinates are NaN or infinite"):
        kind(1.0).apply(x)


@pytest.mark.parametrize("kind", [ClipL2, ClipLinf])
def test_what_is_no_vector_is_refused(kind):
    with pytest.raises(InputError):
        kind(1.0).apply([1.0])
    with pytest.raises(ConfigurationError, match="clip bound"):
        kind(0.0)


@pytest.mark.parametrize("kind", [ClipL2, ClipLinf])
def test_odd_memory_is_read_right(kind):
    x = np.arange(-6.0, 6.0)
    expected = kind(2.0).apply(x[::-3].copy())
    assert np.array_equal(kind(2.0).apply(x[::-3]), expected)
    assert np.array_equal(kind(2.0).apply(x[::-3].astype(">f8")), expected)


def test_facts_narrow():
    nothing = Bounds()
    assert ClipL2(2.0).narrow(nothing) == Bounds(2.0, 2.0)
    assert ClipLinf(3.0).narrow(nothing) == Bounds(None, 3.0)
    assert ClipLinf(0.5).narrow(ClipL2(2.0).narrow(nothing)) == Bounds(2.0, 0.5)
    assert ClipL2(0.5).narrow(ClipLinf(2.0).narrow(nothing)) == Bounds(0.5, 0.5)
    assert ClipL2(2).config() == {"clip": 2.0}
    assert ClipLinf(2).config() == {"clip_linf": 2.0}
