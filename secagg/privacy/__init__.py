"""Differential privacy inside the sum: what noise costs, how much is needed, and who may spend it.

Start with `calibrate` (from a promise to noise) or `release` (from noise to a cost); a `Ledger` keeps what a site has
spent and a `LocalPrivacyPolicy` decides whether it spends more. The README holds the proofs.
"""

from secagg.privacy.calibration import Calibration, Goal, Infeasible, Law, calibrate
from secagg.privacy.errors import BudgetExhausted, LedgerError, PrivacyInputError, PrivacyRefused
from secagg.privacy.fit import Fitted, fit
from secagg.privacy.ledger import Budget, Charge, Ledger, Permit
from secagg.privacy.mechanism import Claim, Cost, DiscreteGaussianNoise, Noise, Sampling, SkellamNoise, claim, release
from secagg.privacy.patients import PatientUpdates
from secagg.privacy.policy import LocalPrivacyPolicy, PrivacyTerms, Review
from secagg.privacy.receipts import Countersigned, countersign, issue, raise_to
from secagg.privacy.round import NoiseLevel, RoundPrivacy
from secagg.privacy.sensitivity import Relation, Sensitivity, Unit, of_patient, of_site
from secagg.privacy.shared import honest_noise, release_shared, sharing_of
from secagg.privacy.site import SitePrivacy

__all__ = [
    "Budget",
    "BudgetExhausted",
    "Calibration",
    "Charge",
    "Claim",
    "Cost",
    "Countersigned",
    "DiscreteGaussianNoise",
    "Fitted",
    "Goal",
    "Infeasible",
    "Law",
    "Ledger",
    "LedgerError",
    "LocalPrivacyPolicy",
    "Noise",
    "NoiseLevel",
    "PatientUpdates",
    "Permit",
    "PrivacyInputError",
    "PrivacyRefused",
    "PrivacyTerms",
    "Relation",
    "Review",
    "RoundPrivacy",
    "Sampling",
    "Sensitivity",
    "SitePrivacy",
    "SkellamNoise",
    "Unit",
    "calibrate",
    "claim",
    "countersign",
    "fit",
    "honest_noise",
    "issue",
    "of_patient",
    "of_site",
    "raise_to",
    "release",
    "release_shared",
    "sharing_of",
]
