"""Bounds on the reach of noise: never below the truth, and not far above it."""

import math
from fractions import Fraction

import hypothesis.strategies as st
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings

from quant import CapacityError, LaneLayout, field_width, max_clients, max_levels
from quant.errors import ConfigurationError
from quant.noise import FAILURE, DiscreteGaussian, Skellam, TableLaw, draw, reach
from quant.noise.tails import LN_2_ABOVE
from tests.quant.noise import independent
from tests.quant.noise.conftest import stream


def beyond(family, variance, reach_found):
    """P(|X| > reach), by the independent computation."""
    cumulative = independent.gaussian_cumulative if family is DiscreteGaussian else independent.skellam_cumulative
    with mpmath.workprec(independent.BITS):
        return 1 - cumulative(variance, reach_found)[-1]


@pytest.mark.parametrize("family", [Skellam, DiscreteGaussian])
@pytest.mark.parametrize("variance", [Fraction(1, 100), Fraction(1, 3), 1, 10, 400])
@pytest.mark.parametrize("failure", [Fraction(1, 2), Fraction(1, 1000), FAILURE, Fraction(1, 2**100)])
def test_the_tail_is_below_the_failure_probability(family, variance, failure):
    found = reach(family, variance, 1, failure)
    assert beyond(family, variance, found) <= independent.real(failure)


@pytest.mark.parametrize("family", [Skellam, DiscreteGaussian])
@pytest.mark.parametrize("variance", [10, 400])
def test_the_bound_is_not_wasteful(family, variance):
    """A tenth less, and the tail would be too heavy."""
    found = reach(family, variance, 1, FAILURE)
    assert beyond(family, variance, found * 9 // 10 - 1) > independent.real(FAILURE)


def test_close_to_the_gaussian_quantile():
    for family in (Skellam, DiscreteGaussian):
        assert 7.1 < reach(family, 10**8) / 10**4 < 7.6  # a Gaussian has 7.14 standard deviations at 2^-40


def test_sums_have_the_reach_of_their_variance():
    """A sum of unequal discrete Gaussians, exactly convolved."""
    parts = [Fraction(1, 2), Fraction(3, 2), 4, 6]
    law = np.array([1.0])
    for variance in parts:
        k = np.arange(-60, 61)
        weights = np.exp(-(k**2) / (2 * float(variance)))
        law = np.convolve(law, weights / weights.sum())
    found = reach(DiscreteGaussian, sum(parts), 1, Fraction(1, 10**6))
    middle = law.size // 2
    assert 1 - law[middle - found : middle + found + 1].sum() <= 1e-6


@settings(max_examples=80)
@given(st.fractions(Fraction(1, 1000), 10**9), st.integers(1, 10**9), st.sampled_from([Skellam, DiscreteGaussian]))
def test_monotone(variance, coordinates, family):
    found = reach(family, variance, coordinates)
    assert found >= 0
    assert found <= reach(family, variance, 2 * coordinates)
    assert found <= reach(family, 2 * variance, coordinates)
    assert found <= reach(family, variance, coordinates, FAILURE / 2)
    assert reach(DiscreteGaussian, variance, coordinates) <= reach(Skellam, variance, coordinates) + 1


def test_ln_2():
    assert math.log(2) < LN_2_ABOVE
    with mpmath.workprec(200):
        assert mpmath.log(2) < independent.real(LN_2_ABOVE) < mpmath.log(2) + mpmath.mpf(10) ** -17


@pytest.mark.parametrize("failure", [0, 1, -1, 2])
def test_no_failure_probability(failure):
    with pytest.raises(ConfigurationError, match="failure"):
        reach(Skellam, 1, 1, Fraction(failure))


def test_no_family():
    with pytest.raises(ConfigurationError, match="tail"):
        reach(TableLaw, 1)
    with pytest.raises(ConfigurationError, match="coordinates"):
        reach(Skellam, 1, 0)


@settings(max_examples=120)
@given(st.integers(2, 2**20), st.integers(1, 2**20), st.integers(0, 2**40))
def test_fields_with_noise(levels, clients, noise):
    width = field_width(levels, clients, noise=noise)
    span = clients * (levels - 1) + 2 * noise
    assert 2 ** (width - 1) <= span < 2**width
    assert max_levels(width, clients, noise=noise) >= levels
    assert max_clients(width, levels, noise=noise) >= clients
    assert clients * (max_levels(width, clients, noise=noise) - 1) + 2 * noise < 2**width


def test_noise_alone_is_too_much():
    with pytest.raises(CapacityError, match="noise within"):
        field_width(2, 1, 10, noise=2**10)
    with pytest.raises(CapacityError, match="noise within"):
        max_levels(10, 3, noise=2**9)
    with pytest.raises(CapacityError, match="noise within"):
        max_clients(10, 3, noise=2**9)


def test_noisy_totals_come_back_from_their_lanes():
    clients, levels, dim = 5, 9, 1000
    noise = reach(Skellam, 5 * 50, dim)
    lanes = LaneLayout(dim, field_width(levels, clients, noise=noise))
    values = [np.resize([0, levels - 1], dim) + draw(Skellam(50), dim, stream(client)) for client in range(clients)]
    total = np.zeros(lanes.lanes, np.uint64)
    for value in values:
        total += lanes.pack(value)
    assert np.array_equal(lanes.unpack(total, lower=-noise), sum(values))
