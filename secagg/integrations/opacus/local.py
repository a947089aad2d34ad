"""Plain DP-SGD by Opacus inside one hospital, for comparison: what noise costs that each hospital adds alone."""

from __future__ import annotations

import warnings
from typing import Any

from opacus import PrivacyEngine
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from secagg.integrations.opacus.accountant import MECHANISM


def make_private_locally(
    *,
    module: nn.Module,
    optimizer: Optimizer,
    data_loader: DataLoader[Any],
    target_epsilon: float,
    target_delta: float,
    epochs: int,
    max_grad_norm: float,
    accountant: str = "prv",
) -> tuple[Any, Any, Any, PrivacyEngine]:
    """Return what ``opacus.PrivacyEngine.make_private_with_epsilon`` returns, and its engine.

    Every row is a patient, the noise is Opacus's own (floats of torch's generator), and nothing is summed securely:
    averaging the models of such hospitals adds up the noise of all of them.
    """
    if accountant == MECHANISM:
        raise ValueError("a hospital that trains alone has no distributed noise: take 'prv' or 'rdp'")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Secure RNG turned off")
        engine = PrivacyEngine(accountant=accountant)
    made = engine.make_private_with_epsilon(
        module=module,
        optimizer=optimizer,
        data_loader=data_loader,
        target_epsilon=target_epsilon,
        target_delta=target_delta,
        epochs=epochs,
        max_grad_norm=max_grad_norm,
    )
    return (*made, engine)
