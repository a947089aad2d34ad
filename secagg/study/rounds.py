"""From a study to one of its rounds: coordinator and site compute the same configuration, each for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quant
from secagg.config import RoundConfig
from secagg.errors import UsageError
from secagg.study.definition import Study

COUNTERS = ("validated", "correct", "loss_millionths")
"""Whole numbers that every site adds to the sum: validation examples, right answers, and their loss in 10^-6."""

LOSS_SCALE = 1_000_000


def round_config(
    study: Study, layout: quant.Layout, clients: Sequence[int], round_index: int, attempt: int
) -> RoundConfig:
    """Return the configuration of one attempt at one round.

    Args:
        study: what was signed.
        layout: of the model's weights.
        clients: ids of the invited members.
        round_index: number of the round, from 0.
        attempt: number of the try, from 0.

    Raises:
        UsageError: clients that are no members.
        quant.QuantError: quantization that cannot be used, or that this cohort overflows.
        protocols.ParameterError: a cohort that makes no protocol.
    """
    if strangers := set(clients) - set(study.ids):
        raise UsageError(f"sites {sorted(strangers)} are not in the roster of study {study.name!r}")
    protection = study.protocol
    return RoundConfig(
        clients=tuple(clients),
        layout=layout,
        quantization=study.quantization,
        max_weight=study.training.max_examples,
        threshold=protection.threshold,
        study=study.name,
        round_index=round_index,
        attempt=attempt,
        adversary=protection.adversary,
        roster=study.roster.hash(),
        colluders=study.colluders,
        protocol=protection.protocol,
        attempt_limit=study.training.attempts,
        counters=COUNTERS,
        monitor=False,
    )


def moved(weights: Mapping[str, NDArray[Any]], change: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return ``weights`` plus ``change``; arrays that ``change`` lacks stay as they are, and so do dtypes."""
    return {
        name: (array + change[name]).astype(array.dtype) if name in change else np.array(array)
        for name, array in weights.items()
    }


class Validation:
    """What the sites' counters say of a model, over all their validation examples together.

    Args:
        counters: exact sums by name; see `COUNTERS`.
    """

    def __init__(self, counters: Mapping[str, int]) -> None:
        self.examples = counters.get("validated", 0)
        self.accuracy = counters.get("correct", 0) / self.examples if self.examples else None
        self.loss = counters.get("loss_millionths", 0) / LOSS_SCALE / self.examples if self.examples else None

    def better_than(self, other: Validation | None, watch: str) -> bool:
        """Tell whether this is an improvement on ``other`` in ``watch`` (``"loss"`` or ``"accuracy"``)."""
        if other is None:
            return True
        mine, theirs = (self.loss, other.loss) if watch == "loss" else (self.accuracy, other.accuracy)
        if mine is None or theirs is None:
            return True
        return mine < theirs if watch == "loss" else mine > theirs
