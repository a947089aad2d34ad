"""Lower bounds on epsilon from samples: right on known curves, below every true claim, above broken builds' claims."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.special import betainc
from scipy.stats import beta as beta_law

import quant
from protocols import SystemEntropy
from protocols.primitives import prg
from quant.noise import Sharing, Skellam, draw
from secagg.audit import epsilon as audit
from secagg.errors import UsageError
from secagg.privacy import Calibration, Goal, calibrate, gaussian, of_site

RELEASES = 10**6
DELTA = 1e-5
CLAIM = 1.0
SITES = 5


# --- the tools ------------------------------------------------------------------------------------


@pytest.mark.fast
@pytest.mark.parametrize(("a", "b"), [(1, 1), (0.5, 7), (3, 1000), (1200, 500_000), (250_000, 250_001)])
@pytest.mark.parametrize("x", [0.0, 1e-6, 0.01, 0.3, 0.5, 0.9, 1.0])
def test_incomplete_beta(a, b, x):
    assert audit.incomplete_beta(x, a, b) == pytest.approx(betainc(a, b, x), rel=1e-8, abs=1e-14)


@pytest.mark.fast
@pytest.mark.parametrize(("successes", "trials"), [(0, 50), (1, 50), (25, 50), (50, 50), (7, 500_000), (3000, 500_000)])
@pytest.mark.parametrize("error", [0.025, 5e-7])
def test_clopper_pearson(successes, trials, error):
    low = beta_law.ppf(error, successes, trials - successes + 1) if successes else 0.0
    high = beta_law.ppf(1 - error, successes + 1, trials - successes) if successes < trials else 1.0
    assert audit.binomial_low(successes, trials, error) == pytest.approx(low, rel=1e-6)
    assert audit.binomial_high(successes, trials, error) == pytest.approx(high, rel=1e-6)


@pytest.mark.fast
def test_bounds_on_a_gaussian_are_below_the_truth_and_near_it(rng):
    m, size = 1.0, 200_000
    present, absent = rng.standard_normal(size) + m, rng.standard_normal(size)
    found = audit.lower_bound(present, absent, DELTA)
    truth = gaussian.epsilon(DELTA, m)
    print(f"epsilon at least {found.epsilon:.3f} by {found.event}, seen {found.seen}; true {truth:.3f}")
    assert truth / 3 < found.epsilon <= truth
    swapped = audit.lower_bound(absent, present, DELTA)
    assert swapped.epsilon == pytest.approx(found.epsilon, rel=0.3)


@pytest.mark.fast
def test_bounds_hold_as_often_as_they_say(rng):
    """At a confidence of one half on equal worlds, where every positive bound is wrong."""
    wrong = sum(
        audit.lower_bound(rng.standard_normal(400), rng.standard_normal(400), 0.0, 0.5).epsilon > 0 for _ in range(80)
    )
    assert wrong <= 56


@pytest.mark.fast
def test_no_noise_is_found_out_at_once():
    found = audit.lower_bound(np.ones(1000), np.zeros(1000), DELTA)
    assert found.epsilon > 3
    assert found.refutes(3.0)
    assert audit.lower_bound(np.zeros(1000), np.zeros(1000), DELTA).epsilon == 0


@pytest.mark.fast
@pytest.mark.parametrize(
    ("present", "absent", "delta"),
    [
        (np.zeros(99), np.zeros(99), 0.0),
        (np.zeros(200), np.zeros(201), 0.0),
        (np.zeros((10, 20)), np.zeros((10, 20)), 0.0),
        (np.full(200, np.nan), np.zeros(200), 0.0),
        (np.zeros(200), np.zeros(200), 1.0),
    ],
)
def test_samples_that_say_nothing(present, absent, delta):
    with pytest.raises(UsageError):
        audit.lower_bound(present, absent, delta)


@pytest.mark.fast
def test_variance_bounds(rng):
    noise = draw(Skellam(9), 200_000, stream())
    assert not audit.noise_variance(noise, 9.0).missing
    bounds = audit.noise_variance(noise, 10.0)
    assert bounds.missing
    assert bounds.low < 0.9 < bounds.high
    with pytest.raises(UsageError):
        audit.noise_variance(noise[:50], 9.0)


# --- the mechanism, as built and broken -----------------------------------------------------------


def stream() -> prg.AesCtrStream:
    return prg.AesCtrStream(SystemEntropy().take(prg.KEY_BYTES, "test"))


DIM = 4
CODEC = quant.from_config({"levels": 1023, "range": 1.0, "clip": 1.0, "rounding": "conditional"}, DIM)
GOAL = Goal(epsilon=CLAIM, delta=DELTA, releases=1, least_survivors=SITES)
FOUND = calibrate(GOAL, of_site(CODEC.facts))
assert isinstance(FOUND, Calibration)
CENTRE = CODEC.facts.levels // 2


def releases(canary: bool, *, sigma: float = 1.0, clip: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """``RELEASES`` sums of five sites with calibrated honest noise, with or without one site's update; its integers."""
    others = CODEC.encode(np.array([0.2, -0.1, 0.3, 0.05])) - CENTRE
    update = np.full(DIM, 0.5 if clip else 1.0)
    ours = CODEC.encode(update) - CENTRE if clip else np.rint(3 * update / CODEC.facts.step).astype(np.int64)
    law = Skellam(Fraction(FOUND.variance * sigma**2))
    noise = draw(law, RELEASES * DIM, stream()).reshape(RELEASES, DIM)
    return noise + others + (ours if canary else 0), ours


def leak(**broken) -> audit.LeakBound:
    present, ours = releases(True, **broken)
    absent, _ = releases(False, **broken)
    return audit.lower_bound(audit.projected(present, ours), audit.projected(absent, ours), DELTA)


def test_the_true_build_is_never_refuted():
    found = leak()
    print(f"epsilon at least {found.epsilon:.3f} of {CLAIM}: {found.event}")
    assert 0.3 < found.epsilon <= CLAIM


def test_half_sigma_is_caught():
    found = leak(sigma=0.5)
    print(f"half sigma: epsilon at least {found.epsilon:.3f} of {CLAIM}")
    assert found.refutes(CLAIM)


def test_a_missing_clip_is_caught():
    found = leak(clip=False)
    print(f"missing clip: epsilon at least {found.epsilon:.3f} of {CLAIM}")
    assert found.refutes(CLAIM)


def test_a_missing_noise_share_is_caught_on_known_inputs():
    sharing = Sharing(Fraction(400), 10, 6, 1)
    dim = 20_000

    def released(sites: int) -> np.ndarray:
        return sum(sharing.draw_base(dim, stream()) for _ in range(sites))

    whole = float(sharing.total(10))
    assert not audit.noise_variance(released(10), whole).missing
    assert audit.noise_variance(released(9), whole).missing


def test_seeds_of_32_bits_are_caught_by_collisions(rng):
    count, coordinates = 2**18, 8
    assert audit.repetitions(draw(Skellam(400), count * coordinates, stream()).reshape(count, coordinates)) == 0
    # What such builds do: numpy's old generator, which takes no longer seeds.
    draws = np.empty((count, coordinates), np.int64)
    generator = np.random.RandomState()
    for place, seed in enumerate(rng.integers(0, 2**32, count).tolist()):
        generator.seed(seed)
        poisson = generator.poisson(200, 2 * coordinates)
        draws[place] = poisson[:coordinates] - poisson[coordinates:]
    found = audit.repetitions(draws)
    print(f"32-bit seeds: {found} repetitions in 2^18 draws, {math.comb(count, 2) / 2**32:.1f} expected")
    assert found > 0
