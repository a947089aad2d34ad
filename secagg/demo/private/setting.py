"""What one private demo runs: every choice in one frozen value that cannot be built wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from protocols.pairwise.params import least_threshold
from secagg.demo.datasets import check_name
from secagg.demo.partition import Skew
from secagg.errors import UsageError
from secagg.privacy import Fitted, Goal, Infeasible, fit, gaussian
from secagg.simulate.run import count_dropouts

ROUNDS = 20
BITS = 16
DELTA = 1e-5
CLIP = 1.0
WIDEST = 40
COLLUDERS = 1
MOST_ROUNDS = 1000
BITS_RANGE = (4, 24)
DEFAULT_DROPOUTS = 2

TRAVELLED = {"digits": 80.0, "breast-cancer": 40.0}
"""Learning rate times rounds: how far the weights could travel if all patients pulled alike all the time. Settled on
made-up data, see ``hospitals.py``."""

ENROLMENT = {"digits": 1500, "breast-cancer": 500}
"""Patients that the study plan expects at all sites together: a public figure. Steps are divided by it, because the
true number is a statistic of the patients."""

LARGEST_SHARE = 0.4
"""Of all patients, at most about so many are at one site: public, too. It sets where the grid of a site's sum ends."""

SPREAD = 3.0
"""That is so many deviations of a rotated coordinate, if all patients of the largest site pulled alike."""

PHASES = ("masked-input", "unmasking", "advertise-keys", "consistency-check")
"""Before completing which of these sites vanish, in turns: half of them before their input is in, half after."""


@dataclass(frozen=True, kw_only=True)
class PrivateConfig:
    """The choices of one private demo, checked at construction.

    Attributes:
        dataset: ``breast-cancer`` or ``digits``.
        epsilon, delta: what every patient is promised, after all rounds.
        sites: hospitals, at least 3 (two must hide behind each other after one colludes).
        rounds: 1 .. 1000.
        bits: of one coordinate of a site's sum on the grid, 4 .. 24.
        dropout: sites that vanish in every round: below 1 a fraction, else a count; ``None`` for 2, or what few sites
            can lose.
        skew: ``iid``, ``label:ALPHA`` or ``quantity:ALPHA``.
        seed: fixes split, partition and drop-outs; never masks, keys, rounding or noise.
        colluders: sites assumed to add no noise, or to tell theirs.

    Raises:
        UsageError: a choice that cannot work, with the ones that do.
        secagg.privacy.PrivacyInputError: a promise that is none.
    """

    dataset: str = "digits"
    epsilon: float = 1.0
    delta: float = DELTA
    sites: int = 10
    rounds: int = ROUNDS
    bits: int = BITS
    dropout: float | None = None
    skew: str = "label:0.5"
    seed: int = 0
    colluders: int = COLLUDERS

    def __post_init__(self) -> None:
        """Refuse at construction."""
        check_name(self.dataset)
        Skew.parse(self.skew)
        if not 1 <= self.rounds <= MOST_ROUNDS:
            raise UsageError(f"{self.rounds} rounds cannot be run: choose 1 to {MOST_ROUNDS}")
        low, high = BITS_RANGE
        if not low <= self.bits <= high:
            raise UsageError(f"a private grid of {self.bits} bits is not offered: choose {low} to {high}")
        if self.seed < 0:
            raise UsageError(f"seed {self.seed} is negative: choose 0 or more")
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise UsageError(f"epsilon {self.epsilon:g} promises nothing that can be kept: choose a positive number")
        if not 0 < self.delta < 1 / ENROLMENT[self.dataset]:
            raise UsageError(
                f"delta {self.delta:g} would allow to publish a patient: choose one above 0 and well below one in "
                f"{ENROLMENT[self.dataset]:,} patients, such as {DELTA:g}"
            )
        least = least_threshold(self.sites, "active", max(self.colluders, 1))
        if least > self.sites or self.sites > ENROLMENT[self.dataset] // 2:
            raise UsageError(f"{self.sites} sites cannot hide each other here: choose 3 to a few dozen")
        if self.dropouts_per_round > (most := self.sites - self.threshold):
            raise UsageError(
                f"{self.dropouts_per_round} of {self.sites} sites cannot vanish: {self.threshold} must stay so that "
                f"the masks can be removed and the noise suffices; choose a dropout of at most {most}, or more sites"
            )

    @property
    def threshold(self) -> int:
        """Sites that must stay to the end of a round: the least that is safe, since noise is sized for it."""
        return least_threshold(self.sites, "active", max(self.colluders, 1))

    @property
    def dropouts_per_round(self) -> int:
        """Sites that vanish in every round."""
        if self.dropout is None:
            return min(DEFAULT_DROPOUTS, self.sites - self.threshold)
        return count_dropouts(self.dropout, self.sites)

    def dropouts(self, round_index: int) -> Mapping[int, str]:
        """Give who vanishes in a round (from 0), and the phase that each does not complete; drawn from the seed."""
        rng = np.random.default_rng([self.seed, round_index])
        lost = rng.choice(self.sites, self.dropouts_per_round, replace=False)
        return {int(site) + 1: PHASES[(round_index + place) % len(PHASES)] for place, site in enumerate(sorted(lost))}

    @property
    def rate(self) -> float:
        """Learning rate, for steps along the mean of the patients' clipped gradients."""
        return TRAVELLED[self.dataset] / self.rounds

    def divisor(self, included: int) -> float:
        """Give what a sum is divided by to make it a mean: the expected patients of so many of the sites."""
        return ENROLMENT[self.dataset] * included / self.sites

    @property
    def goal(self) -> Goal:
        """The promise, for the accountant."""
        return Goal(
            epsilon=self.epsilon,
            delta=self.delta,
            releases=self.rounds,
            least_survivors=self.threshold,
            colluders=self.colluders,
        )

    def fitted(self, dim: int) -> Fitted:
        """Choose grid and noise together.

        Raises:
            UsageError: no noise on such a grid keeps the promise, with the reason.
        """
        largest = max(LARGEST_SHARE, 1 / self.sites) * ENROLMENT[self.dataset]
        reach = SPREAD * largest * CLIP / math.sqrt(1 << (dim - 1).bit_length())
        found = _fitted(self.goal, self.sites, dim, reach, 2**self.bits - 1)
        if isinstance(found, Infeasible):
            raise UsageError(f"infeasible: {found.reason}")
        return found

    @property
    def central_sigma(self) -> float:
        """Noise of a trusted server in a sum: the analytic Gaussian mechanism over all rounds (Balle and Wang 2018)."""
        return CLIP * math.sqrt(self.rounds) / gaussian.shift(self.epsilon, self.delta)


@lru_cache(maxsize=64)
def _fitted(goal: Goal, sites: int, dim: int, reach: float, levels: int) -> Fitted | Infeasible:
    """Search once, for studies that run one promise many times."""
    return fit(goal, clients=sites, dim=dim, clip=CLIP, width=WIDEST, range=reach, levels=levels)
