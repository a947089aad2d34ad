"""What one demo runs: every choice in one frozen value that cannot be built wrong.

The drop-out schedule is decided here too, from the seed alone, so that it is known before anything trains.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

import quant
from protocols.pairwise import default_threshold
from secagg.adaptive import RoundPlanner, parse_bits
from secagg.broadcast import check_bits
from secagg.demo import scenarios, schemes
from secagg.demo.datasets import check_name
from secagg.demo.partition import Skew
from secagg.devices import nesting_levels
from secagg.errors import UsageError
from secagg.simulate.run import count_dropouts

PHASES = ("advertise-keys", "share-keys", "masked-input", "consistency-check", "unmasking")

# How sites train is a public agreement of the study: the grid's range follows from it (`update_limit`).
LOCAL_STEPS = 10
BATCH_SIZE = 32
FIRST_LEARNING_RATE = 0.005
LAST_LEARNING_RATE = FIRST_LEARNING_RATE / 20
# Sums of float32 steps may round up past the exact limit.
HEADROOM = 1.01

DEFAULT_DROPOUTS = 2
LEAST_SITES = 3
MOST_ROUNDS = 1000
# float32 carries 24 significant bits: a finer grid has nothing to carry.
BITS_RANGE = (2, 24)
UPDATES = ("delta", "gradient")


def learning_rate(round_index: int, rounds: int) -> float:
    """Give the local learning rate of a round: half a cosine from the first rate down to the last."""
    fallen = (1 - math.cos(math.pi * round_index / rounds)) / 2
    return FIRST_LEARNING_RATE + (LAST_LEARNING_RATE - FIRST_LEARNING_RATE) * fallen


def update_limit(round_index: int, rounds: int) -> float:
    """Give the largest change of any coordinate in one site's round: learning rate times steps.

    This is a theorem, not a pilot run, so a range set to it cuts nothing off and needs no look at the data.
    Adam (Kingma and Ba 2015, Algorithm 1) divides a weighted mean of the gradients by the root of a weighted
    mean of their squares. With equal decay rates both means use the *same* weights, so by Jensen's inequality
    the quotient is at most 1 and a step moves no coordinate by more than the learning rate.
    """
    return HEADROOM * LOCAL_STEPS * learning_rate(round_index, rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """The choices of one demo run, checked at construction.

    Attributes:
        dataset: ``breast-cancer`` or ``digits``.
        sites: hospitals in the consortium, at least 3 (with two, each reads the other out of the sum).
        rounds: rounds of federated averaging, 1 .. 1000.
        bits: bits of one coordinate on the grid, 2 .. 24.
        dropout: sites that vanish in every round, below 1 a fraction of ``sites``, else a count; ``None``
            takes 2, or as many as ``sites`` can lose if that is fewer.
        skew: ``iid``, ``label:ALPHA`` or ``quantity:ALPHA``.
        seed: fixes split, partition, initial model, batches and drop-outs; never masks, keys or dither.
        range: the grid spans [-range, range] for one coordinate of an update; ``None`` takes `update_limit`,
            round by round.
        scheme: how updates are rounded, one of `schemes.SCHEMES`.
        updates: what sites send: ``delta``, the change of the weights by local training, or ``gradient``, of one step.
        downlink_bits: bits of one coordinate of the model on its way down, 1 .. 24; ``None`` for float32.
        error_feedback: sites add what quantization left out to their next update.
        adaptive_clip: quantile of the norms that an adaptive L2 clip follows; ``None`` for none.
        adaptive_bits: ``ROUND:BITS,...`` or ``error:TARGET``; ``None`` for ``bits`` throughout.
        scenario: one of `scenarios.SCENARIOS`: precision, speed and link losses of the sites.
        drift: share of a site's examples that have moved on to the next site by the last round, 0 .. 1.
        monitor: report clipped, saturated and error of every round, from sums.
        coarser: half of the hospitals round so many bits more coarsely; 0 for none.

    Raises:
        UsageError: a choice that cannot work, with the ones that do.
        quant.QuantError: a scheme that cannot be summed, or bits that are none.
    """

    dataset: str = "breast-cancer"
    sites: int = 10
    rounds: int = 30
    bits: int = 12
    dropout: float | None = None
    skew: str = "label:0.5"
    seed: int = 0
    range: float | None = None
    scheme: str = "stochastic"
    updates: str = "delta"
    downlink_bits: int | None = None
    error_feedback: bool = False
    adaptive_clip: float | None = None
    adaptive_bits: str | None = None
    scenario: str = "hospitals"
    drift: float = 0.0
    monitor: bool = True
    coarser: int = 0

    def __post_init__(self) -> None:
        """Refuse at construction."""
        check_name(self.dataset)
        Skew.parse(self.skew)
        if self.sites < LEAST_SITES:
            raise UsageError(f"{self.sites} sites are too few: take at least {LEAST_SITES}, or a sum hides nobody")
        if not 1 <= self.rounds <= MOST_ROUNDS:
            raise UsageError(f"{self.rounds} rounds cannot be run: choose 1 to {MOST_ROUNDS}")
        low, high = BITS_RANGE
        if not low <= self.bits <= high:
            raise UsageError(f"a grid of {self.bits} bits is not offered: choose {low} to {high}")
        if self.seed < 0:
            raise UsageError(f"seed {self.seed} is negative: choose 0 or more")
        if self.range is not None and not (math.isfinite(self.range) and self.range > 0):
            raise UsageError(f"a grid range of {self.range:g} cannot be used: choose a positive number")
        self._check_dropout()
        schemes.check_scheme(self.scheme)
        scenarios.check_scenario(self.scenario, self.sites)
        scenarios.check_coarser(self.scenario, self.sites, self.coarser)
        check_bits(self.downlink_bits)
        if self.updates not in UPDATES:
            raise UsageError(f"unknown updates {self.updates!r}: choose one of {', '.join(UPDATES)}")
        if not 0 <= self.drift <= 1:
            raise UsageError(f"a drift of {self.drift:g} is no share: choose 0 to 1")
        self._check_adaptive()

    def _check_adaptive(self) -> None:
        """Refuse settings that contradict each other."""
        planner = self.planner(1)
        if planner.by_error is not None and not self.monitor:
            raise UsageError("bits that follow the error need monitoring: leave it on, or give a schedule")
        if self.adaptive_clip is not None and self.range is not None:
            raise UsageError("with an adaptive clip the range follows from the clip: leave --range out")
        if self.most_shift and "dither" in self.scheme:
            raise UsageError("devices of different precision cannot dither: choose stochastic")
        for bits in (self.bits, *(bits for _, bits in planner.stages.stages)) if planner.stages else (self.bits,):
            nesting_levels(bits, max(self.most_shift, 1))

    def _check_dropout(self) -> None:
        if self.dropouts_per_round > (most := self.sites - self.threshold):
            raise UsageError(
                f"{self.dropouts_per_round} of {self.sites} sites cannot vanish: {self.threshold} must stay so that "
                f"the masks can be removed; choose a dropout of at most {most}, or more sites"
            )

    @property
    def threshold(self) -> int:
        """Sites that must stay to the end of a round."""
        return default_threshold(self.sites, "active")

    @property
    def dropouts_per_round(self) -> int:
        """Sites that vanish in every round."""
        if self.dropout is None:
            return min(DEFAULT_DROPOUTS, self.sites - self.threshold)
        return count_dropouts(self.dropout, self.sites)

    def grid_range(self, round_index: int) -> float:
        """Give the grid's range in a round: ``range`` if it was given, else `update_limit`."""
        return update_limit(round_index, self.rounds) if self.range is None else self.range

    @property
    def devices(self) -> Mapping[int, scenarios.Device]:
        """The kind of every site."""
        return scenarios.kinds(self.scenario, self.sites, self.coarser)

    @property
    def most_shift(self) -> int:
        """How many bits the coarsest device is coarser than the finest."""
        return max(device.shift for device in self.devices.values())

    def planner(self, dim: int) -> RoundPlanner:
        """Give the settings of the first round; each round's sums give those of the next."""
        rule = None if self.adaptive_bits is None else parse_bits(self.adaptive_bits)
        clip = None
        if self.adaptive_clip is not None:
            most = schemes.GRADIENT_CLIP if self.updates == "gradient" else update_limit(0, self.rounds) * dim**0.5
            clip = quant.AdaptiveClip(schemes.ADAPTIVE_START * most, quantile=self.adaptive_clip)
        return RoundPlanner(
            self.bits,
            clip,
            rule if isinstance(rule, quant.BitSchedule) else None,
            rule if isinstance(rule, quant.BitsByError) else None,
        )

    def quantization(self, round_index: int, planner: RoundPlanner, dim: int) -> dict[str, object]:
        """Give the quantization of a round, as keys of ``quant.presets``."""
        levels = nesting_levels(planner.bits, max(self.most_shift, 1))  # at least once: an odd number has a zero
        clip = None if planner.clip is None else planner.clip.bound
        if self.updates == "gradient":
            settings = schemes.gradient_settings(self.scheme, levels, dim, clip)
        else:
            settings = schemes.delta_settings(self.scheme, levels, self.grid_range(round_index), dim, clip)
        return settings if self.range is None else settings | {"range": self.range}

    def dropouts(self, round_index: int) -> Mapping[int, str]:
        """Give who vanishes in round ``round_index`` (from 0), and the phase that each does not complete.

        The phases take turns: from round to round, and between the sites that vanish in one round. Sites are
        drawn from the seed, by the losses of the scenario unless ``dropout`` was given. Ids run from 1 to ``sites``.
        """
        lost = None
        if self.dropout is None:
            most = self.sites - self.threshold
            lost = scenarios.losses(self.scenario, self.sites, most, (self.seed, round_index, 1))
        if lost is None:
            rng = np.random.default_rng([self.seed, round_index])
            lost = tuple(int(site) + 1 for site in rng.choice(self.sites, self.dropouts_per_round, replace=False))
        return {site: PHASES[(round_index + place) % len(PHASES)] for place, site in enumerate(sorted(lost))}
