import numpy as np
import pytest

from quant.errors import InputError
from quant.vectors import SLICE, as_vector, check_integers, magnitude, slices


@pytest.mark.parametrize("size", [0, 1, SLICE - 1, SLICE, SLICE + 1, 3 * SLICE])
def test_slices_cover_everything_once_in_order(size):
    covered = [index for part in slices(size) for index in range(part.start, part.stop)]
    assert covered == list(range(size))
    assert all(0 < part.stop - part.start <= SLICE for part in slices(size))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_native_vectors_are_not_copied(dtype):
    x = np.ones(3, dtype)
    assert as_vector(x, 3) is x or np.shares_memory(as_vector(x, 3), x)


@pytest.mark.parametrize(
    ("dtype", "becomes"), [("f2", "f4"), (">f2", "f4"), (">f4", "f4"), (">f8", "f8"), ("<f8", "f8")]
)
def test_other_floats_become_native(dtype, becomes):
    vector = as_vector(np.array([1.5, -2.0], dtype))
    assert vector.dtype == np.dtype(becomes)
    assert vector.dtype.isnative
    assert vector.tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    ("x", "says"),
    [
        ([1.0], "not list"),
        (np.ones(2, np.int64), "not int64"),
        (np.ones(2, bool), "not bool"),
        (np.ones(2, complex), "not complex128"),
        (np.ones(2, np.longdouble), "not (long|float128)"),
        (np.float32(1), "not float32"),
        (np.array(1.0), r"not \(\)"),
        (np.ones((2, 1)), r"not \(2, 1\)"),
        (np.empty(0), r"not \(0,\)"),
        (np.ones(2), "of 3 coordinates, not 2"),
    ],
)
def test_what_is_no_vector_is_refused(x, says):
    with pytest.raises(InputError, match=f"expected a .*{says}"):
        as_vector(x, 3)


def test_magnitude_is_exact():
    assert magnitude(np.float32([1, -3, 2])) == 3
    assert magnitude(np.array([-0.0])) == 0
    assert magnitude(np.array([5e-324, 0])) == 5e-324
    assert magnitude(np.array([1.7e308, -1.6e308])) == 1.7e308


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_magnitude_finds_what_is_not_finite(bad, dtype, where):
    x = np.ones(3, dtype)
    x[where] = bad
    with pytest.raises(InputError, match="1 of 3 coordinates are NaN or infinite"):
        magnitude(x)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1], "not list"),
        (np.ones(3, np.int32), "not int32"),
        (np.ones(3, ">i8"), "not >i8"),
        (np.ones((3, 1), np.int64), r"shape \(3, 1\)"),
        (np.ones(2, np.int64), r"shape \(2,\)"),
    ],
)
def test_wrong_integers_are_refused(values, says):
    with pytest.raises(InputError, match=f"numpy vector of int64 of shape \\(3,\\), not .*{says.removeprefix('not ')}"):
        check_integers(values, np.int64, 3)
    check_integers(np.ones(3, np.int64), np.int64)


def test_masked_arrays_are_refused_because_their_minimum_skips_nan():
    with pytest.raises(InputError, match="masked array"):
        as_vector(np.ma.array([1.0, np.nan], mask=[False, True]))
