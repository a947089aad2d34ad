"""The federations that secure aggregation with noise is measured against; none of them knows the protocol.

Two promise the same epsilon and delta by the analytic Gaussian mechanism (Balle and Wang 2018) over all rounds. The
trusted server sees every exact sum and adds one Gaussian to it. With local noise every site trusts itself only: it adds
to its own sum what the whole promise needs, so the sum of k sites carries k times the variance. The third adds
none and promises nothing.

The Gaussian is a discrete one of 512 steps to a standard deviation, drawn from a cipher's stream like all noise here. A
comparison protects nobody: only the distributed federation keeps its promise to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np

from protocols import SystemEntropy
from protocols.primitives import prg
from quant.noise import DiscreteGaussian, draw
from secagg.demo.private.hospitals import Hospitals
from secagg.demo.private.learner import Matrix, clipped_sum
from secagg.demo.private.setting import CLIP, PrivateConfig

FINE = 1 << 9


NoiseBy = Literal["server", "local", "none"]


class Baseline:
    """One of them, advanced round by round.

    Args:
        config: what to run.
        hospitals: whose data.
        noise: who adds it.

    Attributes:
        weights: of the model now.
    """

    def __init__(self, config: PrivateConfig, hospitals: Hospitals, *, noise: NoiseBy = "server") -> None:
        self.weights = hospitals.start
        self._config, self._hospitals, self._by = config, hospitals, noise
        self._sigma = config.central_sigma
        self._stream = prg.AesCtrStream(SystemEntropy().take(prg.KEY_BYTES, "baseline"))

    def advance(self, included: Sequence[int]) -> None:
        """Add up what those sites have, with noise, and take a step."""
        total = np.zeros_like(self.weights)
        for site in included:
            total += clipped_sum(self.weights, self._hospitals.sites[site], CLIP)
        if self._by != "none":
            total += self._noise(len(included))
        self.weights = stepped(self._config, self.weights, total, len(included))

    def _noise(self, included: int) -> Matrix:
        sigma = self._sigma * (math.sqrt(included) if self._by == "local" else 1.0)
        normal = draw(DiscreteGaussian(Fraction(FINE) ** 2), self.weights.size, self._stream)
        return np.reshape(normal.astype(np.float64) * (sigma / FINE), self.weights.shape)


def stepped(config: PrivateConfig, weights: Matrix, total: Matrix, included: int) -> Matrix:
    """Give the weights after one step of gradient descent along a sum of clipped gradients over ``included`` sites."""
    return weights - config.rate * total / config.divisor(included)
