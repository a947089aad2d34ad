"""From a promise and a field width to a round: grid, noise and fields that fit together, or the reason why none do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import quant
from quant.noise.sampler import MAX_TABLE_VARIANCE
from secagg.privacy.calibration import Calibration, Goal, Infeasible, Law, calibrate
from secagg.privacy.errors import PrivacyInputError
from secagg.privacy.mechanism import Claim, claim
from secagg.privacy.patients import FINE_BITS, MAX_SQUARED, rotated_rows
from secagg.privacy.round import RoundPrivacy
from secagg.privacy.sensitivity import Relation, Sensitivity, Unit

MIN_SIGMA = 2.0
"""Least standard deviation of the honest noise, released steps: what ``LocalPrivacyPolicy`` insists on by default."""

MARGIN = 1 + 2.0**-28
"""On the variance: pays for the rounding of costs when a ledger adds them up one by one."""

WASTE = 1.01
"""The chosen grid's mean squared error is at most so many times that of the finest that fits."""

BETA_SHARE = 0.02
"""Part of delta that pays for the coarse rounding's bound, all releases together."""

SIGMAS = 4.0
"""Default range of one site's rotated sum, in deviations of a coordinate if all its patients agreed: 6e-5 saturate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A private round.

    Attributes:
        privacy: for ``RoundConfig(privacy=...)``.
        quantization: for ``RoundConfig(quantization=...)``.
        width: bits of a field, noise included.
        calibration: of the noise, in released steps.
        step: of the released sum, model units.
    """

    privacy: RoundPrivacy
    quantization: dict[str, object]
    width: int
    calibration: Calibration
    step: float

    @property
    def claim(self) -> Claim:
        """What holds after all releases."""
        return self.calibration.claim

    @property
    def sigma(self) -> float:
        """Standard deviation of the honest survivors' noise per coordinate of the sum, model units."""
        return math.sqrt(self.privacy.target) * self.step


def fit(
    goal: Goal,
    *,
    clients: int,
    dim: int,
    clip: float,
    unit: Unit | str = Unit.PATIENT,
    width: int = 16,
    patients: int = 1,
    range: float | None = None,
    rotation: bool | int = True,
    law: Law | str = Law.SKELLAM,
    relation: Relation | None = None,
    beta: float | None = None,
    removable: bool = True,
    levels: int | None = None,
) -> Fitted | Infeasible:
    """Find a grid, and the noise on it, that keep ``goal`` in fields of ``width`` bits with the least error.

    Finer grids need less noise (in model units), because rounding adds less to the sensitivity; but their integers are
    larger, and very large noise is slow to draw. The search is a bisection over the number of levels, for the finest
    that fits, and if its noise is slow, another for the coarsest that is as good up to `WASTE`; what it returns was
    calibrated and checked exactly.

    Args:
        goal: epsilon, delta, releases, ``least_survivors`` (the round's threshold) and colluders; its sampling, too.
        clients: invited sites.
        dim: coordinates of the update.
        clip: C, of one patient or site, model units.
        unit: ``"patient"`` or ``"site"``.
        width: bits of one coordinate's field on the wire: sum of the cohort and noise.
        patients: expected number of patients of the largest site, a *public estimate*: it sets the default range, so
            it matters for accuracy and never for privacy.
        range: of one site's sum per encoded coordinate, model units; beyond it sums saturate, which costs no privacy.
            By default ``SIGMAS`` deviations with rotation, else patients * clip, which nothing exceeds.
        rotation: as in ``quant.presets``.
        law: of the noise.
        relation: what neighbours are; the unit's default if None.
        beta: probability, per release, of a coarse rounding beyond its bound (unit patient); goes to delta. By default
            a fiftieth of delta for all releases together.
        removable: whether excess noise is removed after drop-outs.
        levels: most levels of one site's grid; by default as many as the field and the samplers allow.

    Returns:
        What ``RoundConfig`` takes, or `Infeasible`, which is false, with the reason.

    Raises:
        PrivacyInputError: numbers that make no round.
        quant.ConfigurationError: a width, clip or rotation that makes no codec.
    """
    if beta is None:
        beta = BETA_SHARE * goal.delta / goal.releases
    wanted = _Wanted(
        goal, clients, dim, clip, Unit(unit), width, patients, range, rotation, Law(law), relation, beta, removable
    )
    return wanted.best(quant.grid.MAX_LEVELS - 1 if levels is None else levels)


@dataclass(frozen=True)
class _Wanted:
    """The arguments of `fit`."""

    goal: Goal
    clients: int
    dim: int
    clip: float
    unit: Unit
    width: int
    patients: int
    range: float | None
    rotation: bool | int
    law: Law
    relation: Relation | None
    beta: float
    removable: bool

    def __post_init__(self) -> None:
        if self.patients < 1 or self.clients < self.goal.least_survivors or not 2 <= self.width <= 56:
            raise PrivacyInputError("a fit has patients, at least as many clients as must survive, and 2 to 56 bits")
        if self.unit is Unit.SITE and self.goal.sampling is not None:
            raise PrivacyInputError("sites that all see the schedule are no population: leave the sampling out")

    def best(self, levels: int) -> Fitted | Infeasible:
        if levels < 3:
            raise PrivacyInputError(f"a private grid has at least 3 levels, not {levels}")
        most = ((1 << self.width) - 1) // (2 * self.clients)
        if most < 1:
            return Infeasible(reason=f"{self.width} bits cannot add up three levels of {self.clients} sites")
        roughly = self._ratio()
        if isinstance(roughly, Infeasible):
            return roughly
        low, high = 0, min(most, (levels - 1) // 2, quant.grid.MAX_LEVELS // 2 - 1, self._finest())
        while low < high:
            middle = (low + high + 1) // 2
            if self._fits(middle, roughly * self._sensitivity(middle).l2_squared):
                low = middle
            else:
                high = middle - 1
        half = self._coarsest(low, roughly) if low else 0
        while half:
            found = self._at(half)
            if isinstance(found, Fitted | Infeasible):
                return found
            half -= max(1, half >> 8)
        return Infeasible(
            reason=f"fields of {self.width} bits do not hold {self.clients} sites and the noise for epsilon "
            f"{self.goal.epsilon:g}; take wider fields, a smaller range or fewer releases"
        )

    def _finest(self) -> int:
        """Return the levels from which on released steps would be finer than the patients' fine ones."""
        if self.unit is Unit.SITE:
            return quant.grid.MAX_LEVELS
        codec = self._codec(1)
        step = codec.facts.step * math.sqrt(rotated_rows(codec))
        return max(1, math.floor(step / self.clip * 2.0 ** _fine_bits(codec)))

    def _coarsest(self, finest: int, ratio: float) -> int:
        """Return the fewest levels with noise beyond one table that are as good as ``finest`` up to `WASTE`."""

        def error(half: int) -> float:
            return (variance(half) + self.clients / 4) / half**2

        def variance(half: int) -> float:
            return ratio * self._sensitivity(half).l2_squared

        low, high, most = 1, finest, error(finest) * WASTE
        while low < high:
            middle = (low + high) // 2
            if variance(middle) > MAX_TABLE_VARIANCE and error(middle) <= most:
                high = middle
            else:
                low = middle + 1
        return low

    def _ratio(self) -> float | Infeasible:
        """Variance per squared sensitivity on a very fine grid."""
        fine = Sensitivity(
            unit=self.unit,
            relation=self._relation,
            l2_squared=1 << 40,
            dim=self.dim,
            failure=self.beta if self.unit is Unit.PATIENT else 0.0,
        )
        found = calibrate(self.goal, fine, self.law, max_variance=2.0**70)
        return found if isinstance(found, Infeasible) else found.variance / fine.l2_squared

    @property
    def _relation(self) -> Relation:
        return self.relation or (Relation.ADD_REMOVE if self.unit is Unit.PATIENT else Relation.ZERO_OUT)

    def quantization(self, half: int) -> dict[str, object]:
        """Give the preset keys for 2 half + 1 levels."""
        keys: dict[str, object] = {
            "levels": 2 * half + 1,
            "range": self._range(),
            "clip": self.clip,
            "rounding": "stochastic" if self.unit is Unit.PATIENT or 2 * half >= 2**24 else "conditional",
        }
        return keys | ({"rotation": self.rotation} if self.rotation else {})

    def _codec(self, half: int) -> quant.UpdateCodec:
        return quant.from_config(self.quantization(half), self.dim)

    def _range(self) -> float:
        if self.range is not None:
            return self.range
        whole = self.patients * self.clip
        if not self.rotation:
            return whole
        keys = {"clip": self.clip, "range": whole, "rotation": self.rotation}
        return min(whole, SIGMAS * whole / math.sqrt(quant.from_config(keys, self.dim).facts.encoded_dim))

    def _privacy(self, half: int, target: Fraction) -> RoundPrivacy:
        codec, goal = self._codec(half), self.goal
        coarsening, bound = 1, 0
        if self.unit is Unit.PATIENT:
            coarsening, bound = _fine(codec, self.clip)
        return RoundPrivacy(
            unit=self.unit,
            relation=self._relation,
            law=self.law,
            target=target,
            least_survivors=goal.least_survivors,
            colluders=goal.colluders,
            epsilon=goal.epsilon,
            delta=goal.delta,
            releases=goal.releases,
            clip=self.clip,
            coarsening=coarsening,
            l2_squared=bound,
            beta=self.beta if self.unit is Unit.PATIENT else 0.0,
            sampling_rate=1.0 if goal.sampling is None else goal.sampling.rate,
            removable=self.removable,
        )

    def _sensitivity(self, half: int) -> Sensitivity:
        terms = self._privacy(half, Fraction(1)).terms(self._codec(half), self.clients, self.goal.least_survivors)
        return terms.sensitivity()

    def _fits(self, half: int, variance: float) -> bool:
        try:
            return self._width(half, max(variance, MIN_SIGMA**2)) <= self.width
        except quant.ConfigurationError:  # more noise than samplers draw
            return False

    def _width(self, half: int, variance: float) -> int:
        """Bits of a field that holds the sums of all sites, with noise of so much target variance."""
        noise = self._privacy(half, Fraction(variance)).reach(self.clients, self._codec(half).facts.encoded_dim)
        return quant.field_width(2 * half + 1, self.clients, noise=noise)

    def _at(self, half: int) -> Fitted | Infeasible | None:
        """Calibrate exactly; None if it does not fit."""
        sensitivity = self._sensitivity(half)
        found = calibrate(self.goal, sensitivity, self.law, max_variance=2.0**70)
        if isinstance(found, Infeasible):
            return found
        honest = self.goal.least_survivors - self.goal.colluders
        share = max(found.variance, MIN_SIGMA**2) * MARGIN / honest
        while self._fits(half, share * honest):
            privacy = self._privacy(half, Fraction(share) * honest)
            terms = privacy.terms(self._codec(half), self.clients, self.goal.least_survivors)
            try:  # parts of discrete Gaussians cost a little more than one, and none may be too small
                cost = terms.cost()
            except PrivacyInputError:
                share *= 2
                continue
            promise = claim(cost.times(self.goal.releases), sensitivity, self.goal.delta)
            if promise.epsilon <= self.goal.epsilon:
                kept = Calibration(law=self.law, variance=share * honest, share=share, cost=cost, claim=promise)
                return Fitted(
                    privacy=privacy,
                    quantization=self.quantization(half),
                    width=self._width(half, share * honest),
                    calibration=kept,
                    step=terms.step,
                )
            share *= 1 + 2.0**-9
        return None


def _fine(codec: quant.UpdateCodec, clip: float) -> tuple[int, int]:
    """Return (g, B^2): a power of two that cuts the clip into about 2^FINE_BITS fine steps, fewer if 64 bits ask so."""
    step = codec.facts.step * math.sqrt(rotated_rows(codec))
    coarsening = 1 << max(0, math.ceil(math.log2(step / clip)) + _fine_bits(codec))
    return coarsening, math.floor((clip / (step / coarsening)) ** 2)


def _fine_bits(codec: quant.UpdateCodec) -> int:
    """Return how many bits of the clip the patients' fine grid keeps."""
    return min(FINE_BITS, (MAX_SQUARED.bit_length() - 3 - codec.facts.dim.bit_length()) // 2)
