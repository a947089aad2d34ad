"""What the sites of a private round agree on: `RoundPrivacy`, public, hashable, and bound into the round's task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import quant
from quant.noise import FAILURE, Sharing, reach
from secagg.privacy.calibration import Law
from secagg.privacy.errors import PrivacyInputError
from secagg.privacy.patients import PatientGrid, patient_grid
from secagg.privacy.policy import PrivacyTerms
from secagg.privacy.sensitivity import Relation, Unit, check_relation, of_site
from secagg.privacy.shared import FAMILIES


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPrivacy:
    """How a round is private. Every number is public; a site believes none of them (see ``PrivacyTerms``).

    Grids, clip and rotation of the round are those of its ``quantization``. For unit patient the quantization's
    ``clip`` is one patient's, and its ``range`` that of the *sum* of one site.

    Attributes:
        unit: whose presence is hidden: ``"patient"`` or ``"site"``.
        relation: what neighbours are; by default add or remove (patient), zero out (site).
        law: of the noise.
        target: V, the variance of the honest survivors' summed noise per encoded coordinate, squared steps of the
            released sum (for the discrete Gaussian: its parameter sigma^2); exact.
        least_survivors: n_min, which the noise is sized for: the round's threshold (``RoundParams.least_survivors``).
        colluders: c >= 1, members assumed to add no noise.
        epsilon: promised after all releases.
        delta: of the promise.
        releases: rounds that the promise covers.
        clip: C, Euclidean norm of one patient's or site's contribution, model units.
        coarsening: g, fine steps per released step (unit patient); a power of two.
        l2_squared: B^2, largest squared integer norm of one patient's vector, fine steps, checked by the site before
            the rotation (unit patient).
        beta: probability, per release, that the coarse rounding moves further than accounted for (unit patient).
        sampling_rate: probability with which every patient takes part, by an independent, secret coin of the site.
        removable: whether the noise in excess of the target is removed after fewer drop-outs than are tolerated.

    Raises:
        PrivacyInputError: numbers that make no private round.
    """

    unit: Unit
    relation: Relation | None = None
    law: Law = Law.SKELLAM
    target: Fraction
    least_survivors: int
    colluders: int = 1
    epsilon: float
    delta: float
    releases: int
    clip: float
    coarsening: int = 1
    l2_squared: int = 0
    beta: float = 0.0
    sampling_rate: float = 1.0
    removable: bool = True

    def __post_init__(self) -> None:
        """Refuse what is no private round."""
        try:
            set_(self, "unit", Unit(self.unit))
            set_(self, "relation", Relation(self.neighbours))
            set_(self, "law", Law(self.law))
            set_(self, "target", Fraction(self.target))
            for name in ("epsilon", "delta", "clip", "beta", "sampling_rate"):  # 1 and 1.0 are one round
                set_(self, name, float(getattr(self, name)))
        except (ValueError, TypeError, ZeroDivisionError, OverflowError) as error:
            raise PrivacyInputError(f"no private round: {error}") from error
        for name in ("least_survivors", "colluders", "releases", "coarsening", "l2_squared"):
            if type(getattr(self, name)) is not int:
                raise PrivacyInputError(f"{name} is a whole number, not {getattr(self, name)!r}")
        if type(self.removable) is not bool:
            raise PrivacyInputError(f"removable is true or false, not {self.removable!r}")
        check_relation(self.unit, self.neighbours)
        if self.target <= 0 or self.colluders < 1 or self.least_survivors <= self.colluders:
            raise PrivacyInputError(
                "noise has a positive variance, and more survivors than colluders (at least 1) must add it"
            )
        promised = 0 < self.epsilon < math.inf and 0 < self.delta < 1 and self.releases >= 1
        if not (promised and 0 < self.clip < math.inf):
            raise PrivacyInputError("a promise has epsilon > 0, 0 < delta < 1, at least one release, and a clip")
        if not 0 <= self.beta < 1 or not 0 < self.sampling_rate <= 1:
            raise PrivacyInputError("beta is at least 0 and below 1, a sampling rate above 0 and at most 1")
        patient = self.unit is Unit.PATIENT
        if patient != (self.l2_squared >= 1) or (not patient and self.coarsening != 1):
            raise PrivacyInputError("unit patient states l2_squared and coarsening, unit site neither")
        if self.coarsening < 1 or self.coarsening & (self.coarsening - 1):
            raise PrivacyInputError(f"coarsening is a power of two, not {self.coarsening}")

    @property
    def neighbours(self) -> Relation:
        """What neighbours are."""
        default = Relation.ADD_REMOVE if self.unit is Unit.PATIENT else Relation.ZERO_OUT
        return self.relation or default

    def sharing(self, clients: int) -> Sharing:
        """Return how ``clients`` sites share the noise.

        Raises:
            quant.ConfigurationError: fewer clients than must survive, or parts that no sampler draws.
        """
        return Sharing(self.target, clients, self.least_survivors, self.colluders, FAMILIES[self.law])

    def components(self, clients: int) -> int:
        """Return K, how many removable components of noise every site adds."""
        return clients - self.least_survivors if self.removable else 0

    def reach(self, clients: int, coordinates: int, failure: Fraction = FAILURE) -> int:
        """Bound the noise in a released sum, steps: what fields have room for, whoever of those tolerated drops out.

        Any of ``coordinates`` is beyond with probability at most ``failure``, 2^-40. Noise that is removed needs no
        room: packing is linear modulo 2^lane_bits, so the excess may wrap, and is subtracted, in that ring; a field has
        to hold only what is left. That is V s / (s - c) for s survivors, the most for the fewest.
        """
        sharing = self.sharing(clients)
        if not self.removable:
            return sharing.reach(coordinates, failure)
        return reach(sharing.family, sharing.total(self.least_survivors), coordinates, failure)

    def grid(self, codec: quant.UpdateCodec) -> PatientGrid:
        """Return the grids of a round of unit patient.

        Raises:
            PrivacyInputError: unit site, or a codec that does not go with it.
        """
        if self.unit is not Unit.PATIENT:
            raise PrivacyInputError("unit site has no fine grid for patients")
        return patient_grid(codec, clip=self.clip, l2_squared=self.l2_squared, coarsening=self.coarsening)

    def terms(self, codec: quant.UpdateCodec, clients: int, threshold: int) -> PrivacyTerms:
        """Return the terms that a site reviews, recomputed from the round's own codec, cohort and threshold.

        Args:
            codec: of the round.
            clients: invited sites.
            threshold: fewest sites that can unmask a sum.

        Raises:
            PrivacyInputError: a codec that bounds no norm, or that does not go with unit and clip.
        """
        facts = codec.facts
        patient = self.unit is Unit.PATIENT
        bound = self.l2_squared * self.grid(codec).rows if patient else site_bound(codec, self.clip)
        share = self.target / (self.least_survivors - self.colluders)
        below = float(share) if Fraction(float(share)) <= share else math.nextafter(float(share), 0.0)
        return PrivacyTerms(
            unit=self.unit.value,
            relation=self.neighbours.value,
            epsilon=self.epsilon,
            delta=self.delta,
            releases=self.releases,
            law=self.law.value,
            share=below,
            clients=clients,
            threshold=threshold,
            least_survivors=self.least_survivors,
            colluders=self.colluders,
            clip=self.clip,
            step=facts.step,
            coarsening=self.coarsening,
            l2_squared=bound,
            dim=facts.encoded_dim,
            beta=self.beta,
            sampling_rate=self.sampling_rate,
            sampling_secret=self.sampling_rate != 1,
        )

    def expected_noise(self, survivors: int, clients: int, step: float) -> NoiseLevel:
        """Return how much noise is in a released sum of ``survivors`` of ``clients`` sites.

        Args:
            survivors: sites in the sum.
            clients: invited sites.
            step: of the released sum, model units (``codec.facts.step``).

        Raises:
            quant.InputError: fewer survivors than the noise was sized for, or more than clients.
        """
        sharing = self.sharing(clients)
        each = sharing.residual(survivors)  # refuses too few survivors
        if not self.removable:
            each = sharing.share
        return NoiseLevel(
            total=math.sqrt(survivors * each) * step,
            honest=math.sqrt((survivors - self.colluders) * each) * step,
            target=math.sqrt(self.target) * step,
            dropped=clients - survivors,
        )

    def config(self) -> dict[str, object]:
        """Give the canonical, JSON-able description; `from_config` reads it back. The target is ``"p/q"``."""
        described = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {
            name: str(value.value) for name, value in described.items() if isinstance(value, Unit | Relation | Law)
        }
        return described | plain | {"target": str(self.target)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RoundPrivacy:
        """Read what `config` wrote.

        Raises:
            PrivacyInputError: other keys, or values that make no private round.
        """
        if set(config) != {field.name for field in fields(cls)}:
            raise PrivacyInputError(f"a private round is described by {', '.join(field.name for field in fields(cls))}")
        return cls(**dict(config))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseLevel:
    """Noise in one released sum, standard deviations per encoded coordinate, model units.

    A rotation keeps it: the same holds for the coordinates of the decoded sum.

    Attributes:
        total: of all survivors' noise, which is what the sum suffers from.
        honest: of the honest survivors' noise, if as many collude as are assumed; what protects.
        target: what was promised to protect; ``honest`` is never below it.
        dropped: D, invited sites that are not in the sum.
    """

    total: float
    honest: float
    target: float
    dropped: int


def site_bound(codec: quant.UpdateCodec, clip: float) -> int:
    """Return the largest squared norm of one site's integers around zero, released steps (unit site).

    Raises:
        PrivacyInputError: a codec that bounds none, or with another clip, or without a zero.
    """
    if codec.facts.levels % 2 == 0:
        raise PrivacyInputError("a private round needs a zero on its grid: take an odd number of levels")
    if codec.config().get("clip") != clip:
        raise PrivacyInputError(f"the promise is made for clip {clip:g}: give the quantization the same clip")
    return of_site(codec.facts).l2_squared


set_ = object.__setattr__
