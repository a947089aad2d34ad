import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant.adaptive import AdaptiveClip, BitsByError, BitSchedule
from quant.errors import ConfigurationError, InputError


@pytest.mark.parametrize("start", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.8])
def test_the_clip_finds_the_quantile(start, quantile):
    rng, clip = np.random.default_rng(0), AdaptiveClip(start, quantile)
    bounds = []
    for _ in range(400):
        norms = np.exp(rng.normal(size=20))
        bits = sum(int(clip.bit(np.array([norm]))[0]) for norm in norms)
        clip = clip.update(bits, 20)
        bounds.append(clip.bound)
    found = np.exp(np.mean(np.log(bounds[150:])))
    assert found == pytest.approx(np.quantile(np.exp(np.random.default_rng(1).normal(size=10**5)), quantile), rel=0.1)


def test_the_bit_is_of_the_norm_before_clipping_and_adds_up():
    clip = AdaptiveClip(5.0)
    bits = [clip.bit(np.array(x)) for x in ([3.0, 4.0], [3.0, 4.1], [0.0, 0.0])]
    assert [bit.tolist() for bit in bits] == [[1], [0], [1]]
    assert bits[0].dtype == np.int64
    assert clip.update(int(sum(bits)[0]), 3).bound == pytest.approx(5 * math.exp(-0.2 * (2 / 3 - 0.5)))


@settings(max_examples=60)
@given(st.floats(-1e6, 1e6), st.integers(1, 100))
def test_noise_cannot_throw_the_clip_far(bits, count):
    clip = AdaptiveClip(2.0, least=1.9, most=2.2).update(bits, count)
    assert 1.9 <= clip.bound <= 2.2
    assert abs(math.log(AdaptiveClip(2.0).update(bits, count).bound / 2.0)) <= 0.2


def test_bits_by_stage():
    schedule = BitSchedule(((0, 4), (10, 6), (50, 8)))
    assert [schedule.bits(r) for r in (0, 9, 10, 49, 50, 10**6)] == [4, 4, 6, 6, 8, 8]


@pytest.mark.parametrize(
    ("bits", "error", "next_bits"),
    [(8, 1e-3, 8), (8, 1.1e-3, 9), (8, 1.7e-2, 11), (8, 2.6e-4, 8), (8, 2.4e-4, 7), (8, 0.0, 2), (23, 1e9, 24)],
)
def test_bits_by_measured_error(bits, error, next_bits):
    assert BitsByError(1e-3).update(bits, error) == next_bits


def test_bits_by_error_settle():
    rule, bits = BitsByError(1e-3), 2
    for _ in range(10):
        bits = rule.update(bits, 4.0**-bits)
    assert 4.0**-bits <= 1e-3 < 4.0 ** -(bits - 1)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: AdaptiveClip(0.0), "bound of the adaptive clip"),
        (lambda: AdaptiveClip(1.0, 1.0), "the quantile must lie between 0 and 1"),
        (lambda: AdaptiveClip(1.0, True), "the quantile"),
        (lambda: AdaptiveClip(1.0, least=2.0), "outside of"),
        (lambda: BitSchedule(()), "stage of round 0"),
        (lambda: BitSchedule(((1, 4),)), "stage of round 0"),
        (lambda: BitSchedule(((0, 4), (5, 6), (5, 8))), "ascending"),
        (lambda: BitSchedule(((0, 40),)), "bits of a stage"),
        (lambda: BitsByError(0.0), "target error"),
        (lambda: BitsByError(1.0, 5, 4), "most bits"),
    ],
)
def test_bad_settings_are_refused(build, says):
    with pytest.raises(ConfigurationError, match=says):
        build()


def test_bad_measurements_are_refused():
    with pytest.raises(InputError, match="not finite"):
        AdaptiveClip(1.0).update(math.nan, 3)
    with pytest.raises(InputError, match="count"):
        AdaptiveClip(1.0).update(1, 0)
    with pytest.raises(InputError, match="relative error"):
        BitsByError(1.0).update(4, math.inf)


def test_extreme_settings_move_to_the_limits_and_do_not_overflow():
    fast = AdaptiveClip(1.0, rate=1e4, least=0.5, most=2.0)
    assert fast.update(0, 1).bound == 2.0
    assert fast.update(1, 1).bound == 0.5
    assert BitsByError(1e-30).update(8, 1e300) == 24
