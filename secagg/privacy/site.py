"""A site's own side of a private round: its ledger, its policy, and the noise that it draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols import Entropy, Secret
from protocols.primitives.prg import AesCtrStream
from quant.noise import Sharing, Skellam, draw
from quant.noise.laws import MAX_SKELLAM_VARIANCE
from secagg.privacy.errors import LedgerError
from secagg.privacy.ledger import Budget, Ledger, Permit
from secagg.privacy.policy import LocalPrivacyPolicy, PrivacyTerms, Review
from secagg.privacy.sensitivity import Relation, Unit


@dataclass(frozen=True, slots=True)
class SitePrivacy:
    """What decides at a site whether its data are used: nothing of it comes from the server.

    Args:
        ledger: what the site has spent; see ``Ledger``.
        policy: what the site insists on, from its own view of the roster (``max_survivors``) and of the agreement.
        cohort: the dataset version that is used; its budget was opened in the ledger by the site.
    """

    ledger: Ledger
    policy: LocalPrivacyPolicy
    cohort: str

    @classmethod
    def rehearsal(cls, terms: PrivacyTerms, cohort: str = "rehearsal", *, sampled: bool = False) -> SitePrivacy:
        """Give a site that believes in everybody, with a budget in memory of exactly what the terms promise.

        For rounds in one process. A real site keeps its ledger on disk, and states its policy and budget itself.

        Args:
            terms: of the round.
            cohort: name of the dataset version.
            sampled: whether the caller draws patients as the terms say; otherwise terms that count on it are refused.
        """
        ledger = Ledger(":memory:")
        unit, relation = Unit(terms.unit), Relation(terms.relation)
        ledger.open_cohort(cohort, Budget(epsilon=terms.epsilon, delta=terms.delta, unit=unit, relation=relation))
        policy = LocalPrivacyPolicy(
            max_survivors=terms.clients,
            clip=terms.clip,
            max_delta=max(terms.delta, 1e-5),
            sampling_rate=terms.sampling_rate if sampled else 1.0,
        )
        return cls(ledger, policy, cohort)

    def review(self, terms: PrivacyTerms) -> Review:
        """Recompute everything, and whether the budget has room for one release more.

        Before a study, ``policy.review`` tells whether there is room for all of it.

        Raises:
            PrivacyRefused: every broken rule, P1 to P11.
            LedgerError: a cohort without a budget.
        """
        return self.policy.review(terms, self.ledger, self.cohort, upcoming=1)

    def charge(self, terms: PrivacyTerms, release: str, digest: bytes) -> Permit:
        """Charge one release before data is used; the permit is on disk when this returns.

        Raises:
            PrivacyRefused: the terms break a rule.
            BudgetExhausted: the budget ends before this release.
            LedgerError: this release was charged before. Its bytes may be sent again, from the site's journal; but new
                noise on the same data would be a second release: two of them average the noise away.
        """
        known = self.ledger.charged(self.cohort, release)
        permit = None if known else self.policy.charge(terms, self.ledger, self.cohort, release, digest)
        if permit is None or permit.repeated:
            raise LedgerError(
                f"release {release!r} of cohort {self.cohort!r} was charged before: send the very bytes again that "
                "were sent then, or sit this round out; new noise on the same data would be another release"
            )
        return permit


def draw_noise(sharing: Sharing, count: int, entropy: Entropy, seeds: Sequence[Secret] = ()) -> NDArray[np.int64]:
    """Draw all noise that one site adds: int64 of shape (count,). Call it before data is touched.

    Args:
        sharing: how the sites share the noise.
        count: encoded coordinates.
        entropy: for the base, which nobody else ever learns.
        seeds: of the removable components 1 .. n - m; none if nothing is removed, then the site draws all itself.

    Raises:
        quant.InputError: not one seed for each component.
    """
    base = AesCtrStream(entropy.take(32, "noise"))
    if not seeds and sharing.family is Skellam and sharing.share <= MAX_SKELLAM_VARIANCE:
        return draw(Skellam(sharing.share), count, base)  # closed under sums: the same law in one draw
    if not seeds:
        keys = [entropy.take(32, "noise") for _ in sharing.components]
        return sharing.draw_share(count, base, [AesCtrStream(key) for key in keys])
    return sharing.draw_share(count, base, [AesCtrStream(seed.reveal()) for seed in seeds])


def draw_excess(sharing: Sharing, count: int, revealed: Mapping[int, Sequence[Secret]]) -> NDArray[np.int64]:
    """Draw again what is to be removed from a sum: int64 of shape (count,).

    Args:
        sharing: how the sites share the noise.
        count: encoded coordinates.
        revealed: survivor -> the seeds of its components D + 1 .. n - m, in this order.

    Raises:
        quant.InputError: too few survivors, or not exactly the removable components of each.
    """
    numbers = sharing.removable(len(revealed))
    streams = {
        survivor: {number: AesCtrStream(seed.reveal()) for number, seed in zip(numbers, seeds, strict=True)}
        for survivor, seeds in revealed.items()
    }
    return sharing.draw_excess(count, streams)
