"""The constants of the Gaussian claim: against high precision, against exhaustion, against exact convolution."""

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ive, ndtri_exp

from secagg.privacy import gaussian, intervals, normal_scores
from secagg.privacy.errors import PrivacyInputError
from secagg.privacy.intervals import Interval

pytestmark = pytest.mark.fast

VARIANCES = (1.0, 1.3, 2.0, 4.0, 16.0, 63.9, 64.0, 64.1, 100.0, 1e4)


@pytest.fixture(autouse=True)
def precision():
    with mpmath.workdps(110):
        yield


def encloses(interval: Interval, value: mpmath.mpf) -> bool:
    return interval.low <= value * intervals.ONE <= interval.high


def width(interval: Interval) -> float:
    return float(mpmath.mpf(interval.high - interval.low) / abs(interval.low))


def bessel(variance: float, order: int = 0) -> mpmath.mpf:
    return mpmath.exp(-mpmath.mpf(variance)) * mpmath.besseli(order, mpmath.mpf(variance))


def test_pi():
    assert encloses(intervals.pi(), mpmath.pi)
    assert width(intervals.pi()) < 1e-70


@pytest.mark.parametrize("x", [-5000.0, -80.0, -1.0, -1e-9, 0.0, 1e-30, 0.3, 1.0, 3.7, 50.0])
def test_exp(x):
    found = intervals.exp(Interval.of(x))
    assert encloses(found, mpmath.exp(mpmath.mpf(x)))
    assert found.high - found.low < 2**16 * max(1, math.exp(x))


@pytest.mark.parametrize("z", [1e-12, 1e-3, 0.1, 0.62, 1.0, 3.0, 7.9])
def test_central_mass(z):
    found = intervals.central_mass(Interval.of(z))
    assert encloses(found, mpmath.erf(mpmath.mpf(z) / mpmath.sqrt(2)))
    assert width(found) < 1e-50


@given(st.fractions(min_value=-50, max_value=50), st.fractions(min_value="1/1000", max_value=50))
def test_operations_hold_the_exact_result(a, b):
    x, y = Interval.of(a), Interval.of(b)
    for found, exact in ((x + y, a + b), (x - y, a - b), (x * y, a * b), (x / y, a / b)):
        assert found.low <= exact * intervals.ONE <= found.high
        assert found.high - found.low <= 2**32
    root = y.sqrt()
    assert root.low**2 <= b * intervals.ONE**2 <= root.high**2


@pytest.mark.parametrize("variance", VARIANCES)
def test_skellam_centre(variance):
    found = normal_scores.skellam_centre(variance)
    assert encloses(found, bessel(variance))
    assert width(found) < 1e-20


@pytest.mark.parametrize("variance", VARIANCES)
def test_skellam_scale_is_the_middle_step_rounded_up(variance):
    exact = 2 * mpmath.sqrt(2) * mpmath.erfinv(bessel(variance))
    assert 0 <= normal_scores.skellam_scale(variance) / exact - 1 < 1e-12


def test_known_scales():
    """Anchors of 2.8: about 1 + 1 / (6 mu) for Skellam, 1 + 1 / (24 mu) for the discrete Gaussian."""
    wanted = {1.0: (1.243, 1.0458), 2.0: (1.122, 1.0218), 4.0: (1.0497, 1.0107), 16.0: (1.0108, 1.0026)}
    for variance, (of_skellam, of_gaussian) in wanted.items():
        assert normal_scores.skellam_scale(variance) * math.sqrt(variance) == pytest.approx(of_skellam, abs=5e-4)
        assert normal_scores.discrete_gaussian_scale(variance) * math.sqrt(variance) == pytest.approx(
            of_gaussian, abs=1e-4
        )
    for variance in (1e8, 1e20, 1e29):
        assert 1 <= normal_scores.skellam_scale(variance) * math.sqrt(variance) < 1 + 1 / variance + 1e-12


def law(kind: str, variance: float, reach: int) -> np.ndarray:
    """Probabilities at -reach .. reach."""
    at = np.arange(-reach, reach + 1)
    weights = ive(abs(at), variance) if kind == "skellam" else np.exp(-(at**2) / (2 * variance))
    return weights / weights.sum()


def largest_step(pmf: np.ndarray, least: float = 1e-200) -> tuple[float, int]:
    """Exhaust all steps of a symmetric law by its upper tails; the middle step is twice the score of the centre."""
    reach = len(pmf) // 2
    tails = np.cumsum(pmf[::-1])[::-1]
    scores = -ndtri_exp(np.log(np.maximum(tails[reach + 1 :], 1e-300)))
    found = np.concatenate([[2 * scores[0]], np.diff(scores)])
    found = found[: np.searchsorted(-tails[reach + 1 :], -least)]
    place = int(found.argmax())
    return float(found[place]), place


@pytest.mark.parametrize("variance", [1.0, 1.7, 2.0, 4.0, 16.0, 64.0, 300.0])
@pytest.mark.parametrize("kind", ["skellam", "discrete gaussian"])
def test_all_steps_by_exhaustion(kind, variance):
    reach = int(30 * math.sqrt(variance)) + 60
    largest, place = largest_step(law(kind, variance, reach))
    scale = normal_scores.skellam_scale if kind == "skellam" else normal_scores.discrete_gaussian_scale
    assert place == 0
    assert largest <= scale(variance) * (1 + 1e-9)
    assert largest >= scale(variance) * (1 - 1e-6)


@pytest.mark.parametrize("shares", [(1.0,) * 2, (1.0,) * 5, (2.0, 1.0, 1.5), (4.0,) * 9, (1.0, 30.0), (9.0, 1.2, 1.2)])
def test_sums_of_discrete_gaussians_by_exhaustion(shares):
    total = law("discrete gaussian", shares[0], 60)
    for share in shares[1:]:
        total = np.convolve(total, law("discrete gaussian", share, 60))
    reach = len(total) // 2
    bound = normal_scores.discrete_gaussian_sum_scale(shares)
    largest, _ = largest_step(total, 1e-20)
    assert largest <= bound * (1 + 1e-9)
    assert bound <= largest * (1 + 0.002 + 4 * normal_scores.ripple(shares) * sum(shares))
    whole = law("discrete gaussian", sum(shares), reach)
    near = slice(reach - 12, reach + 13)
    ratio = np.log(total[near] / whole[near])
    assert ratio.max() - ratio.min() <= normal_scores.ripple(shares) * (1 + 1e-6) + 1e-12


@pytest.mark.parametrize("variance", [1.0, 3.0, 40.0])
def test_turan_ratios_of_skellam_rise(variance):
    """Theorem 3 needs that s = I_{t-1} I_{t+1} / I_t^2 rises: x s' = 2 (1 - s) sqrt(t^2 + s x^2) - 2 s does."""

    def ratio(t, x):
        return mpmath.besseli(t - 1, x) * mpmath.besseli(t + 1, x) / mpmath.besseli(t, x) ** 2

    mpmath.mp.dps = 40
    x = mpmath.mpf(variance)
    ratios = [ratio(t, x) for t in range(12)]
    assert all(a < b for a, b in itertools.pairwise(ratios))
    for t in (0, 1, 4):
        s = ratio(t, x)
        slope = mpmath.diff(lambda at, t=t: ratio(t, at), x)
        assert mpmath.almosteq(x * slope, 2 * (1 - s) * mpmath.sqrt(t**2 + s * x**2) - 2 * s, 1e-25)


def test_second_difference_rises_with_width_and_place():
    """What theorem 3 needs of D(h, m), on a grid of widths up to 2 and places."""

    def mass(h, m):
        return mpmath.ncdf(m + h / 2) - mpmath.ncdf(m - h / 2)

    def second(h, m):
        return 2 * mpmath.log(mass(h, m)) - mpmath.log(mass(h, m - h)) - mpmath.log(mass(h, m + h))

    with mpmath.workdps(25):
        widths = [mpmath.mpf(i) / 8 for i in range(1, 17)]
        places = [mpmath.mpf(i) / 4 for i in range(25)]
        table = [[second(h, m) for m in places] for h in widths]
    for row in table:
        assert all(a < b for a, b in itertools.pairwise(row))
    for one, other in itertools.pairwise(table):
        assert all(a < b for a, b in zip(one, other, strict=True))


def hockey_stick(p: np.ndarray, q: np.ndarray, epsilon: float) -> float:
    return float(np.maximum(p - math.exp(epsilon) * q, 0).sum())


@pytest.mark.parametrize("kind", ["skellam", "discrete gaussian"])
@pytest.mark.parametrize(
    ("variance", "shift"), [(1.0, 1), (1.0, 3), (2.0, 2), (4.0, 1), (4.0, 7), (16.0, 4), (64.0, 9)]
)
def test_one_coordinate_by_exhaustion(kind, variance, shift):
    """Every epsilon where the exact curve has a corner, both directions."""
    pmf = law(kind, variance, 400)
    p, q = pmf[shift:], pmf[:-shift]
    scale = normal_scores.skellam_scale if kind == "skellam" else normal_scores.discrete_gaussian_scale
    m = scale(variance) * shift
    with np.errstate(divide="ignore", invalid="ignore"):
        losses = np.log(p / q)
    corners = [abs(float(one)) for one in losses if math.isfinite(one) and abs(one) < 60]
    for epsilon in [0.0, *corners[:: max(1, len(corners) // 40)]]:
        exact = max(hockey_stick(p, q, epsilon), hockey_stick(q, p, epsilon))
        assert exact <= gaussian.delta(epsilon, m) + 1e-13


def convolved_delta(pmf: np.ndarray, shift: int, times: int, epsilon: float) -> float:
    """Composition of one coordinate ``times`` times: losses shared between two grid points, right on average."""
    p, q = pmf[shift:], pmf[:-shift]
    keep = (p > 1e-18) & (q > 1e-18)
    p, losses = p[keep], np.log(p[keep] / q[keep])
    grid = 5e-4
    places = np.floor(losses / grid).astype(int)
    first, above = places.min(), losses / grid - places
    size = int(places.max() - first) + 2
    one = np.bincount(places - first, p * (1 - above), size) + np.bincount(places - first + 1, p * above, size)
    size = 1 << (len(one) * times - 1).bit_length()
    total = np.fft.irfft(np.fft.rfft(one, size) ** times, size)
    at = (np.arange(size) + first * times) * grid
    return float((total * -np.expm1(np.minimum(epsilon - at, 0)))[at > epsilon].sum())


@pytest.mark.parametrize(
    ("variance", "shift", "times"),
    [(1.0, 1, 10), (2.0, 1, 40), (4.0, 1, 100), (16.0, 2, 60), (16.0, 4, 10), (64.0, 3, 30)],
)
def test_many_coordinates_against_exact_convolution(variance, shift, times):
    m = normal_scores.skellam_scale(variance) * shift * math.sqrt(times)
    pmf = law("skellam", variance, int(20 * math.sqrt(variance)) + 20)
    for share in (0.25, 0.5, 1.0, 1.5, 2.5):
        epsilon = m * share + m * m / 2
        exact, bound = convolved_delta(pmf, shift, times, epsilon), gaussian.delta(epsilon, m)
        assert exact <= bound * (1 + 1e-4) + 1e-12
        if variance >= 16:
            assert exact >= gaussian.delta(epsilon, 0.97 * m) - 1e-11  # tight where the grid is fine


@pytest.mark.parametrize("variance", [0.0, 0.5, -1.0, math.nan, math.inf, 2.0**101])
def test_refuses_noise_without_claim(variance):
    for scale in (normal_scores.skellam_scale, normal_scores.discrete_gaussian_scale):
        with pytest.raises(PrivacyInputError, match="variance"):
            scale(variance)
    with pytest.raises(PrivacyInputError, match="at least one"):
        normal_scores.discrete_gaussian_sum_scale(())


@given(st.floats(1, 1e9), st.floats(1.001, 10))
def test_scales_fall_with_variance(variance, factor):
    assert normal_scores.skellam_scale(variance * factor) < normal_scores.skellam_scale(variance)
    shares = (variance,) * 3
    more = (variance * factor,) * 3
    assert normal_scores.discrete_gaussian_sum_scale(more) < normal_scores.discrete_gaussian_sum_scale(shares)


def test_interval_division_refuses_zero():
    with pytest.raises(PrivacyInputError, match="positive"):
        Interval.of(1) / Interval.of(0)
    assert Interval.of(Fraction(1, 3)).high - Interval.of(Fraction(1, 3)).low == 1
