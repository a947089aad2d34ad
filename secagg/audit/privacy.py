"""What a round's task says of differential privacy, and what that costs: computed again from the task alone.

Sites and planners compute the same from ``RoundConfig``; this is a second way, from the canonical JSON that keys and
signatures are bound to, to the accountant (``secagg.privacy.mechanism``). Then epsilon is computed once more without
the accountant: noise of variance V against a distance L costs at least what the continuous Gaussian costs, so by Balle
and Wang 2018, theorem 8, with m = L sqrt(T / V) after T releases,

    delta(epsilon) = Phi(m / 2 - epsilon / m) - e^epsilon Phi(-m / 2 - epsilon / m).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import msgspec

import quant
from quant.noise import Sharing, reach
from quant.transforms import HadamardRotation
from secagg.audit.reading import Round
from secagg.privacy.calibration import Law
from secagg.privacy.errors import PrivacyInputError
from secagg.privacy.mechanism import Cost, Sampling
from secagg.privacy.sensitivity import Relation, Sensitivity, Unit, of_patient, of_site
from secagg.privacy.shared import FAMILIES, release_shared

_PHI = NormalDist().cdf


class Promise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entry ``"privacy"`` of a task; ``secagg.privacy.RoundPrivacy`` says what each number means."""

    unit: str
    relation: str
    law: str
    target: str
    least_survivors: int
    colluders: int
    epsilon: float
    delta: float
    releases: int
    clip: float
    coarsening: int
    l2_squared: int
    beta: float
    sampling_rate: float
    removable: bool


@dataclass(frozen=True)
class Release:
    """One private release, computed again.

    Attributes:
        promise: as the task has it.
        task: the whole task.
        facts: of the codec that the task describes.
        sharing: how sites share the noise.
        sensitivity: of the released integers.
        cost: of one release, whatever number of tolerated drop-outs.
    """

    promise: Promise
    task: dict[str, Any]
    facts: quant.CodecFacts
    sharing: Sharing
    sensitivity: Sensitivity
    cost: Cost

    @property
    def reach(self) -> int:
        """Bound on the noise that stays in a released sum, steps, but for 2^-40: what is removed may wrap."""
        if not self.promise.removable:
            return self.sharing.reach(self.facts.encoded_dim)
        most = self.sharing.total(self.sharing.least)
        return reach(self.sharing.family, most, self.facts.encoded_dim)


def release_of(one: Round) -> Release | None:
    """Return what a round's task promises and costs; ``None`` for a round that is not private.

    Raises:
        ValueError: a promise that is none, with the reason.
    """
    return _release(one.begin.task, len(one.begin.params.clients))


@lru_cache(maxsize=64)
def _release(text: str, clients: int) -> Release | None:
    try:
        task = msgspec.json.decode(text.encode(), type=dict[str, Any]) if text else {}
        if task.get("privacy") is None:
            return None
        promise = msgspec.convert(task["privacy"], Promise)
        described = task["quantization"]
        facts = quant.from_config(described, int(described["dim"])).facts
        family = FAMILIES[Law(promise.law)]
        sharing = Sharing(Fraction(promise.target), clients, promise.least_survivors, promise.colluders, family)
        sensitivity = _sensitivity(promise, described, facts)
        # That patients were drawn by secret, independent coins is the sites' word.
        rate = promise.sampling_rate
        sampling = None if rate == 1 else Sampling(rate=rate, independent=True, secret=True)
        cost = release_shared(sharing, sensitivity, sampling)
        within = 0 < promise.delta < 1 and promise.epsilon > 0 and promise.releases >= 1 and promise.colluders >= 1
    except (msgspec.MsgspecError, quant.QuantError, PrivacyInputError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the task's promise of privacy cannot be computed: {error}") from error
    except ZeroDivisionError as error:
        raise ValueError("the task's promise of privacy divides by zero") from error
    if not within:
        raise ValueError("the task's promise has no epsilon, delta, releases or colluders")
    return Release(promise, task, facts, sharing, sensitivity, cost)


def _sensitivity(promise: Promise, described: dict[str, Any], facts: quant.CodecFacts) -> Sensitivity:
    relation = Relation(promise.relation)
    if Unit(promise.unit) is Unit.SITE:
        return of_site(facts, relation)
    bound = promise.l2_squared * rotated_rows(described)
    return of_patient(bound, facts.encoded_dim, relation=relation, coarsening=promise.coarsening, beta=promise.beta)


def rotated_rows(described: dict[str, Any]) -> int:
    """Return by how much the integer rotation multiplies squared norms: the height of its blocks, 1 without."""
    rotation = described.get("rotation")
    if not rotation:
        return 1
    return HadamardRotation(None if rotation is True else rotation).rows(int(described["dim"]))


def second_opinion(releases: list[Release], delta: float) -> float:
    """Return epsilon of all these releases by the continuous Gaussian of the same variance: no claim may be below.

    Of releases that sample patients it says nothing: 0.
    """
    shift, failure = 0.0, 0.0
    if any(one.promise.sampling_rate != 1 for one in releases):
        return 0.0
    for one in releases:
        shift += float(one.sensitivity.l2_squared / Fraction(one.promise.target))
        failure += one.sensitivity.failure
    m, left = math.sqrt(shift), delta - failure
    if not releases or left <= 0:
        return math.inf if releases else 0.0

    def spent(epsilon: float) -> float:
        # log Phi keeps e^epsilon Phi(...) finite where both factors leave the exponents of float64
        last = _PHI(-m / 2 - epsilon / m)
        return _PHI(m / 2 - epsilon / m) - (math.exp(epsilon + math.log(last)) if last > 0 else 0.0)

    low, high = 0.0, 1.0
    while spent(high) > left:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) > left else (low, middle)
    return low if spent(0.0) > left else 0.0
