"""After any tolerated drop-outs the honest survivors' noise is the target, exactly; and what is revealed is excess."""

import itertools
from fractions import Fraction

import hypothesis.strategies as st
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings

from quant.errors import ConfigurationError, InputError
from quant.noise import FAILURE, DiscreteGaussian, Sharing, Skellam, TableLaw, draw, reach
from quant.noise.shares import TWO_PI_SQUARED_BELOW
from tests.quant.noise import independent
from tests.quant.noise.conftest import stream
from tests.quant.noise.test_sampler import chi_square

SIZES = [(n, m, c) for n in range(2, 8) for m in range(2, n + 1) for c in range(1, m)]


def left_over(sharing, survivors):
    """Variance of one survivor's noise after the removal, from its parts."""
    removed = sharing.removable(survivors)
    kept = [v for j, v in enumerate(sharing.components, start=1) if j not in removed]
    return sharing.base + sum(kept)


@pytest.mark.parametrize(("n", "m", "c"), SIZES)
@pytest.mark.parametrize("target", [Fraction(1), Fraction(22, 7)])
def test_every_pattern_of_dropouts_and_colluders(n, m, c, target):
    """All subsets of survivors, all subsets of at most c colluders: the honest sum is the target or more."""
    sharing = Sharing(target, n, m, c)
    for size in range(m, n + 1):
        for survivors in itertools.combinations(range(n), size):
            each = left_over(sharing, len(survivors))
            assert sum(sharing.honest_parts(size)) == target
            assert each == sharing.residual(size)
            assert each * size == sharing.total(size) == target * Fraction(size, size - c)
            for colluding in range(c + 1):
                for colluders in itertools.combinations(range(n), colluding):
                    honest = [site for site in survivors if site not in colluders]
                    assert len(honest) * each >= target
                    if len(honest) == size - c:
                        assert len(honest) * each == target


@given(st.integers(2, 2000), st.data())
@settings(max_examples=60)
def test_large_cohorts(n, data):
    m = data.draw(st.integers(2, n))
    c = data.draw(st.integers(0, m - 1))
    size = data.draw(st.integers(m, n))
    sharing = Sharing(Fraction(10**6), n, m, c)
    assert left_over(sharing, size) * (size - max(c, 1)) == 10**6
    assert sharing.base + sum(sharing.components) == sharing.share == Fraction(10**6, m - max(c, 1))


def test_what_dropped_sites_could_have_added_is_not_counted():
    """The removable components get fewer as sites drop out; with the fewest survivors nothing is removed."""
    sharing = Sharing(400, 10, 6)
    assert [list(sharing.removable(size)) for size in (10, 9, 8, 7, 6)] == [[1, 2, 3, 4], [2, 3, 4], [3, 4], [4], []]
    assert sharing.residual(6) == sharing.share


def test_nobody_is_trusted_not_to_know_their_own_noise():
    assert Sharing(1, 5, 4, 0) == Sharing(1, 5, 4, 1)


def run(sharing, sites, survivors, count, first_key):
    """Shares of all sites, summed over the survivors, with the excess removed: total, and by the honest alone."""
    keys = {(site, j): first_key + 100 * site + j for site in range(sites) for j in range(20)}
    numbers = range(1, sites - sharing.least + 1)
    shares = [
        sharing.draw_share(count, stream(keys[site, 0]), [stream(keys[site, j]) for j in numbers])
        for site in range(sites)
    ]
    removable = sharing.removable(len(survivors))
    left = []
    for site in survivors:
        streams = {j: stream(keys[site, j]) for j in removable}
        alone = shares[site] - sum((sharing.draw_component(j, count, streams[j]) for j in removable), 0)
        left.append(alone)
    revealed = {site: {j: stream(keys[site, j]) for j in removable} for site in survivors}
    total = sum(shares[site] for site in survivors) - sharing.draw_excess(count, revealed)
    assert np.array_equal(total, sum(left))
    return total, sum(left[sharing.colluders :])


@pytest.mark.parametrize("family", [Skellam, DiscreteGaussian])
@pytest.mark.parametrize("dropped", [0, 1, 2, 3])
def test_drawn_noise_has_the_variance_that_algebra_says(family, dropped):
    sharing, count = Sharing(Fraction(300), 7, 4, 2, family), 60_000
    survivors = [site for site in range(7) if site not in range(1, 1 + dropped)]
    total, honest = run(sharing, 7, survivors, count, 10_000 * (dropped + 1))
    for drawn, variance in ((honest, 300.0), (total, float(sharing.total(len(survivors))))):
        error = variance * np.sqrt((2 + 1 / variance) / count)
        assert abs((drawn.astype(float) ** 2).mean() - variance) < 5 * error
        assert abs(drawn.mean()) < 5 * np.sqrt(variance / count)


@pytest.mark.parametrize("dropped", [0, 2])
def test_the_honest_survivors_noise_is_skellam(dropped):
    """Not only the variance: the whole law."""
    sharing = Sharing(Fraction(12), 6, 4, 1)
    _, honest = run(sharing, 6, range(dropped, 6), 100_000, 77_000)
    assert chi_square(Skellam(12), honest) > 1e-4


def test_a_missing_share_is_seen():
    """The test above can fail: one honest survivor without noise is far outside of its error."""
    sharing, count = Sharing(Fraction(300), 7, 4, 2), 60_000
    parts = [draw(Skellam(sharing.residual(7)), count, stream(site)) for site in range(sharing.clients - 2 - 1)]
    drawn = sum(parts).astype(float)
    assert abs((drawn**2).mean() - 300) > 10 * 300 * np.sqrt(2 / count)


def test_total_before_the_removal_stays_in_reach():
    sharing, dim = Sharing(Fraction(300), 7, 4, 2), 4000
    bound = sharing.reach(dim)
    assert bound == reach(Skellam, 7 * sharing.share, dim, FAILURE)
    numbers = range(1, 4)
    shares = [sharing.draw_share(dim, stream(9 * site), [stream(9 * site + j) for j in numbers]) for site in range(7)]
    assert np.abs(sum(shares)).max() <= bound


def convolved(variances):
    """The law of a sum of discrete Gaussians by direct convolution, as probabilities around the middle."""
    law = np.array([1.0])
    for variance in variances:
        width = int(12 * np.sqrt(float(variance))) + 3
        k = np.arange(-width, width + 1)
        weights = np.exp(-(k**2) / (2 * float(variance)))
        law = np.convolve(law, weights / weights.sum())
    return law


@pytest.mark.parametrize(("target", "size"), [(2, 4), (2, 3), (5, 5), (9, 4), (9, 3), (20, 3)])
def test_gap_of_the_discrete_gaussian(target, size):
    """The true max-divergence, where floats can see it, is below the bound; and the bound is not idle."""
    sharing = Sharing(Fraction(target), 5, 3, 1, DiscreteGaussian)
    law = convolved(sharing.honest_parts(size))
    k = np.arange(law.size) - law.size // 2
    weights = np.exp(-(k**2) / (2.0 * target))
    near = np.abs(k) <= 5 * np.sqrt(target)
    true = np.abs(np.log(law[near] / (weights / weights.sum())[near])).max()
    bound = sharing.gap(size)
    assert true <= bound + 1e-9
    if bound < 1:
        assert bound <= 60 * true + 1e-9


def test_gap_shrinks_and_vanishes():
    sharing = [Sharing(target, 10, 6, 1, DiscreteGaussian) for target in (1, 20, 100, 1000, 10**6, 10**8)]
    gaps = [each.gap(8) for each in sharing]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] == float("inf")
    assert 0 < gaps[3] < 1e-40
    assert gaps[-1] > 0
    assert Sharing(1, 10, 6).gap(8) == 0
    assert Sharing(1, 2, 2, 1, DiscreteGaussian).gap(2) == 0


def test_two_pi_squared():
    with mpmath.workprec(200):
        true = 2 * mpmath.pi**2
        assert true - mpmath.mpf(10) ** -14 < independent.real(TWO_PI_SQUARED_BELOW) < true


def test_wrong_seeds_are_refused():
    sharing = Sharing(100, 5, 3)
    good = {site: {j: stream(j) for j in (2,)} for site in range(4)}
    sharing.draw_excess(3, good)
    for bad in ({**good, 0: {}}, {**good, 0: {1: stream(1), 2: stream(2)}}, {**good, 0: {1: stream(1)}}):
        with pytest.raises(InputError, match=r"exactly \[2\]"):
            sharing.draw_excess(3, bad)
    with pytest.raises(InputError, match="survivors"):
        sharing.draw_excess(3, {0: {}, 1: {}})
    with pytest.raises(InputError, match="streams"):
        sharing.draw_share(3, stream(0), [stream(1)])
    with pytest.raises(InputError, match="component"):
        sharing.draw_component(3, 3, stream(1))


@pytest.mark.parametrize("survivors", [2, 6, 0, -1, 4.0])
def test_wrong_number_of_survivors(survivors):
    sharing = Sharing(100, 5, 3)
    for question in (sharing.removable, sharing.residual, sharing.total, sharing.gap, sharing.honest_parts):
        with pytest.raises(InputError, match="survivors"):
            question(survivors)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, 5, 3), "variance"),
        ((1, 1, 1), "clients"),
        ((1, 5, 6), "least"),
        ((1, 5, 1), "surely adds noise"),
        ((1, 5, 3, 3), "at least 4"),
        ((1, 5, 3, -1), "colluders"),
        ((1, 5, 3, 1, TableLaw), "Skellam or DiscreteGaussian"),
        ((2**40, 5, 3), "coarser grid"),
    ],
)
def test_settings_that_protect_nobody(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        Sharing(*arguments)
