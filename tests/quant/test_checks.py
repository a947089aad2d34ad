import numpy as np
import pytest

from quant.checks import MAX_BOUND, MIN_BOUND, positive_bound, whole_number
from quant.errors import CapacityError, ConfigurationError, InputError, QuantError


def test_all_errors_are_quant_errors_and_value_errors():
    for kind in (ConfigurationError, InputError, CapacityError):
        assert issubclass(kind, QuantError)
        assert issubclass(kind, ValueError)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_become_int(value):
    number = whole_number(value, "n", 3, 3)
    assert type(number) is int
    assert number == 3


@pytest.mark.parametrize("value", [3.0, True, np.True_, "3", None, 2.5, float("nan")])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(ConfigurationError, match="n must be a whole number"):
        whole_number(value, "n", 0, 10)


@pytest.mark.parametrize("value", [2, 6, -1, 2**80])
def test_whole_numbers_out_of_range_are_refused_with_the_range(value):
    with pytest.raises(InputError, match=f"n must be between 3 and 5, not {value}"):
        whole_number(value, "n", 3, 5, InputError)


@pytest.mark.parametrize("value", [1, 1.5, np.float32(0.5), np.int64(2), MIN_BOUND, MAX_BOUND])
def test_positive_bounds_become_float(value):
    bound = positive_bound(value, "b")
    assert type(bound) is float
    assert bound == value


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), 1e-31, 1e31, 10**400, 5e-324])
def test_bounds_out_of_range_are_refused(value):
    with pytest.raises(ConfigurationError, match=r"b must be between 1e-30 and 1e\+30"):
        positive_bound(value, "b")


@pytest.mark.parametrize("value", ["1", None, True, 1j, np.ones(1)])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ConfigurationError, match="b must be a positive number"):
        positive_bound(value, "b")
