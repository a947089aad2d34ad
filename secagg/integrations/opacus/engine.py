"""The engine: an ordinary module, optimizer and data loader become one hospital's part of distributed DP-SGD."""

from __future__ import annotations

import functools
import hashlib
import math
import threading
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Literal, NotRequired, Protocol, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.accountants import create_accountant
from opacus.accountants.accountant import IAccountant
from opacus.validators import ModuleValidator
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, IterableDataset

import quant
from protocols import SystemEntropy
from secagg.config import RoundConfig
from secagg.errors import UsageError
from secagg.integrations.opacus.accountant import MECHANISM, DistributedAccountant, step_cost
from secagg.integrations.opacus.optimizer import DistributedDPOptimizer, PatientReduction
from secagg.integrations.opacus.sampling import PatientLoader, PatientSampler
from secagg.privacy import Fitted, Goal, Infeasible, PatientUpdates, Sampling, SkellamNoise, fit

GRADIENT = "gradient"
"""Name of the only leaf of a round's update."""

WIDTH = 56
"""Widest field that a grid may take; `fit` makes it no finer than is of use."""


class Hospital(Protocol):
    """What carries a hospital's rounds: a place in a `Consortium`, or your own transport around ``ClientSession``."""

    clients: tuple[int, ...]
    least_survivors: int
    colluders: int
    study: str

    def exchange(self, config: RoundConfig, updates: PatientUpdates, model_hash: bytes) -> NDArray[np.float64]:
        """Take part in a round and return its noisy sum, float64 of shape (dim,)."""
        ...


class Trained(TypedDict):
    """What is trained, and on whose rows: arguments of `DistributedPrivacyEngine.make_private_with_epsilon`."""

    module: nn.Module
    optimizer: Optimizer
    data_loader: DataLoader[Any]
    expected_batch_size: float
    patients: NotRequired[Sequence[Hashable] | None]
    patient_reduction: NotRequired[PatientReduction]
    loss_reduction: NotRequired[Literal["mean", "sum"]]


class DistributedPrivacyEngine:
    """The counterpart of ``opacus.PrivacyEngine`` for one hospital of several.

    Every hospital runs the same training loop on its own rows. ``optimizer.step()`` is a secure round: the hospitals'
    clipped gradients are added up under masks, each with its share of integer noise, and all get the same noisy sum.
    So models stay equal without being sent. All arguments but data are public and must be the same everywhere: they are
    bound into the masks, and hospitals that differ get no sum.

    Args:
        hospital: carries the rounds.
        accountant: ``"distributed"``, or one of Opacus's (``"rdp"``, ``"prv"``), which then counts the Gaussian that
            dominates a step.
    """

    def __init__(self, hospital: Hospital, *, accountant: str = MECHANISM) -> None:
        self._hospital = hospital
        self.accountant: IAccountant = create_accountant(accountant)
        self.config: RoundConfig | None = None
        self._step = 0

    def make_private(
        self,
        *,
        noise_multiplier: float,
        max_grad_norm: float,
        sample_rate: float,
        epochs: int,
        target_delta: float,
        poisson_sampling: bool = True,
        **trained: Unpack[Trained],
    ) -> tuple[GradSampleModule, DistributedDPOptimizer, PatientLoader]:
        """Return module, optimizer and data loader to train with, by noise instead of by epsilon.

        ``noise_multiplier`` is that of the Gaussian whose privacy each step keeps, over ``max_grad_norm``; the integer
        noise of the honest hospitals' sum is larger by what rounding costs. All other arguments, and errors, are those
        of `make_private_with_epsilon`, which this calls with the epsilon that the noise is worth.
        """
        releases = epochs * _steps(sample_rate)
        if not noise_multiplier > 0:
            raise UsageError(f"noise_multiplier is a positive number, not {noise_multiplier!r}")
        cost = step_cost(noise_multiplier, sample_rate if poisson_sampling else 1.0).times(releases)
        return self.make_private_with_epsilon(
            target_epsilon=cost.epsilon(target_delta)[0],
            target_delta=target_delta,
            epochs=epochs,
            max_grad_norm=max_grad_norm,
            sample_rate=sample_rate,
            poisson_sampling=poisson_sampling,
            **trained,
        )

    def make_private_with_epsilon(
        self,
        *,
        module: nn.Module,
        optimizer: Optimizer,
        data_loader: DataLoader[Any],
        target_epsilon: float,
        target_delta: float,
        epochs: int,
        max_grad_norm: float,
        sample_rate: float,
        expected_batch_size: float,
        patients: Sequence[Hashable] | None = None,
        patient_reduction: PatientReduction = "mean",
        poisson_sampling: bool = True,
        loss_reduction: Literal["mean", "sum"] = "mean",
    ) -> tuple[GradSampleModule, DistributedDPOptimizer, PatientLoader]:
        """Return module, optimizer and data loader to train with, whose noise keeps the promise.

        The promise, (``target_epsilon``, ``target_delta``), is to every patient of every hospital, after all epochs.

        Args:
            module: the same weights at every hospital.
            optimizer: over parameters of ``module``.
            data_loader: over this hospital's rows; its batches are drawn anew.
            target_epsilon: of the promise.
            target_delta: delta of the promise.
            epochs: that the promise covers; steps past them are refused by each hospital's ledger.
            max_grad_norm: clip of one patient's gradient.
            sample_rate: probability with which a patient takes part in a step; an epoch has 1 / ``sample_rate`` steps.
            expected_batch_size: patients in a step over all hospitals; public, so not counted from the data (ask
                ``secagg.analytics`` before). The summed gradient is divided by it.
            patients: whose each row is, one name for each; None if each row is a patient.
            patient_reduction: ``"mean"`` or ``"sum"`` over the gradients of a patient's rows, before the clip.
            poisson_sampling: draw each patient by a secret coin of their own; this makes epsilon smaller. Without it
                every patient takes part once an epoch, and sampling is not counted on.
            loss_reduction: of the criterion. The claim takes it that one patient's gradient does not depend on who else
                is in the batch. With ``"mean"`` it does in its last bits, since Opacus divides by the size of the batch
                and multiplies again in float32; with ``"sum"`` (and such a criterion) it does not.

        Raises:
            UsageError: no such noise, or arguments that do not fit together.
            opacus.validators.errors.UnsupportedModuleError: layers that mix rows, such as batch norm.
        """
        ModuleValidator.validate(module, strict=True)
        _check_parameters(module, optimizer)
        if isinstance(data_loader.dataset, IterableDataset):
            raise UsageError("patients are drawn by number: a dataset that can only be iterated over does not do")
        if patient_reduction not in ("mean", "sum"):
            raise UsageError(f"patient_reduction is 'mean' or 'sum', not {patient_reduction!r}")
        if not expected_batch_size > 0 or epochs < 1:
            raise UsageError("expected_batch_size is positive, and there is at least one epoch")
        sampler = PatientSampler(
            patients,
            len(data_loader.dataset),  # type: ignore[arg-type]
            sample_rate=sample_rate,
            steps=_steps(sample_rate),
            poisson_sampling=poisson_sampling,
            key=SystemEntropy().take(32, "patient sampling"),
        )
        loader = PatientLoader(data_loader, sampler)
        rate = sample_rate if poisson_sampling else 1.0
        sampling = None if rate == 1 else Sampling(rate=rate, independent=True, secret=True)
        goal = Goal(
            epsilon=target_epsilon,
            delta=target_delta,
            releases=epochs * len(sampler),
            least_survivors=self._hospital.least_survivors,
            colluders=self._hospital.colluders,
            sampling=sampling,
        )
        wrapped = GradSampleModule(module, loss_reduction=loss_reduction)
        wrapped.forbid_grad_accumulation()
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        trained = [parameter for parameter in trained if parameter.requires_grad]
        dim = sum(parameter.numel() for parameter in trained)
        with _FITTING:
            fitted = _fitted(goal, len(self._hospital.clients), dim, max_grad_norm, math.ceil(expected_batch_size))
        self.config = RoundConfig(
            self._hospital.clients,
            quant.Layout.of({GRADIENT: np.zeros(dim)}),
            fitted.quantization,
            threshold=goal.least_survivors,
            colluders=goal.colluders,
            study=self._hospital.study,
            privacy=fitted.privacy,
        )
        private = DistributedDPOptimizer(
            optimizer,
            noise_multiplier=fitted.sigma / max_grad_norm,
            dominating_multiplier=_dominating(self.config),
            max_grad_norm=max_grad_norm,
            expected_batch_size=expected_batch_size,
            loss_reduction=loss_reduction,
            patient_reduction=patient_reduction,
            whose=loader.take,
            exchange=self._exchange,
            fingerprint=lambda: fingerprint(trained),
        )
        if isinstance(self.accountant, DistributedAccountant) and self.config.privacy_terms is not None:
            self.accountant.failure = self.config.privacy_terms.sensitivity().failure
        private.attach_step_hook(self.accountant.get_optimizer_hook_fn(sample_rate=rate))
        return wrapped, private, loader

    def get_epsilon(self, delta: float) -> float:
        """Return epsilon of the steps so far, for the honest hospitals' noise in the sum."""
        return float(self.accountant.get_epsilon(delta))

    def _exchange(self, gradients: NDArray[np.float32], model_hash: bytes) -> NDArray[np.float64]:
        if self.config is None:
            raise UsageError("make_private comes first")
        config, self._step = replace(self.config, round_index=self._step), self._step + 1
        return self._hospital.exchange(config, PatientUpdates(gradients), model_hash)


@functools.lru_cache(maxsize=16)
def _fitted(goal: Goal, clients: int, dim: int, clip: float, patients: int) -> Fitted:
    """Find grid and noise; seconds with sampling, so hospitals of one process do it once."""
    found = fit(goal, clients=clients, dim=dim, clip=clip, width=WIDTH, patients=patients, rotation=False)
    if isinstance(found, Infeasible):
        raise UsageError(f"this training cannot be private: {found.reason}")
    return found


_FITTING = threading.Lock()


def fingerprint(parameters: Sequence[torch.Tensor]) -> bytes:
    """Return the SHA-256 of parameters, bit for bit: what hospitals must agree on to add up gradients of it."""
    digest = hashlib.sha256(b"secagg parameters\0")
    for parameter in parameters:
        array = parameter.detach().to("cpu").contiguous()
        digest.update(repr((str(array.dtype), tuple(array.shape))).encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()


def _dominating(config: RoundConfig) -> float:
    """Return the noise multiplier of the Gaussian that dominates one step's release."""
    terms = config.privacy_terms
    if terms is None or config.privacy is None:
        raise UsageError("this round is not private")
    scale = SkellamNoise(float(config.privacy.target)).scale() * terms.sensitivity().l2
    return math.nextafter(1 / math.nextafter(scale, math.inf), 0.0)


def _steps(sample_rate: float) -> int:
    """Return the steps of an epoch."""
    if not 0 < sample_rate <= 1:
        raise UsageError(f"sample_rate is above 0 and at most 1, not {sample_rate!r}")
    return int(1 / sample_rate * (1 + 2.0**-40))


def _check_parameters(module: nn.Module, optimizer: Optimizer) -> None:
    owned = {id(parameter) for parameter in module.parameters()}
    if any(id(parameter) not in owned for group in optimizer.param_groups for parameter in group["params"]):
        raise UsageError("the optimizer has parameters that are not the module's")
