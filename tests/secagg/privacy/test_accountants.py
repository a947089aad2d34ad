"""Claims against other people's accountants and direct integration: never below; how far above is printed."""

import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import pld_privacy_accountant
from dp_accounting.rdp import rdp_privacy_accountant
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ive
from scipy.stats import norm

from secagg.privacy import (
    Calibration,
    Cost,
    DiscreteGaussianNoise,
    Goal,
    Infeasible,
    Law,
    PrivacyInputError,
    Relation,
    Sampling,
    Sensitivity,
    SkellamNoise,
    Unit,
    calibrate,
    claim,
    gaussian,
    normal_scores,
    release,
    renyi,
)

DELTA = 1e-5


def sensitivity(l2_squared: int, dim: int = 1000, failure: float = 0.0) -> Sensitivity:
    return Sensitivity(unit=Unit.PATIENT, relation=Relation.ADD_REMOVE, l2_squared=l2_squared, dim=dim, failure=failure)


# --- the curve ------------------------------------------------------------------------------------


def integrated(epsilon: float, m: float) -> float:
    """The hockey-stick divergence of N(m, 1) from N(0, 1), by adaptive quadrature of its definition."""
    corner = epsilon / m + m / 2
    value, _ = quad(
        lambda x: norm.pdf(x - m) - math.exp(epsilon) * norm.pdf(x), corner, corner + 40, epsabs=1e-13, limit=200
    )
    return value


@pytest.mark.fast
def test_curve_equals_direct_integration(rng):
    slack = 0.0
    for _ in range(200):
        m, epsilon = 10 ** rng.uniform(-2, 1), 10 ** rng.uniform(-2, 1.2)
        exact, claimed = integrated(epsilon, m), gaussian.delta(epsilon, m)
        assert abs(claimed - exact) < 1e-6
        assert claimed >= exact - 1e-12
        slack = max(slack, claimed - exact)
    print(f"largest slack of delta over direct integration, 200 settings: {slack:.2e}")


@pytest.mark.fast
@given(st.floats(1e-3, 50), st.floats(1e-12, 0.5))
def test_epsilon_and_shift_invert_the_curve(m, target):
    epsilon = gaussian.epsilon(target, m)
    assert gaussian.delta(epsilon, m) <= target
    if epsilon > 1e-6:
        assert gaussian.delta(epsilon * (1 - 1e-6), m) > target * (1 - 1e-9)
        assert gaussian.shift(epsilon, target) == pytest.approx(m, rel=1e-6)


def exact_hockey_stick(laws: list[tuple[np.ndarray, np.ndarray]], epsilon: float) -> float:
    """Directly summed over all outcomes of one or two coordinates."""
    p, q = laws[0]
    for other_p, other_q in laws[1:]:
        p, q = np.outer(p, other_p).ravel(), np.outer(q, other_q).ravel()
    return float(np.maximum(p - math.exp(epsilon) * q, 0).sum())


def neighbours(variance: float, shift: int) -> tuple[np.ndarray, np.ndarray]:
    reach = int(14 * math.sqrt(variance)) + 30
    pmf = ive(abs(np.arange(-reach, reach + shift + 1)), variance)
    return pmf[shift:], pmf[: len(pmf) - shift]


@pytest.mark.fast
def test_claims_are_never_below_the_exact_law(rng):
    """200 settings: Skellam in one or two coordinates, summed exactly; the slack in epsilon by size of the noise."""
    slack: dict[str, list[float]] = {}
    for _ in range(200):
        variance = float(10 ** rng.uniform(0, 2.3))
        shifts = [int(shift) for shift in rng.integers(1, 4, rng.integers(1, 3))]
        square = sum(shift * shift for shift in shifts)
        cost = release(SkellamNoise(variance), sensitivity(square, len(shifts)))
        epsilon = math.sqrt(cost.gaussian) * rng.uniform(0.1, 3)
        exact = exact_hockey_stick([neighbours(variance, shift) for shift in shifts], epsilon)
        if exact < 1e-12:
            continue
        claimed, _ = cost.epsilon(exact * (1 + 1e-9))
        assert claimed >= epsilon * (1 - 1e-6)
        slack.setdefault("below 4" if variance < 4 else "4 to 16" if variance < 16 else "from 16", []).append(
            claimed / epsilon - 1
        )
    for name, found in sorted(slack.items()):
        print(
            f"variance {name}: {len(found)} settings, slack of epsilon {np.median(found):.2%}, at most {max(found):.2%}"
        )
    assert np.median(slack["from 16"]) < 0.05


# --- dp-accounting --------------------------------------------------------------------------------


@pytest.mark.parametrize("law", list(Law))
@pytest.mark.parametrize(("target", "rounds"), [(0.5, 1), (1.0, 40), (3.0, 40), (8.0, 100)])
def test_calibrated_noise_by_the_pld_accountant(law, target, rounds):
    """The dominating Gaussian, composed by dp-accounting's privacy-loss distributions, spends what was promised."""
    found = calibrate(
        Goal(epsilon=target, delta=DELTA, releases=rounds, least_survivors=8, colluders=2), sensitivity(2500), law
    )
    assert isinstance(found, Calibration)
    event = dp_accounting.GaussianDpEvent(1 / math.sqrt(found.cost.gaussian))
    accountant = pld_privacy_accountant.PLDAccountant(value_discretization_interval=1e-3)
    theirs = accountant.compose(event, rounds).get_epsilon(DELTA)
    assert found.claim.epsilon <= target
    assert found.claim.epsilon == pytest.approx(theirs, rel=3e-3)
    assert found.share * 6 >= found.variance
    ideal = rounds * 2500 / gaussian.shift(target, DELTA) ** 2
    assert found.variance / ideal == pytest.approx(1, abs=1e-6 + 0.5 * 6 / ideal)


@pytest.mark.parametrize(
    ("m", "rate", "rounds"), [(0.5, 0.02, 500), (1.0, 0.01, 1000), (2.0, 0.1, 20), (0.1, 0.5, 100)]
)
def test_sampling_against_dp_accounting(m, rate, rounds):
    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(1 / m))
    by_pld = pld_privacy_accountant.PLDAccountant(value_discretization_interval=1e-3).compose(event, rounds)
    by_rdp = rdp_privacy_accountant.RdpAccountant(orders=renyi.ORDERS).compose(event, rounds)
    ours = renyi.epsilon(renyi.times(renyi.sampled_gaussian(m, rate), rounds), DELTA)
    assert ours == pytest.approx(by_rdp.get_epsilon(DELTA), rel=1e-4)
    # Its distributions are rounded up by at most half an interval per release.
    assert ours >= by_pld.get_epsilon(DELTA) * (1 - 1e-3)
    print(f"m {m}, rate {rate}, {rounds} rounds: {ours:.4f}, by loss distributions {by_pld.get_epsilon(DELTA):.4f}")


@pytest.mark.parametrize("rounds", [1, 7, 300])
def test_renyi_against_dp_accounting(rounds):
    for m in (0.01, 0.3, 2.0):
        theirs = rdp_privacy_accountant.RdpAccountant(orders=renyi.ORDERS)
        theirs.compose(dp_accounting.GaussianDpEvent(1 / m), rounds)
        ours = renyi.epsilon(renyi.times(renyi.gaussian(m), rounds), DELTA)
        assert ours == pytest.approx(theirs.get_epsilon(DELTA), rel=1e-6, abs=1e-9)


# --- Opacus ---------------------------------------------------------------------------------------


def test_against_the_accountants_of_opacus():
    from opacus.accountants import PRVAccountant, RDPAccountant

    m, rate, rounds = 0.9, 0.05, 200
    ours = renyi.epsilon(renyi.times(renyi.sampled_gaussian(m, rate), rounds), DELTA)
    renyis, losses = RDPAccountant(), PRVAccountant()
    for accountant in (renyis, losses):
        accountant.history = [(1 / m, rate, rounds)]
    assert ours == pytest.approx(renyis.get_epsilon(DELTA, alphas=list(renyi.ORDERS)), rel=1e-6)
    tight = losses.get_epsilon(DELTA, eps_error=0.01)
    assert tight - 0.02 <= ours <= 1.35 * tight


# --- Renyi bounds of integer noise ----------------------------------------------------------------


def divergence(p: np.ndarray, q: np.ndarray, order: int) -> float:
    keep = (p > 0) & (q > 0)
    logs = order * np.log(p[keep]) - (order - 1) * np.log(q[keep])
    most = logs.max()
    return float(most + np.log(np.exp(logs - most).sum())) / (order - 1)


@pytest.mark.fast
@pytest.mark.parametrize("variance", [1.0, 3.0, 12.0, 80.0])
@pytest.mark.parametrize("shift", [1, 2, 5])
def test_skellam_curve_is_above_the_exact_divergence(variance, shift):
    p, q = neighbours(variance, shift)
    cost = release(SkellamNoise(variance), sensitivity(shift * shift, 1))
    of_paper = SkellamNoise(variance).curve(sensitivity(shift * shift, 1))
    for place, order in enumerate(renyi.ORDERS[:20]):
        exact = divergence(p, q, order)
        assert exact <= of_paper[place] * (1 + 1e-9)
        assert exact <= cost.curve[place] * (1 + 1e-9)


@pytest.mark.fast
@pytest.mark.parametrize("shares", [(1.0, 1.0), (1.5, 1.0, 4.0), (2.0,) * 6, (1.0,) * 9])
@pytest.mark.parametrize("shift", [1, 3])
def test_discrete_gaussian_sums_are_above_the_exact_divergence(shares, shift):
    at = np.arange(-80, 81)
    total = np.ones(1)
    for share in shares:
        total = np.convolve(total, np.exp(-(at**2) / (2 * share)) / np.exp(-(at**2) / (2 * share)).sum())
    middle = slice(len(total) // 2 - 40, len(total) // 2 + 41)
    p, q = total[middle], np.roll(total, -shift)[middle]
    noise, s = DiscreteGaussianNoise(shares), sensitivity(shift * shift, 1)
    cost = release(noise, s)
    for place, order in enumerate(renyi.ORDERS[:12]):
        exact = divergence(p, q, order)
        assert exact <= noise.curve(s)[place] * (1 + 1e-9)
        assert exact <= cost.curve[place] * (1 + 1e-9)
    for epsilon in (0.0, 0.3, 1.0, 2.0):
        assert exact_hockey_stick([(p, q)], epsilon) <= gaussian.delta(epsilon, math.sqrt(cost.gaussian)) + 1e-12


@pytest.mark.fast
@pytest.mark.parametrize("variance", [1.0, 1.5, 2.0, 4.0])
@pytest.mark.parametrize("shares", [2, 5, 40])
def test_ripple_is_sharper_than_the_published_gap(variance, shares):
    assert normal_scores.ripple((variance,) * shares) <= renyi.equal_shares_gap(variance, shares)


@pytest.mark.fast
def test_renyi_pays_for_every_coordinate_of_a_sum():
    shares = (1.0, 1.0)
    narrow, wide = (renyi.discrete_gaussian_sum(100.0, 1e6, dim, shares) for dim in (10, 10**6))
    assert wide > narrow
    assert release(DiscreteGaussianNoise(shares), sensitivity(100, 10)).gaussian == (
        release(DiscreteGaussianNoise(shares), sensitivity(100, 10**6)).gaussian
    )


# --- composition and sampling ---------------------------------------------------------------------


@pytest.mark.fast
def test_costs_compose_like_gaussians():
    one = release(SkellamNoise(400.0), sensitivity(100, failure=1e-8))
    total = Cost()
    for _ in range(25):
        total = total + one
    assert total.gaussian == pytest.approx(25 * one.gaussian)
    assert total.gaussian >= 25 * one.gaussian * (1 - 1e-15)
    assert total.failure == pytest.approx(25e-8)
    assert total.releases == 25
    assert total.epsilon(DELTA)[0] == pytest.approx(one.times(25).epsilon(DELTA)[0], rel=1e-9)


@pytest.mark.fast
def test_failures_are_part_of_delta():
    sure, risky = sensitivity(100), sensitivity(100, failure=4e-6)
    noise = SkellamNoise(4000.0)
    assert release(noise, risky).epsilon(DELTA)[0] == pytest.approx(release(noise, sure).epsilon(6e-6)[0], rel=1e-9)
    assert release(noise, risky).times(3).epsilon(DELTA)[0] == math.inf
    assert claim(release(noise, risky), risky, DELTA).failure == 4e-6


@pytest.mark.fast
def test_the_better_proof_is_used():
    coarse = release(SkellamNoise(1.0), sensitivity(1, 1)).times(3)
    by_gaussian = gaussian.epsilon(DELTA, math.sqrt(coarse.gaussian))
    assert coarse.epsilon(DELTA)[0] <= min(by_gaussian, renyi.epsilon(coarse.curve, DELTA)) * (1 + 1e-12)
    sampled = release(SkellamNoise(400.0), sensitivity(100), Sampling(rate=0.01, independent=True, secret=True)).times(
        50
    )
    assert sampled.epsilon(DELTA)[1] == "renyi"
    assert release(SkellamNoise(400.0), sensitivity(100)).epsilon(DELTA)[1] == "gaussian"


@pytest.mark.fast
@pytest.mark.parametrize("wrong", [{"secret": False}, {"independent": False}, {"rate": 0.0}, {"rate": 1.1}])
def test_sampling_that_amplifies_nothing_is_refused(wrong):
    with pytest.raises(PrivacyInputError):
        Sampling(**{"rate": 0.1, "independent": True, "secret": True, **wrong})


@pytest.mark.fast
def test_sampling_of_sites_is_refused():
    site = Sensitivity(unit=Unit.SITE, relation=Relation.ZERO_OUT, l2_squared=100, dim=4)
    replaced = Sensitivity(unit=Unit.PATIENT, relation=Relation.REPLACE, l2_squared=100, dim=4)
    for s in (site, replaced):
        with pytest.raises(PrivacyInputError, match="unit patient"):
            release(SkellamNoise(400.0), s, Sampling(rate=0.1, independent=True, secret=True))


# --- monotone in every argument -------------------------------------------------------------------

factors = st.floats(1.01, 5)


@pytest.mark.fast
@given(st.floats(1, 1e8), st.integers(1, 10**6), st.integers(1, 300), st.floats(1e-10, 1e-2), factors, st.data())
def test_epsilon_is_monotone_in_every_argument(variance, square, rounds, delta, factor, data):
    def epsilon(variance=variance, square=square, rounds=rounds, delta=delta):
        return release(SkellamNoise(variance), sensitivity(square)).times(rounds).epsilon(delta)[0]

    base = epsilon()
    which = data.draw(st.sampled_from(["variance", "square", "rounds", "delta"]))
    if which == "variance":
        assert epsilon(variance=variance * factor) <= base
    elif which == "square":
        assert epsilon(square=math.ceil(square * factor)) >= base
    elif which == "rounds":
        assert epsilon(rounds=math.ceil(rounds * factor)) >= base
    else:
        assert epsilon(delta=delta * factor) <= base


@pytest.mark.fast
@given(st.floats(1e-3, 3), st.floats(0.001, 0.9), st.floats(1.05, 3))
def test_sampling_is_monotone(m, rate, factor):
    def epsilon(m=m, rate=rate):
        return renyi.epsilon(renyi.sampled_gaussian(m, rate), DELTA)

    assert epsilon(rate=rate / factor) <= epsilon() * (1 + 1e-9) + 1e-9
    assert epsilon(m=m / factor) <= epsilon() * (1 + 1e-9) + 1e-9
    assert epsilon() <= renyi.epsilon(renyi.gaussian(m), DELTA) * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("law", list(Law))
def test_calibration_is_monotone_in_every_argument(law):
    goal = {"epsilon": 1.0, "delta": DELTA, "releases": 40, "least_survivors": 6, "colluders": 1}

    def share(square=900, failure=0.0, **changes):
        found = calibrate(Goal(**{**goal, **changes}), sensitivity(square, failure=failure), law)
        assert isinstance(found, Calibration)
        return found.share

    base = share()
    assert share(epsilon=2.0) < base < share(epsilon=0.5)
    assert share(delta=1e-4) < base < share(delta=1e-6)
    assert share(releases=20) < base < share(releases=80)
    assert share(least_survivors=9) < base < share(least_survivors=4)
    assert base < share(colluders=2)
    assert share(square=400) < base < share(square=1600)
    assert base < share(failure=1e-7)


# --- infeasible -----------------------------------------------------------------------------------


@pytest.mark.fast
def test_infeasible_says_why_and_what_is_nearest():
    goal = Goal(epsilon=1.0, delta=DELTA, releases=40, least_survivors=6)
    found = calibrate(goal, sensitivity(10_000), max_variance=1000.0)
    assert isinstance(found, Infeasible)
    assert not found
    assert "wider fields" in found.reason
    again = calibrate(
        Goal(epsilon=found.nearest.claim.epsilon, delta=DELTA, releases=40, least_survivors=6),
        sensitivity(10_000),
        max_variance=1000.0,
    )
    assert isinstance(again, Calibration)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ({"least_survivors": 3, "colluders": 3}, "at least 4 survivors"),
        ({"releases": 10**6}, "all of delta"),
    ],
)
def test_other_reasons(goal, words):
    base = {"epsilon": 1.0, "delta": DELTA, "releases": 40, "least_survivors": 6}
    found = calibrate(Goal(**{**base, **goal}), sensitivity(100, failure=1e-10))
    assert isinstance(found, Infeasible)
    assert words in found.reason


@pytest.mark.fast
def test_no_room_for_any_noise():
    found = calibrate(
        Goal(epsilon=1.0, delta=DELTA, releases=1, least_survivors=6),
        sensitivity(100),
        Law.DISCRETE_GAUSSIAN,
        max_variance=2.0,
    )
    assert isinstance(found, Infeasible)
    assert "finer grid" in found.reason


@pytest.mark.fast
@pytest.mark.parametrize(
    "wrong",
    [{"epsilon": 0.0}, {"epsilon": math.inf}, {"delta": 0.0}, {"delta": 1.0}, {"releases": 0}, {"colluders": 0}],
)
def test_goals_that_are_none(wrong):
    with pytest.raises(PrivacyInputError):
        Goal(**{"epsilon": 1.0, "delta": DELTA, "releases": 1, "least_survivors": 6, **wrong})
