"""DP-SGD across hospitals on top of Opacus: its per-row gradients, one secure round a step.

    engine = DistributedPrivacyEngine(hospital)
    model, optimizer, loader = engine.make_private_with_epsilon(module=model, optimizer=optimizer, data_loader=loader,
        target_epsilon=1.0, target_delta=1e-5, epochs=5, max_grad_norm=1.0, sample_rate=0.05, expected_batch_size=64)

and then train as always. ``Consortium`` runs several hospitals in one process.
"""

from secagg.integrations.opacus.accountant import DistributedAccountant
from secagg.integrations.opacus.consortium import Consortium, InProcessHospital
from secagg.integrations.opacus.engine import DistributedPrivacyEngine, Hospital
from secagg.integrations.opacus.local import make_private_locally
from secagg.integrations.opacus.optimizer import DistributedDPOptimizer
from secagg.integrations.opacus.sampling import PatientLoader, PatientSampler

__all__ = [
    "Consortium",
    "DistributedAccountant",
    "DistributedDPOptimizer",
    "DistributedPrivacyEngine",
    "Hospital",
    "InProcessHospital",
    "PatientLoader",
    "PatientSampler",
    "make_private_locally",
]
