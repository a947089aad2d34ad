"""Differential privacy inside the sum: what noise costs, how much is needed, and who may spend it.

Start with `calibrate` (from a promise to noise) or `release` (from noise to a cost); a `Ledger` keeps what a site has
spent and a `LocalPrivacyPolicy` decides whether it spends more. The README holds the proofs.
"""

from secagg.privacy.calibration import Calibration, Goal, Infeasible, Law, calibrate
from secagg.privacy.errors import PrivacyInputError
from secagg.privacy.mechanism import Claim, Cost, DiscreteGaussianNoise, Noise, Sampling, SkellamNoise, claim, release
from secagg.privacy.sensitivity import Relation, Sensitivity, Unit, of_patient, of_site

__all__ = [
    "Calibration",
    "Claim",
    "Cost",
    "DiscreteGaussianNoise",
    "Goal",
    "Infeasible",
    "Law",
    "Noise",
    "PrivacyInputError",
    "Relation",
    "Sampling",
    "Sensitivity",
    "SkellamNoise",
    "Unit",
    "calibrate",
    "claim",
    "of_patient",
    "of_site",
    "release",
]
