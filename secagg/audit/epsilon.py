"""What a mechanism surely leaks, from samples: lower bounds that a claim of epsilon must never be below.

Two worlds differ in one contribution. If releases are (epsilon, delta)-private, every event E has P0(E) <= e^epsilon
P1(E) + delta, in both directions. So one event, with bounds on its two probabilities, proves

    epsilon >= log((P0(E) - delta) / P1(E)).

The event is chosen on one half of the samples and measured on the other, so it may be chosen in any way; the two
probabilities are bounded by Clopper and Pearson's exact intervals (1934), each with half of the error probability. The
bound is then wrong with probability 1 - confidence at most. (Jagielski, Ullman and Oprea 2020, "Auditing differentially
private machine learning", with a split instead of an event fixed beforehand.)

Beside it, three tests that need fewer samples: of the variance of noise on known inputs, for repeated draws, and of a
claim against a lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from secagg.errors import UsageError

CONFIDENCE = 1 - 1e-6
"""Of every bound here, unless the caller says otherwise: a false alarm once in a million audits."""

CANDIDATES = 256
"""Thresholds that are tried on the first half, per direction."""

MIN_SAMPLES = 100


@dataclass(frozen=True, slots=True)
class LeakBound:
    """A lower bound on epsilon, and the event that proves it.

    Attributes:
        epsilon: no claim below this is true, with the given confidence; 0 if nothing was proven.
        delta: for which it holds.
        confidence: probability that the bound is right.
        samples: per world, both halves.
        event: the event, in words.
        seen: how often it was seen in either world of the second half.
    """

    epsilon: float
    delta: float
    confidence: float
    samples: int
    event: str
    seen: tuple[int, int]

    def refutes(self, claimed: float) -> bool:
        """Tell whether a claim of ``claimed`` at this delta cannot be true."""
        return self.epsilon > claimed


def lower_bound(
    present: NDArray[np.float64], absent: NDArray[np.float64], delta: float, confidence: float = CONFIDENCE
) -> LeakBound:
    """Bound epsilon from below by the best threshold on a score.

    Any score will do; the bound is best for one that rises with the likelihood ratio. For noise close to a Gaussian
    that is the inner product of a release with the difference of the worlds, see `projected`.

    Args:
        present: one score per independent release, with the contribution; float64, shape (n,), n at least 100.
        absent: the same without it.
        delta: of the claim that is tested.
        confidence: probability that the bound is right, below 1.

    Raises:
        UsageError: too few samples, worlds of different sizes, or numbers out of range.
    """
    one, other = _scores(present, "with"), _scores(absent, "without")
    if one.size != other.size or one.size < MIN_SAMPLES:
        raise UsageError(f"both worlds need the same number of samples, at least {MIN_SAMPLES}")
    if not 0 <= delta < 1 or not 0 < confidence < 1:
        raise UsageError("delta is at least 0 and below 1, the confidence a probability below 1")
    half = one.size // 2
    chosen = _best_event(np.sort(one[:half]), np.sort(other[:half]), delta, confidence)
    swapped, above, at = chosen
    likely, unlikely = (other, one) if swapped else (one, other)
    seen = _count(likely[half:], above, at), _count(unlikely[half:], above, at)
    rest = one.size - half
    found = _epsilon(*seen, rest, delta, confidence)
    word = f"score {'above' if above else 'at most'} {at:g}, more likely {'without' if swapped else 'with'} it"
    return LeakBound(found, delta, confidence, one.size, word, seen)


def _best_event(
    one: NDArray[np.float64], other: NDArray[np.float64], delta: float, confidence: float
) -> tuple[bool, bool, float]:
    """Choose among thresholds at the quantiles of both worlds, dense towards the tails, on sorted samples.

    The error probability is shared out among all events that are tried. Else the best of so many is often one that was
    rare by chance, and the second half does not show it again.
    """
    places = np.unique(np.geomspace(1, one.size, CANDIDATES).astype(np.int64)) - 1
    thresholds = np.unique(np.concatenate([s[np.concatenate([places, s.size - 1 - places])] for s in (one, other)]))
    best, chosen = -math.inf, (False, True, float(thresholds[0]))
    each = 1 - (1 - confidence) / (4 * thresholds.size)
    for at in thresholds:
        below = [int(np.searchsorted(s, at, "right")) for s in (one, other)]
        for above in (True, False):
            counts = [one.size - b for b in below] if above else below
            for swapped in (False, True):
                likely, unlikely = (counts[1], counts[0]) if swapped else (counts[0], counts[1])
                if likely <= unlikely:
                    continue
                found = _rough_epsilon(likely, unlikely, one.size, delta, each)
                if found > best:
                    best, chosen = found, (swapped, above, float(at))
    return chosen


def _rough_epsilon(likely: int, unlikely: int, trials: int, delta: float, confidence: float) -> float:
    """Guess what the exact bound will be, by normal approximation; only a choice depends on it."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    low = likely - z * math.sqrt(likely + 1) - delta * trials
    return math.log(low / (unlikely + z * math.sqrt(unlikely + 1) + z * z / 3)) if low > 0 else -math.inf


def _epsilon(likely: int, unlikely: int, trials: int, delta: float, confidence: float) -> float:
    error = (1 - confidence) / 2
    low, high = binomial_low(likely, trials, error), binomial_high(unlikely, trials, error)
    return max(0.0, math.log((low - delta) / high)) if low > delta else 0.0


def _count(scores: NDArray[np.float64], above: bool, at: float) -> int:
    return int(np.count_nonzero(scores > at if above else scores <= at))


def _scores(scores: NDArray[np.float64], world: str) -> NDArray[np.float64]:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise UsageError(f"the scores {world} the contribution are one finite number per release")
    return values


def projected(releases: NDArray[np.int64], difference: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the inner products of releases, shape (n, d), with the difference of the worlds, shape (d,)."""
    result: NDArray[np.float64] = releases.astype(np.float64) @ difference.astype(np.float64)
    return result


# --- exact binomial intervals ---------------------------------------------------------------------


def binomial_low(successes: int, trials: int, error: float) -> float:
    """Return Clopper and Pearson's lower bound: the p with P(Binomial(trials, p) >= successes) = ``error``."""
    if successes == 0:
        return 0.0
    return _solve(lambda p: incomplete_beta(p, successes, trials - successes + 1) <= error, upper=False)


def binomial_high(successes: int, trials: int, error: float) -> float:
    """Return Clopper and Pearson's upper bound: the p with P(Binomial(trials, p) <= successes) = ``error``."""
    if successes == trials:
        return 1.0
    return _solve(lambda p: incomplete_beta(1 - p, trials - successes, successes + 1) >= error, upper=True)


def _solve(below: Callable[[float], bool], *, upper: bool) -> float:
    """Bisect for where ``below`` turns false and return the outer end."""
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if below(middle) else (low, middle)
    return high if upper else low


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    # Lentz's algorithm.
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return math.exp(log_front) * value / a


# --- cheaper tests --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VarianceBounds:
    """Bounds on the true variance of noise over the one that is claimed.

    Attributes:
        low: lower bound of the ratio.
        high: upper bound of the ratio; below 1, noise is missing.
    """

    low: float
    high: float

    @property
    def missing(self) -> bool:
        """Whether there is surely less noise than claimed."""
        return self.high < 1


def noise_variance(residuals: NDArray[np.int64], expected: float, confidence: float = CONFIDENCE) -> VarianceBounds:
    """Bound the variance of noise around known inputs, over the expected one.

    The mean square of n independent residuals is close to normal with variance (fourth moment - variance^2) / n; the
    moment of Skellam and discrete Gaussian noise is at most 3 v^2 + v. Needs some thousands of residuals.

    Args:
        residuals: released sum minus the sum of the known inputs, any shape, in grid steps.
        expected: the claimed variance, squared grid steps.
        confidence: probability that both bounds are right.

    Raises:
        UsageError: too few residuals, or no variance.
    """
    values = np.asarray(residuals, np.float64).ravel()
    if values.size < MIN_SAMPLES or not expected > 0:
        raise UsageError(f"a variance is tested on at least {MIN_SAMPLES} residuals against a positive one")
    ratio = float(np.mean(values**2)) / expected
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    spread = z * math.sqrt((2 + 1 / expected) / values.size)
    return VarianceBounds(ratio / (1 + spread), ratio / (1 - spread) if spread < 1 else math.inf)


def repetitions(draws: NDArray[np.int64]) -> int:
    """Count rows of draws, shape (n, d), that repeat an earlier row: independent noise of enough entropy has none.

    Seeds of b bits repeat about n^2 / 2^(b + 1) times: eight times in 2^18 draws for 32 bits.
    """
    rows = np.ascontiguousarray(draws)
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    return int(rows.shape[0] - np.unique(keys).size)
