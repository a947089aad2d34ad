"""The site decides: before any data is used it recomputes what it is asked to promise, and refuses what it cannot.

A coordinator proposes `PrivacyTerms`. Nothing in them is believed: epsilon is computed again from the share of noise
that this site will add itself, the survivors that it thinks possible, and its own ledger. Refusals name every broken
rule:

    P1  survivors that this site does not believe in: a huge promised cohort makes its share of noise tiny
    P2  a threshold below the survivors that the noise was sized for: fewer could unmask a sum with too little noise
    P3  fewer colluders than this site insists on
    P4  a grid too coarse for the noise, or for claims about it
    P5  a clip other than the one agreed on
    P6  an epsilon or delta that the terms do not keep
    P7  more than is left of the budget
    P8  another unit or neighbouring relation than the budget protects
    P9  bounds that may fail too often, or a patient norm larger than the clip needs
    P10 sampling that amplifies nothing, or that this site does not do
    P11 noise of an unknown law
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from quant import QuantError
from quant.noise import Sharing
from secagg.privacy.calibration import Law
from secagg.privacy.errors import PrivacyInputError, PrivacyRefused
from secagg.privacy.ledger import Budget, Charge, Ledger, Permit
from secagg.privacy.mechanism import Claim, Cost, Sampling, claim
from secagg.privacy.sensitivity import Relation, Sensitivity, Unit, of_patient
from secagg.privacy.shared import FAMILIES, release_shared

Reason = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyTerms:
    """What a coordinator proposes, in numbers that a site can check.

    Attributes:
        unit: ``"patient"`` or ``"site"``.
        relation: what neighbours are.
        epsilon: promised after all releases.
        delta: of the promise.
        releases: rounds, attempts included.
        law: ``"skellam"`` or ``"discrete gaussian"``.
        share: variance that each surviving site's noise is left with, squared steps of the released sum, when only
            ``least_survivors`` survive.
        clients: invited sites.
        threshold: fewest sites that can unmask a sum.
        least_survivors: n_min, the survivors that the noise is sized for.
        colluders: c, members assumed to add no noise.
        clip: Euclidean norm of one contribution, model units.
        step: step of the released sum, model units.
        coarsening: fine steps per step of the released sum (unit patient).
        l2_squared: largest squared integer norm of one contribution: in fine steps for unit patient, where each site
            checks it, in released steps for unit site.
        dim: number of encoded coordinates.
        beta: failure probability of the rounded norm, per release.
        sampling_rate: rate of secret, independent sampling of patients; 1 for everybody.
        sampling_secret: whether the sampling is independent and secret.
    """

    unit: str
    relation: str
    epsilon: float
    delta: float
    releases: int
    law: str
    share: float
    clients: int
    threshold: int
    least_survivors: int
    colluders: int
    clip: float
    step: float
    l2_squared: int
    dim: int
    coarsening: int = 1
    beta: float = 0.0
    sampling_rate: float = 1.0
    sampling_secret: bool = False

    @property
    def honest(self) -> int:
        """Survivors whose noise counts."""
        return self.least_survivors - self.colluders

    def sensitivity(self) -> Sensitivity:
        """Return the sensitivity of the released integers.

        Raises:
            PrivacyInputError: numbers that make none.
        """
        unit, relation = Unit(self.unit), Relation(self.relation)
        if unit is Unit.PATIENT:
            return of_patient(self.l2_squared, self.dim, relation=relation, coarsening=self.coarsening, beta=self.beta)
        bound = self.l2_squared * (4 if relation is Relation.REPLACE else 1)
        return Sensitivity(unit=unit, relation=relation, l2_squared=bound, dim=self.dim)

    def cost(self) -> Cost:
        """Return the cost of one release, from the noise that honest sites are left with after any tolerated drop-outs.

        Raises:
            PrivacyInputError: terms for which no claim is made.
        """
        sampling = None
        if self.sampling_rate != 1:
            sampling = Sampling(rate=self.sampling_rate, independent=self.sampling_secret, secret=self.sampling_secret)
        least, colluders = self.least_survivors, self.colluders
        try:
            family = FAMILIES[Law(self.law)]
            sharing = Sharing(Fraction(self.share) * self.honest, self.clients, least, colluders, family)
        except QuantError as error:
            raise PrivacyInputError(str(error)) from error
        return release_shared(sharing, self.sensitivity(), sampling)


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What a site found when it did the sums itself.

    Attributes:
        cost: of one release.
        claim: after all proposed releases, these alone.
        before: epsilon of the cohort so far.
        after: epsilon of the cohort once all upcoming releases are charged.
        budget: of the cohort.
    """

    cost: Cost
    claim: Claim
    before: float
    after: float
    budget: Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPrivacyPolicy:
    """What this site insists on, whatever is proposed.

    Attributes:
        max_survivors: the most survivors it believes in: sites that it knows to be real and independent.
        clip: the clip that was agreed on; None accepts the first proposal's and holds no later one to it.
        min_colluders: fewest colluders that terms must assume; at least 1.
        min_sigma: least standard deviation of the honest noise, in steps of the released sum. Below about 2 a grid
            wastes accuracy, and nothing is claimed below 1.
        max_delta: largest delta of a promise; well below one over the number of patients.
        max_failure: largest share of delta that bounds that may fail may use.
        sampling_rate: probability with which this site's own code draws each patient for a release, by secret and
            independent coins; 1 for everybody. Nothing in a round draws patients, so terms that count on a smaller rate
            would be cheaper than what happens.

    Raises:
        PrivacyInputError: a policy that protects nothing.
    """

    max_survivors: int
    clip: float | None = None
    min_colluders: int = 1
    min_sigma: float = 2.0
    max_delta: float = 1e-5
    max_failure: float = 0.1
    sampling_rate: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no policy."""
        if self.min_colluders < 1 or self.max_survivors <= self.min_colluders:
            raise PrivacyInputError("a policy assumes at least one colluder, and believes in more survivors than those")
        if self.min_sigma < 1 or not 0 < self.max_delta < 1 or not 0 <= self.max_failure < 1:
            raise PrivacyInputError("min_sigma is at least 1, max_delta and max_failure are fractions")
        if not 0 < self.sampling_rate <= 1:
            raise PrivacyInputError("a sampling rate is above 0 and at most 1")

    def review(self, terms: PrivacyTerms, ledger: Ledger, cohort: str, upcoming: int | None = None) -> Review:
        """Recompute what the terms cost and whether this site takes part; uses no data and writes nothing.

        Args:
            terms: as proposed.
            ledger: of this site.
            cohort: dataset version that would be used.
            upcoming: releases under these terms that the ledger does not hold yet, for the budget (P7); by default all
                that the terms cover, as before a study. The promise (P6) is always checked for all of them.

        Raises:
            PrivacyRefused: every rule that is broken, with its reason.
            LedgerError: a cohort without a budget.
        """
        budget = ledger.budget(cohort)
        reasons = [*self._structure(terms), *_protects(terms, budget)]
        if reasons:
            raise PrivacyRefused(tuple(reasons))
        try:
            cost = terms.cost()
        except PrivacyInputError as error:
            raise PrivacyRefused((("P4", str(error)),)) from error
        spent = ledger.spent(cohort)
        planned = cost.times(terms.releases)
        review = Review(
            cost=cost,
            claim=claim(planned, terms.sensitivity(), terms.delta),
            before=spent.epsilon(budget.delta)[0],
            after=(spent + (planned if upcoming is None else cost.times(upcoming))).epsilon(budget.delta)[0],
            budget=budget,
        )
        if reasons := [*self._promise(terms, review)]:
            raise PrivacyRefused(tuple(reasons))
        return review

    def charge(self, terms: PrivacyTerms, ledger: Ledger, cohort: str, release_id: str, digest: bytes) -> Permit:
        """Review once more and charge one release; call it before any data is used, and release only with the permit.

        Args:
            terms: as proposed.
            ledger: of this site.
            cohort: dataset version that is used.
            release_id: study, round and attempt.
            digest: hash of everything that was agreed on.

        Raises:
            PrivacyRefused: the terms break a rule.
            BudgetExhausted: the budget ends before this release.
        """
        one = self.review(terms, ledger, cohort, upcoming=1)
        unit, relation = Unit(terms.unit), Relation(terms.relation)
        charge = Charge(cohort=cohort, release=release_id, cost=one.cost, unit=unit, relation=relation, terms=digest)
        return ledger.charge(charge)

    def _structure(self, terms: PrivacyTerms) -> Iterator[Reason]:
        """Rules that need no accountant."""
        if terms.least_survivors > min(self.max_survivors, terms.clients):
            yield (
                "P1",
                f"the noise counts on {terms.least_survivors} survivors; this site believes in at most "
                f"{min(self.max_survivors, terms.clients)}, so its share would be too small",
            )
        if terms.threshold < terms.least_survivors:
            yield (
                "P2",
                f"{terms.threshold} sites could unmask a sum whose noise counts on {terms.least_survivors}; "
                "the threshold must be at least that",
            )
        if terms.colluders < self.min_colluders or terms.honest < 1:
            yield (
                "P3",
                f"the terms assume {terms.colluders} colluders among {terms.least_survivors}; this site insists on "
                f"{self.min_colluders}, and on one honest site beside them",
            )
        if not (terms.share > 0 and math.sqrt(terms.share * max(terms.honest, 1)) >= self.min_sigma):
            yield "P4", f"noise of less than {self.min_sigma:g} grid steps: the grid is too coarse for its noise"
        if self.clip is not None and terms.clip != self.clip:
            yield "P5", f"the clip is {terms.clip:g}, agreed was {self.clip:g}"
        if terms.law not in set(Law):
            yield "P11", f"noise of law {terms.law!r} is unknown; known are {', '.join(Law)}"
        if not (0 < terms.delta <= self.max_delta) or terms.releases < 1 or not terms.epsilon > 0:
            yield "P6", f"a promise at delta {terms.delta:g} is none; this site wants at most {self.max_delta:g}"
        if terms.beta * terms.releases > self.max_failure * terms.delta or not terms.beta >= 0:
            yield "P9", f"bounds may fail with probability {terms.beta * terms.releases:.3g}, too much of delta"
        if not (terms.clip > 0 and terms.step > 0 and terms.coarsening >= 1 and terms.dim >= 1) or (
            terms.l2_squared < 1 or terms.l2_squared > _roundest(terms)
        ):
            yield (
                "P9",
                f"a squared integer norm of {terms.l2_squared} does not go with clip {terms.clip:g} on this grid",
            )
        if terms.sampling_rate != 1 and not (terms.sampling_secret and 0 < terms.sampling_rate < 1):
            yield "P10", "sampling that is not secret and independent amplifies nothing"
        if not terms.sampling_rate >= self.sampling_rate:
            yield (
                "P10",
                f"the cost counts on each patient taking part with probability {terms.sampling_rate:g}; here it is "
                f"{self.sampling_rate:g}",
            )

    def _promise(self, terms: PrivacyTerms, review: Review) -> Iterator[Reason]:
        """Rules that need the sums."""
        if review.claim.epsilon > terms.epsilon * (1 + 1e-9):
            yield (
                "P6",
                f"the terms promise epsilon {terms.epsilon:g}; by this site's own sums they keep "
                f"{review.claim.epsilon:.6g}",
            )
        if review.after > review.budget.epsilon:
            yield (
                "P7",
                f"the budget is epsilon {review.budget.epsilon:g}: {review.before:.6g} is spent, and these releases "
                f"would make it {review.after:.6g}",
            )


def _protects(terms: PrivacyTerms, budget: Budget) -> Iterator[Reason]:
    if (terms.unit, terms.relation) != (budget.unit.value, budget.relation.value):
        yield (
            "P8",
            f"the terms protect {terms.unit} ({terms.relation}); "
            f"this budget protects {budget.unit} ({budget.relation})",
        )


def _roundest(terms: PrivacyTerms) -> float:
    """Largest squared norm that rounding a clipped contribution up in every coordinate can give: more is a lie."""
    fine = terms.step / terms.coarsening
    return (terms.clip / fine + math.sqrt(terms.dim)) ** 2 * (1 + 2.0**-10)  # rotations lengthen by float error
