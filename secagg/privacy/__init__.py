"""Differential privacy inside the sum: what noise costs, how much is needed, and who may spend it.

Start with `calibrate` (from a promise to noise) or `release` (from noise to a cost); a `Ledger` keeps what a site has
spent and a `LocalPrivacyPolicy` decides whether it spends more. The README holds the proofs.
"""

from secagg.privacy.calibration import Calibration, Goal, Infeasible, Law, calibrate
from secagg.privacy.errors import BudgetExhausted, LedgerError, PrivacyInputError, PrivacyRefused
from secagg.privacy.ledger import Budget, Charge, Ledger, Permit
from secagg.privacy.mechanism import Claim, Cost, DiscreteGaussianNoise, Noise, Sampling, SkellamNoise, claim, release
from secagg.privacy.policy import LocalPrivacyPolicy, PrivacyTerms, Review
from secagg.privacy.receipts import Countersigned, countersign, issue, raise_to
from secagg.privacy.sensitivity import Relation, Sensitivity, Unit, of_patient, of_site
from secagg.privacy.shared import honest_noise, release_shared, sharing_of

__all__ = [
    "Budget",
    "BudgetExhausted",
    "Calibration",
    "Charge",
    "Claim",
    "Cost",
    "Countersigned",
    "DiscreteGaussianNoise",
    "Goal",
    "Infeasible",
    "Law",
    "Ledger",
    "LedgerError",
    "LocalPrivacyPolicy",
    "Noise",
    "Permit",
    "PrivacyInputError",
    "PrivacyRefused",
    "PrivacyTerms",
    "Relation",
    "Review",
    "Sampling",
    "Sensitivity",
    "SkellamNoise",
    "Unit",
    "calibrate",
    "claim",
    "countersign",
    "honest_noise",
    "issue",
    "of_patient",
    "of_site",
    "raise_to",
    "release",
    "release_shared",
    "sharing_of",
]
