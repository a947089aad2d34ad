"""From a study to one of its rounds: coordinator and site compute the same configuration, each for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quant
from protocols.pairwise import default_threshold
from secagg import analytics
from secagg.config import RoundConfig
from secagg.errors import UsageError
from secagg.opened import Opened
from secagg.privacy import Fitted, Goal, Infeasible, fit
from secagg.study.definition import Privacy, Study

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
        UsageError: clients that are no members, or a promise of privacy that cannot be kept.
        quant.QuantError: quantization that cannot be used, or that this cohort overflows.
        protocols.ParameterError: a cohort that makes no protocol.
    """
    if strangers := set(clients) - set(study.ids):
        raise UsageError(f"sites {sorted(strangers)} are not in the roster of study {study.name!r}")
    protection = study.protocol
    agreed: dict[str, Any] = {
        "threshold": protection.threshold,
        "study": study.name,
        "round_index": round_index,
        "attempt": attempt,
        "adversary": protection.adversary,
        "roster": study.roster.hash(),
        "colluders": study.colluders,
        "protocol": protection.protocol,
        "attempt_limit": study.training.attempts,
    }
    goal = _goal(study, len(clients))
    if (query := query_of(study)) is not None:
        return query.round_config(clients, goal, **agreed)
    if goal is not None and study.privacy is not None:
        fitted = _fitted(study.privacy, goal, len(clients), layout.dim)
        return RoundConfig(tuple(clients), layout, fitted.quantization, privacy=fitted.privacy, **agreed)
    return RoundConfig(
        tuple(clients),
        layout,
        study.quantization,
        max_weight=study.training.max_examples,
        counters=COUNTERS,
        monitor=False,
        **agreed,
    )


def query_of(study: Study) -> analytics.Query | None:
    """Return what a study of kind analytics asks."""
    return analytics.from_config(study.task) if study.analytics else None


def releases(study: Study) -> int:
    """Return in how many rounds data may be used; lost ones count."""
    return (study.privacy and study.privacy.releases) or study.training.rounds


def _goal(study: Study, clients: int) -> Goal | None:
    """Return what is promised, and what a round of so many sites must survive."""
    protection, promised = study.protocol, study.privacy
    if promised is None:
        return None
    colluders = max(1, study.colluders)
    return Goal(
        epsilon=promised.epsilon,
        delta=promised.delta,
        releases=releases(study),
        least_survivors=protection.threshold or default_threshold(clients, protection.adversary, study.colluders),
        colluders=colluders,
    )


def noise_over_clip(study: Study, dim: int) -> float:
    """Return the standard deviation of the noise in a sum over the most that one site's data can add to it (its norm).

    With unit *patient* that is the clip times the patients of the largest site: the noise hides a patient, not a site.

    Args:
        study: what was signed; 0 for one without ``[privacy]``, and for one that counts and does not train.
        dim: coordinates of an update.

    Raises:
        UsageError: a promise that cannot be kept.
    """
    goal, promised = _goal(study, len(study.ids)), study.privacy
    if goal is None or promised is None or study.analytics:
        return 0.0
    counted = promised.patients if promised.unit == "patient" else 1
    return _fitted(promised, goal, len(study.ids), dim).sigma / (promised.clip * counted)


@lru_cache(maxsize=8)
def _fitted(promised: Privacy, goal: Goal, clients: int, dim: int) -> Fitted:
    """Choose grid and noise; everybody computes the same, and is held to it by the hash of the round's parameters."""
    found = fit(
        goal,
        clients=clients,
        dim=dim,
        clip=promised.clip,
        unit=promised.unit,
        width=promised.width,
        patients=promised.patients if promised.unit == "patient" else 1,
        law=promised.law,
    )
    if isinstance(found, Infeasible):
        raise UsageError(f"[privacy] cannot be kept: {found.reason}")
    return found


def mean(study: Study, opened: Opened) -> NDArray[np.float64]:
    """Return the change of the weights: the mean over sites, or, of unit patient, over the estimated patients."""
    if study.privacy is not None and study.privacy.unit == "patient":
        return opened.sum / (study.privacy.patients * len(opened.included))
    return opened.mean


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
