"""Boundaries against a second computation that shares no formula and no library with them."""

from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from quant.errors import ConfigurationError
from quant.noise import DiscreteGaussian, Skellam, TableLaw
from tests.quant.noise import independent

BITS = 128


def check_all(law, cumulative, bits=BITS):
    """Every boundary encloses the independent value, at most 2 units of 2^-128 wide."""
    found = law.boundaries(bits)
    true = independent.folded(cumulative(law.variance, len(found.low) // 2 + 1))
    for low, high, value in zip(found.low, found.high, true, strict=False):
        floor = independent.scaled(value, bits)
        assert low <= floor
        assert floor + 1 <= high or floor == low == high
        assert high - low <= 3
    assert not found.complete
    assert 2**bits - found.low[-1] <= 2  # what is not listed has at most 2^-128 or so


@pytest.mark.parametrize("variance", [Fraction(1, 50), Fraction(1, 3), 1, Fraction(49, 4), 100])
def test_skellam_by_bessel_functions(variance):
    check_all(Skellam(variance), independent.skellam_cumulative)


@pytest.mark.parametrize("variance", [Fraction(1, 50), Fraction(1, 3), 1, Fraction(49, 4), 100, 10**4])
def test_discrete_gaussian_by_summation(variance):
    check_all(DiscreteGaussian(variance), independent.gaussian_cumulative)


@pytest.mark.slow
def test_discrete_gaussian_of_sigma_1000():
    check_all(DiscreteGaussian(10**6), independent.gaussian_cumulative)


@pytest.mark.parametrize("variance", [1, 100, 10**4, 10**6, Fraction(10**7, 3)])
def test_skellam_by_its_characteristic_function(variance):
    found = Skellam(variance).boundaries(BITS)
    most = len(found.low) // 2
    for m in sorted({0, 1, most // 20, most // 8, most // 3, most - 1}):
        floor = independent.scaled(independent.skellam_at(variance, m), BITS)
        assert found.low[2 * m] <= floor < found.high[2 * m] <= found.low[2 * m] + 3


@pytest.mark.parametrize("law", [Skellam(5), DiscreteGaussian(5), TableLaw((1, 2, 4))])
def test_more_bits_agree_with_fewer(law):
    coarse, fine = law.boundaries(64), law.boundaries(512)
    for low, high, fine_low, fine_high in zip(coarse.low, coarse.high, fine.low, fine.high, strict=False):
        assert low << 448 <= fine_low <= fine_high <= high << 448
    assert len(fine.low) >= len(coarse.low)


@settings(max_examples=60)
@given(st.fractions(Fraction(1, 2**60), 400, max_denominator=2**60), st.sampled_from([Skellam, DiscreteGaussian]))
def test_any_variance_gives_increasing_boundaries(variance, family):
    found = family(variance).boundaries(BITS)
    assert all(low <= high <= 2**BITS for low, high in zip(found.low, found.high, strict=True))
    assert list(found.low) == sorted(found.low)
    assert list(found.high) == sorted(found.high)
    assert max(high - low for low, high in zip(found.low, found.high, strict=True)) <= 3


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20).filter(any), st.integers(-50, 50))
def test_table_is_exact(weights, first):
    law = TableLaw(tuple(weights), first)
    found = law.boundaries(64)
    total = sum(weights)
    for index, (low, high) in enumerate(zip(found.low, found.high, strict=True)):
        true = Fraction(sum(weights[: index + 1]) << 64, total)
        assert low <= true <= high
        assert high - low <= 1
        assert (high == low) == (true.denominator == 1)
    assert sum(law.weights) == 1
    values = range(first, first + len(weights))
    mean = Fraction(sum(k * w for k, w in zip(values, weights, strict=True)), total)
    assert law.mean == mean
    assert law.variance == Fraction(sum(k * k * w for k, w in zip(values, weights, strict=True)), total) - mean**2


def test_numbering():
    assert [Skellam(1).value(index) for index in range(5)] == [0, 1, -1, 2, -2]
    assert [DiscreteGaussian(1).value(index) for index in range(5)] == [0, 1, -1, 2, -2]
    assert [TableLaw((1, 1, 1), -1).value(index) for index in range(3)] == [-1, 0, 1]


def test_floats_are_taken_exactly():
    assert Skellam(0.1).variance == Fraction(0.1) != Fraction(1, 10)
    assert Skellam(2) == Skellam(2.0) == Skellam(Fraction(2))


@pytest.mark.parametrize("family", [Skellam, DiscreteGaussian])
@pytest.mark.parametrize("variance", [0, -1, float("nan"), float("inf"), 2.0**-70, 2**40, "1", True, None, 1j])
def test_no_variance(family, variance):
    with pytest.raises(ConfigurationError, match="variance"):
        family(variance)


@pytest.mark.parametrize("weights", [(), (0, 0), (1, -1), (float("inf"),), (float("nan"),)])
def test_no_weights(weights):
    with pytest.raises(ConfigurationError, match="weight"):
        TableLaw(weights)


def test_table_too_far_out():
    with pytest.raises(ConfigurationError, match=r"2\^62"):
        TableLaw((1, 1), 2**62)
