"""An Opacus optimizer whose clipping, noise and sum are those of a secure round.

Opacus supplies one gradient for each row; here they become one for each patient, which the round clips, puts on the
grid, sums and noises. What comes back is the noisy sum over all hospitals, the same at each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.optimizers import DPOptimizer
from opacus.optimizers.optimizer import _check_processed_flag, _mark_as_processed

from secagg.errors import UsageError

PatientReduction = Literal["mean", "sum"]

Exchange = Callable[[NDArray[np.float32], bytes], NDArray[np.float64]]
"""From this hospital's gradients, float32 of shape (patients, dim), and the hash of the model that they belong to, to
the noisy sum over all hospitals, float64 of shape (dim,)."""


class DistributedDPOptimizer(DPOptimizer):  # type: ignore[misc]
    """``DPOptimizer`` whose step is a secure round.

    Args:
        optimizer: the wrapped optimizer.
        noise_multiplier: standard deviation of the honest hospitals' noise in the sum, over ``max_grad_norm``.
        dominating_multiplier: of the Gaussian that dominates a step, rounding included; for the accountant.
        max_grad_norm: clip of one patient's gradient.
        expected_batch_size: patients that are expected in a step over all hospitals; public.
        loss_reduction: ``"mean"`` divides the sum by ``expected_batch_size``.
        patient_reduction: how the gradients of a patient's rows become one, before the clip.
        whose: returns the patient of each row of the present batch.
        exchange: runs the round.
        fingerprint: returns the hash of the model.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        noise_multiplier: float,
        dominating_multiplier: float,
        max_grad_norm: float,
        expected_batch_size: float,
        loss_reduction: str,
        patient_reduction: PatientReduction,
        whose: Callable[[], NDArray[np.int64]],
        exchange: Exchange,
        fingerprint: Callable[[], bytes],
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            expected_batch_size=expected_batch_size,
            loss_reduction=loss_reduction,
        )
        self.dominating_multiplier = dominating_multiplier
        self._reduction, self._whose, self._exchange, self._fingerprint = (
            patient_reduction,
            whose,
            exchange,
            fingerprint,
        )
        self._gradients: NDArray[np.float32] | None = None

    def clip_and_accumulate(self) -> None:
        """Make one gradient of each patient's rows; the round clips it.

        Raises:
            UsageError: gradients of another batch than the loader's last one.
            ValueError: gradients were used before (call ``zero_grad``).
        """
        rows = []
        for parameter in self.params:
            _check_processed_flag(parameter.grad_sample)
            found = self._get_flat_grad_sample(parameter).detach().to("cpu", torch.float32)
            rows.append(found.reshape(len(found), parameter.numel()))
            _mark_as_processed(parameter.grad_sample)
        per_row = torch.cat(rows, dim=1)
        patient = self._whose()
        if len(patient) != len(per_row):
            raise UsageError(
                f"the data loader's batch has {len(patient)} rows, but there are gradients of {len(per_row)}: "
                "each step takes one whole batch"
            )
        self._gradients = by_patient(per_row, patient, self._reduction).numpy()

    def add_noise(self) -> None:
        """Run the round and put its noisy sum into the gradients."""
        if self._gradients is None:
            raise UsageError("there are no gradients to send: call backward before step")
        gradients, self._gradients = self._gradients, None
        total = torch.from_numpy(np.asarray(self._exchange(gradients, self._fingerprint()), dtype=np.float64))
        start = 0
        for parameter in self.params:
            stop = start + parameter.numel()
            parameter.grad = total[start:stop].to(parameter.device, parameter.dtype).view_as(parameter).clone()
            start = stop


def by_patient(rows: torch.Tensor, patient: NDArray[np.int64], reduction: PatientReduction) -> torch.Tensor:
    """Return one gradient for each patient of a batch, float32 of shape (patients, dim), in the order of their numbers.

    Args:
        rows: one gradient for each row, float32 of shape (rows, dim).
        patient: number of each row's patient, int64 of shape (rows,).
        reduction: ``"mean"`` or ``"sum"`` over a patient's rows.
    """
    _, place, count = np.unique(patient, return_inverse=True, return_counts=True)
    if len(count) == len(patient):  # nobody has two rows
        return rows[np.argsort(patient, kind="stable")]
    gathered = torch.zeros((len(count), rows.shape[1]), dtype=rows.dtype)
    gathered.index_add_(0, torch.from_numpy(place), rows)
    if reduction == "mean":
        gathered /= torch.from_numpy(count).to(rows.dtype)[:, None]
    return gathered
