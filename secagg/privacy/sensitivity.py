"""By how much one neighbour can change the integers that are summed, and what a neighbour is.

Everything is said in grid steps of the *released* sum, because the noise is. Bounds are on integers that a site has
checked itself, never on floats.

**Site.** One site's encoded vector is bounded by its codec, whatever goes in: ``CodecFacts.integer_l2_squared``.

**Patient.** A site puts each patient's contribution on a fine grid, replaces it by zero if its squared integer norm
exceeds B, adds the integers exactly, and rounds the site's sum X once to a grid g times coarser with coins that do not
depend on X: floor((X + U) / g), U uniform on 0 .. g - 1 per coordinate. Let neighbours differ by the integer vector D.
For the same coins, coordinate j of the two outputs differs by floor((D_j + U'_j) / g) with U' = (X + U) mod g, which is
uniform whatever X is: a stochastic rounding of D_j / g. (No check looks at the site's sum: one patient could flip it.)
With L = ||D|| / g, the rounded difference has a squared norm of at most

    min((L + sqrt(d))^2,  L^2 + d / 4 + sqrt(2 ln(1 / beta)) (L + sqrt(d) / 2))

the first surely, the second but for a probability beta over the coins (Kairouz, Liu and Steinke 2021, proposition on
conditional rounding), d being the number of coordinates where D is not zero, which is at most ||D||^2. The hockey-stick
divergence is jointly convex, so it is at most the mean over the coins: beta is added to delta, once per release.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from quant import CodecFacts
from secagg.privacy.errors import PrivacyInputError

BETA = 1e-12
"""Failure probability of the rounded norm, per release, unless the caller says otherwise."""


class Unit(StrEnum):
    """Whose presence is hidden."""

    PATIENT = "patient"
    SITE = "site"


class Relation(StrEnum):
    """What neighbours are.

    ADD_REMOVE: one patient's records are there or not; the noise does not depend on it, since sites add it.
    ZERO_OUT: one site's update is replaced by zero while its noise stays (a site that is missing altogether also misses
        its noise, and is seen to be missing).
    REPLACE: one patient's or site's data become somebody else's; twice the distance.
    """

    ADD_REMOVE = "add or remove"
    ZERO_OUT = "zero out"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """How far the released integers of neighbours are apart at most.

    Attributes:
        unit: whose data neighbours differ in.
        relation: how they differ.
        l2_squared: bound on the squared Euclidean distance, grid steps of the released sum, a whole number.
        dim: number of coordinates.
        failure: probability, per release, that the bound is broken; goes to delta.

    Raises:
        PrivacyInputError: a unit and relation that do not go together, or numbers out of range.
    """

    unit: Unit
    relation: Relation
    l2_squared: int
    dim: int
    failure: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no sensitivity."""
        check_relation(self.unit, self.relation)
        if self.l2_squared < 1 or self.dim < 1:
            raise PrivacyInputError("a sensitivity has a squared norm and a dimension of at least 1")
        if not 0 <= self.failure < 1:
            raise PrivacyInputError(f"a failure probability is at least 0 and below 1, not {self.failure!r}")

    @property
    def l2(self) -> float:
        """Euclidean sensitivity in grid steps, rounded up."""
        return math.nextafter(math.sqrt(math.nextafter(float(self.l2_squared), math.inf)), math.inf)

    @property
    def l1(self) -> float:
        """Sum-of-magnitudes sensitivity: at most sqrt(d) l2, and at most l2^2, since the differences are integers."""
        return min(math.nextafter(math.sqrt(self.dim), math.inf) * self.l2, float(self.l2_squared)) * (1 + 2.0**-50)

    @property
    def linf(self) -> int:
        """Largest magnitude of a coordinate, at most the Euclidean norm."""
        return math.isqrt(self.l2_squared)


def of_site(facts: CodecFacts, relation: Relation = Relation.ZERO_OUT) -> Sensitivity:
    """Return the sensitivity of a whole site's encoded update, from what its codec guarantees.

    With an odd number of levels zero is on the grid, so zeroing out moves at most the bound; otherwise zero is encoded
    half a step beside the centre per coordinate. Replacing moves at most twice the bound.

    Raises:
        PrivacyInputError: a codec that bounds no integer norm, or whose sums wrap.
    """
    if facts.integer_l2_squared is None or facts.wraps:
        raise PrivacyInputError(
            "this codec does not bound the norm of its integers: privacy needs clip (an L2 bound) "
            "and a grid that does not wrap"
        )
    bound = facts.integer_l2_squared
    if relation is Relation.REPLACE:
        bound *= 4
    elif facts.levels % 2 == 0:
        bound = math.ceil((math.sqrt(bound) + math.sqrt(facts.encoded_dim) / 2) ** 2 * (1 + 2.0**-40))
    return Sensitivity(unit=Unit.SITE, relation=relation, l2_squared=bound, dim=facts.encoded_dim)


def of_patient(
    l2_squared: int,
    dim: int,
    *,
    relation: Relation = Relation.ADD_REMOVE,
    coarsening: int = 1,
    beta: float = BETA,
) -> Sensitivity:
    """Return the sensitivity of one patient, whose integers on the fine grid were checked to have a norm of at most B.

    Args:
        l2_squared: B, bound on a patient's squared integer norm, fine steps.
        dim: number of coordinates.
        relation: ``ADD_REMOVE`` or ``REPLACE`` (twice the norm before rounding).
        coarsening: g, fine steps per step of the released sum; 1 if sums are not rounded.
        beta: failure probability granted to the rounded norm, per release; 0 takes the sure bound.

    Raises:
        PrivacyInputError: numbers out of range, or another relation.
    """
    if l2_squared < 1 or dim < 1 or coarsening < 1 or not 0 <= beta < 1:
        raise PrivacyInputError("norm, dimension and coarsening are at least 1, and beta is at least 0 and below 1")
    check_relation(Unit.PATIENT, relation)
    fine = l2_squared * (4 if relation is Relation.REPLACE else 1)
    if coarsening == 1:
        return Sensitivity(unit=Unit.PATIENT, relation=relation, l2_squared=fine, dim=dim)
    bound, failure = rounded(fine, min(dim, fine), coarsening, beta)
    return Sensitivity(unit=Unit.PATIENT, relation=relation, l2_squared=bound, dim=dim, failure=failure)


def rounded(l2_squared: int, dim: int, coarsening: int, beta: float) -> tuple[int, float]:
    """Return (bound on the squared norm after coarse rounding, probability that it is broken); see above."""
    length, root = math.sqrt(l2_squared) / coarsening, math.sqrt(dim)
    up = 1 + 2.0**-40
    # Squared norms of integers are integers, so what is after the point of a bound can go.
    sure = math.floor((length + root) ** 2 * up)
    if beta == 0:
        return max(1, sure), 0.0
    likely = math.floor((length**2 + dim / 4 + math.sqrt(-2 * math.log(beta)) * (length + root / 2)) * up)
    return (max(1, likely), beta) if likely < sure else (max(1, sure), 0.0)


def check_relation(unit: Unit, relation: Relation) -> None:
    """Refuse neighbours that the mechanism cannot hide.

    Raises:
        PrivacyInputError: zeroing out a patient, or adding a site.
    """
    if unit is Unit.SITE and relation is Relation.ADD_REMOVE:
        raise PrivacyInputError(
            "who takes part in a round is public, and a site that leaves takes its noise along: "
            "for unit site take relation 'zero out' or 'replace'"
        )
    if unit is Unit.PATIENT and relation is Relation.ZERO_OUT:
        raise PrivacyInputError("for unit patient 'zero out' is the same as 'add or remove'; take that")
