"""What one training run leaks, from canaries: a lower bound on epsilon that costs no second run.

Canaries are records of the auditor's own; each is put into the training by a fair coin of its own. From what the run
released the auditor guesses the coins, as many as it dares. Under (epsilon, delta)-DP for one record the number of
right guesses is at most that of randomized response, but for delta (Steinke, Nasr and Jagielski 2023, "Privacy auditing
with one (1) training run", theorem 5.2 and corollary 5.4): with m canaries, r guesses, q = e^epsilon / (e^epsilon + 1)
and f(v) = P(Binomial(r, q) >= v),

    P(at least v are right) <= f(v) + 2 m delta max over i = 1 .. v of (f(v - i) - f(v)) / i.

Every epsilon at which this is below 1 - confidence is refuted. The bound is loose (all canaries share one run, and
randomized response is the worst case), so it is reported and proves nothing when it is small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secagg.errors import UsageError

GUESSED = (1.0, 0.3, 0.1, 0.03)
"""Shares of the canaries that are guessed, the surest first; each gets its part of the error probability."""

STEP = 1 / 64
"""Epsilons are refuted one after the other, so that the bound holds even if the right side should not be monotone."""

MOST = 64.0
"""Bounds end here."""

MIN_CANARIES = 20


@dataclass(frozen=True, slots=True)
class OneRunBound:
    """A lower bound on epsilon from one run.

    Attributes:
        epsilon: no claim below this is true, with the given confidence; 0 if nothing was proven.
        delta: for which it holds.
        confidence: probability that the bound is right.
        canaries: how many coins were tossed.
        guesses: how many of them were guessed.
        right: how many guesses were right.
    """

    epsilon: float
    delta: float
    confidence: float
    canaries: int
    guesses: int
    right: int

    def refutes(self, claimed: float) -> bool:
        """Tell whether a claim of ``claimed`` at this delta cannot be true."""
        return self.epsilon > claimed


def one_run_bound(
    scores: NDArray[np.float64], included: NDArray[np.bool_], delta: float, confidence: float
) -> OneRunBound:
    """Bound epsilon from below by guessing who was in the run: the highest scores were, the lowest were not.

    Args:
        scores: one number a canary, higher the likelier it was in; computed without looking at ``included``.
        included: the coins, shape as ``scores``.
        delta: of the claim that is tested.
        confidence: probability that the bound is right, below 1.

    Raises:
        UsageError: too few canaries, shapes that differ, scores that are no numbers, or numbers out of range.
    """
    values, coins = np.asarray(scores, np.float64), np.asarray(included, np.bool_)
    if values.ndim != 1 or values.shape != coins.shape or values.size < MIN_CANARIES or not np.isfinite(values).all():
        raise UsageError(f"an audit needs a finite score and a coin for each of at least {MIN_CANARIES} canaries")
    if not 0 <= delta < 1 or not 0 < confidence < 1:
        raise UsageError("delta is at least 0 and below 1, the confidence a probability below 1")
    coins = coins[np.argsort(values, kind="stable")]
    error = (1 - confidence) / len(GUESSED)
    best = OneRunBound(-1.0, delta, confidence, values.size, 0, 0)
    for share in GUESSED:
        side = max(int(share * values.size / 2), 1)
        right = int(np.count_nonzero(~coins[:side]) + np.count_nonzero(coins[-side:]))
        found = least_epsilon(values.size, 2 * side, right, delta, error)
        if found > best.epsilon:
            best = OneRunBound(found, delta, confidence, values.size, 2 * side, right)
    return best


def least_epsilon(canaries: int, guesses: int, right: int, delta: float, error: float) -> float:
    """Return the largest epsilon so that it and all below it are refuted with probability of error ``error``."""
    places = np.arange(guesses + 1)
    logs = np.array([math.lgamma(k + 1) for k in range(guesses + 1)])
    ways = logs[-1] - logs - logs[::-1]

    def refuted(epsilon: float) -> bool:
        return _tail(ways, places, canaries, right, epsilon, delta) < error

    if not refuted(0.0):
        return 0.0
    low = 0.0
    while low < MOST and refuted(low + STEP):
        low += STEP
    high = low + STEP
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def p_value(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Bound the probability of so many right guesses under (epsilon, delta)-DP; 1 if the bound says nothing.

    Raises:
        UsageError: counts out of order.
    """
    if not 0 <= right <= guesses <= canaries or epsilon < 0:
        raise UsageError("of the canaries some are guessed, of the guesses some are right, and epsilon is not negative")
    logs = np.array([math.lgamma(k + 1) for k in range(guesses + 1)])
    return _tail(logs[-1] - logs - logs[::-1], np.arange(guesses + 1), canaries, right, epsilon, delta)


def _tail(
    ways: NDArray[np.float64], places: NDArray[np.int64], canaries: int, right: int, epsilon: float, delta: float
) -> float:
    """Evaluate the right side of the theorem from the logarithms of the binomial coefficients."""
    guesses = places.size - 1
    # log q = -log(1 + e^-epsilon), log(1 - q) = -epsilon + log q
    log_q = -math.log1p(math.exp(-epsilon))
    mass = np.exp(ways + places * log_q + (guesses - places) * (log_q - epsilon))
    tail = float(mass[right:].sum())
    if delta and right:
        below = np.cumsum(mass[:right][::-1]) / np.arange(1, right + 1)
        tail += 2 * canaries * delta * float(below.max())
    return min(tail, 1.0)
