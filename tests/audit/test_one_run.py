"""The bound from one run: equal to a second computation, right as often as it says, and useful where nothing hides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from secagg.audit.one_run import MIN_CANARIES, least_epsilon, one_run_bound, p_value
from secagg.errors import UsageError
from secagg.privacy import gaussian

DELTA = 1e-5

pytestmark = pytest.mark.fast


def by_scipy(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """The right side of the theorem, term by term."""
    rate = 1 / (1 + math.exp(-epsilon))
    tail = float(binom.sf(right - 1, guesses, rate))
    steps = [(float(binom.sf(right - i - 1, guesses, rate)) - tail) / i for i in range(1, right + 1)]
    return min(1.0, tail + 2 * canaries * delta * max(steps, default=0.0))


def test_the_theorem_term_by_term() -> None:
    rng = np.random.default_rng(11)
    for _ in range(150):
        canaries = int(rng.integers(20, 600))
        guesses = int(rng.integers(1, canaries + 1))
        right = int(rng.integers(0, guesses + 1))
        epsilon, delta = float(rng.uniform(0, 5)), float(10 ** -rng.uniform(2, 9))
        expected = by_scipy(canaries, guesses, right, epsilon, delta)
        assert p_value(canaries, guesses, right, epsilon, delta) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("right", [500, 800, 999, 1000])
def test_the_bound_is_where_the_theorem_turns(right: int) -> None:
    found = least_epsilon(1000, 1000, right, DELTA, 0.05)
    if found:
        assert p_value(1000, 1000, right, found, DELTA) < 0.05
    assert p_value(1000, 1000, right, found + 1e-6, DELTA) >= 0.05


@pytest.mark.parametrize(("m", "least"), [(0.25, 0.0), (1.0, 0.2), (3.0, 2.0)])
def test_it_stays_below_the_truth_and_rises_with_it(m: float, least: float) -> None:
    """A thousand independent Gaussian coordinates, m apart."""
    rng = np.random.default_rng(int(4 * m))
    coins = rng.random(1000) < 0.5
    found = one_run_bound(rng.standard_normal(1000) + m * coins, coins, DELTA, 0.95)
    assert least <= found.epsilon <= gaussian.epsilon(DELTA, m)


def test_it_is_wrong_as_seldom_as_it_says() -> None:
    """Randomized response is the worst case of the theorem: at its own epsilon, one in ten bounds may be too high."""
    rng, epsilon = np.random.default_rng(2), 1.0
    wrong = 0
    for _ in range(400):
        coins = rng.random(200) < 0.5
        answers = np.where(rng.random(200) < 1 / (1 + math.exp(-epsilon)), coins, ~coins)
        wrong += one_run_bound(answers + rng.random(200) / 2, coins, 0.0, 0.9).epsilon > epsilon
    assert wrong <= 60


def test_who_hides_nothing_is_found_out() -> None:
    coins = np.random.default_rng(1).random(1000) < 0.5
    assert one_run_bound(coins.astype(float), coins, DELTA, 0.95).epsilon > 4
    assert one_run_bound(1.0 - coins, coins, DELTA, 0.95).epsilon == 0


@pytest.mark.parametrize(
    ("scores", "coins", "delta", "confidence"),
    [
        (np.zeros(MIN_CANARIES - 1), np.zeros(MIN_CANARIES - 1, bool), DELTA, 0.95),
        (np.zeros(30), np.zeros(31, bool), DELTA, 0.95),
        (np.full(30, np.nan), np.zeros(30, bool), DELTA, 0.95),
        (np.zeros(30), np.zeros(30, bool), 1.0, 0.95),
        (np.zeros(30), np.zeros(30, bool), DELTA, 1.0),
    ],
)
def test_what_says_nothing_is_refused(scores: np.ndarray, coins: np.ndarray, delta: float, confidence: float) -> None:
    with pytest.raises(UsageError):
        one_run_bound(scores, coins, delta, confidence)
    with pytest.raises(UsageError):
        p_value(10, 11, 3, 1.0, delta)
