import math
from fractions import Fraction

import hypothesis.strategies as st
import mpmath
import pytest
from hypothesis import given, settings

from quant.noise.enclosures import bessel_ratios, ceil_div, ceil_shift, exp_minus, gaussian_ratios
from tests.quant.noise.independent import real

pytestmark = pytest.mark.fast


@given(st.integers(-(2**80), 2**80), st.integers(1, 2**40), st.integers(0, 90))
def test_rounding_up(value, divisor, bits):
    assert ceil_div(value, divisor) - 1 < Fraction(value, divisor) <= ceil_div(value, divisor)
    assert ceil_shift(value, bits) - 1 < Fraction(value, 2**bits) <= ceil_shift(value, bits)


@settings(max_examples=150)
@given(st.fractions(0, 500, max_denominator=10**12), st.sampled_from([1, 64, 128, 300]))
def test_exp_is_enclosed_within_two_units(y, bits):
    low, high = exp_minus(y, bits)
    with mpmath.workprec(bits + 1200):
        true = mpmath.exp(-real(y)) * mpmath.mpf(2) ** bits
        assert low <= true <= high
    assert high - low <= 2


def test_exp_of_zero_and_of_much():
    assert exp_minus(Fraction(0), 64)[0] <= 2**64 <= exp_minus(Fraction(0), 64)[1]
    assert exp_minus(Fraction(10**9), 64) == (0, 1)


@pytest.mark.parametrize("x", [Fraction(1, 1000), Fraction(1, 3), 1, Fraction(7, 2), 100, 10**4])
def test_bessel_ratios(x):
    bits = 192
    ratios = bessel_ratios(Fraction(x), 400 + 10 * int(x) // 100, bits)
    with mpmath.workprec(bits + 100):
        for k in [*range(0, 60, 7), len(ratios) - 1]:
            true = mpmath.besseli(k + 1, real(x)) / mpmath.besseli(k, real(x)) * mpmath.mpf(2) ** bits
            assert ratios[k][0] <= true <= ratios[k][1]
    # Far below the start nothing is left of not having known; roundings of about sqrt(x) steps remain.
    assert ratios[0][1] - ratios[0][0] <= 8 + 8 * math.sqrt(x)
    assert all(low <= high <= 2**bits for low, high in ratios)


@pytest.mark.parametrize("variance", [Fraction(1, 100), 1, Fraction(5, 3), 10**6])
def test_gaussian_ratios(variance):
    bits = 192
    with mpmath.workprec(bits + 400):
        for k, (low, high) in enumerate(gaussian_ratios(Fraction(variance), 50, bits)):
            true = mpmath.exp(-mpmath.mpf(2 * k + 1) / (2 * real(variance))) * mpmath.mpf(2) ** bits
            assert low <= true <= high
            assert high - low <= 6 * k + 10
