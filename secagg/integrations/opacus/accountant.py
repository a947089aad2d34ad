"""Opacus's accountant interface over the costs of this package.

A step's noise in the *sum of all hospitals* is integer noise that is dominated by a Gaussian of some noise multiplier
(``secagg.privacy``: 1 over scale times sensitivity, rounding included). What the history holds is that multiplier, so
Opacus's own accountants can read it too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opacus.accountants.accountant import IAccountant
from opacus.accountants.registry import register_accountant
from opacus.optimizers import DPOptimizer

from secagg.privacy import Cost, Relation, Sampling, Sensitivity, Unit, release
from secagg.privacy.renyi import Curve, gaussian

MECHANISM = "distributed"


@dataclass(frozen=True, slots=True)
class DominatingGaussian:
    """The Gaussian that dominates a step; ``secagg.privacy`` takes it as a law of noise."""

    noise_multiplier: float

    @property
    def variance(self) -> float:
        """In units of the squared sensitivity."""
        return self.noise_multiplier**2

    def scale(self) -> float:
        """Return one over the noise multiplier."""
        return math.nextafter(1 / self.noise_multiplier, math.inf)

    def curve(self, sensitivity: Sensitivity) -> Curve:
        """Return its Renyi curve."""
        return gaussian(self.scale() * sensitivity.l2)


class DistributedAccountant(IAccountant):  # type: ignore[misc]
    """Epsilon of DP-SGD over hospitals, for the honest survivors' noise.

    ``create_accountant("distributed")`` of Opacus makes one. ``failure`` is what bounds that may fail cost a step; it
    is taken off delta.
    """

    def __init__(self) -> None:
        self.history: list[tuple[float, float, int]] = []
        self.failure = 0.0

    def step(self, *, noise_multiplier: float, sample_rate: float) -> None:
        """Count one step.

        Args:
            noise_multiplier: of the dominating Gaussian.
            sample_rate: probability with which a patient took part, by secret coins; 1 claims nothing for sampling.
        """
        if self.history and self.history[-1][:2] == (noise_multiplier, sample_rate):
            self.history[-1] = (noise_multiplier, sample_rate, self.history[-1][2] + 1)
        else:
            self.history.append((noise_multiplier, sample_rate, 1))

    @property
    def cost(self) -> Cost:
        """Cost of all steps so far."""
        total = Cost()
        for noise_multiplier, sample_rate, steps in self.history:
            total += step_cost(noise_multiplier, sample_rate, self.failure).times(steps)
        return total

    def get_epsilon(self, delta: float, *args: Any, **kwargs: Any) -> float:
        """Return epsilon of all steps so far, for one patient, neighbours by adding or removing."""
        del args, kwargs
        return self.cost.epsilon(delta)[0] if self.history else 0.0

    def get_optimizer_hook_fn(self, sample_rate: float) -> Callable[[DPOptimizer], None]:
        """Return what counts a step of an optimizer."""

        def counted(optimizer: DPOptimizer) -> None:
            multiplier = getattr(optimizer, "dominating_multiplier", optimizer.noise_multiplier)
            self.step(noise_multiplier=multiplier, sample_rate=sample_rate)

        return counted

    def state_dict(self, destination: Any = None) -> Any:
        """Return history, mechanism and failure, for a checkpoint."""
        state = super().state_dict(destination)
        state["failure"] = self.failure
        return state

    def load_state_dict(self, state_dict: Any) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: the state of another accountant.
        """
        super().load_state_dict(state_dict)
        self.failure = float(state_dict.get("failure", 0.0))

    def __len__(self) -> int:
        return sum(steps for _, _, steps in self.history)

    @classmethod
    def mechanism(cls) -> str:
        """Name under which Opacus knows it."""
        return MECHANISM


def step_cost(noise_multiplier: float, sample_rate: float, failure: float = 0.0) -> Cost:
    """Return the cost of one step.

    Raises:
        PrivacyInputError: numbers out of range.
    """
    patient = Sensitivity(unit=Unit.PATIENT, relation=Relation.ADD_REMOVE, l2_squared=1, dim=1, failure=failure)
    sampling = None if sample_rate == 1 else Sampling(rate=sample_rate, independent=True, secret=True)
    return release(DominatingGaussian(noise_multiplier), patient, sampling)


register_accountant(MECHANISM, DistributedAccountant, force=True)
