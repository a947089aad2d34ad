"""Noise, grid and field width, chosen together: what ``secagg plan --epsilon`` decides.

For every field width ``secagg.privacy.fit`` finds the least error; wider fields hold finer grids, which rounding
inflates less. Chosen is the narrowest whose error is within `WASTE` of the widest's, or the width that was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import quant
from protocols.pairwise.params import least_threshold
from secagg.errors import UsageError
from secagg.privacy import Fitted, Goal, Infeasible, Law, PrivacyInputError, Unit, fit, gaussian

WASTE = 1.02
"""On the standard deviation of the error."""

LARGEST = 2.0
"""The largest site is taken to have so many times its share of all patients; it sets where a site's grid ends."""

WIDTHS = range(8, 41)
NEARBY = 3
ROUNDING_VARIANCE = 1 / 6
"""Of a value that is rounded stochastically, in squared steps, where all places between grid points are as likely."""


@dataclass(frozen=True, kw_only=True)
class PrivateGoal:
    """What is promised to whom, by how many sites.

    Attributes:
        epsilon, delta: the promise, after all rounds.
        rounds: releases that it covers.
        clients: sites that are invited.
        dim: coordinates of an update.
        clip: Euclidean norm of one patient's contribution, or of one site's update.
        patients: expected at all sites together, a public figure; 0 for unit site.
        dropouts: sites that may vanish in a round; ``None`` for as many as an active server's protocol survives.
        colluders: members assumed to add no noise.
        unit: whose data are hidden.
        law: family of the noise.

    Raises:
        UsageError: numbers that make no study.
    """

    epsilon: float
    delta: float
    rounds: int
    clients: int
    dim: int
    clip: float
    patients: int = 0
    dropouts: int | None = None
    colluders: int = 1
    unit: Unit = Unit.PATIENT
    law: Law = Law.SKELLAM

    def __post_init__(self) -> None:
        """Refuse what is no study."""
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise UsageError(f"--epsilon {self.epsilon:g} promises nothing that can be kept: give a positive number")
        if self.dim < 1 or not (math.isfinite(self.clip) and self.clip > 0):
            raise UsageError("give --dim of at least 1, and --clip above 0: noise is sized for the clip")
        if self.unit is Unit.PATIENT and self.patients < self.clients:
            raise UsageError("unit patient needs --patients: how many are expected at all sites together")
        if self.colluders < 1:
            raise UsageError("at least one colluder is assumed: every site that sees the sum knows its own noise")
        least = least_threshold(self.clients, "active", self.colluders)
        if least > self.clients:
            raise UsageError(f"{self.clients} sites with {self.colluders} colluding cannot hide each other: add sites")
        if self.dropouts is not None and not 0 <= self.dropouts <= self.clients - least:
            raise UsageError(
                f"{self.dropouts} of {self.clients} sites cannot vanish with {self.colluders} colluding: "
                f"at most {self.clients - least} can"
            )
        try:
            _ = self.promise
        except PrivacyInputError as error:
            raise UsageError(str(error)) from error

    @property
    def most_dropouts(self) -> int:
        """Sites that may vanish in a round."""
        if self.dropouts is not None:
            return self.dropouts
        return self.clients - least_threshold(self.clients, "active", self.colluders)

    @property
    def promise(self) -> Goal:
        """The promise, for the accountant."""
        return Goal(
            epsilon=self.epsilon,
            delta=self.delta,
            releases=self.rounds,
            least_survivors=self.clients - self.most_dropouts,
            colluders=self.colluders,
        )

    @property
    def central_sigma(self) -> float:
        """Noise of a trusted server in the sum: the analytic Gaussian mechanism (Balle and Wang 2018)."""
        return self.clip * math.sqrt(self.rounds) / gaussian.shift(self.epsilon, self.delta)

    @property
    def largest_site(self) -> int:
        """Patients of the largest site: an estimate, which matters for accuracy and never for privacy."""
        return max(1, math.ceil(LARGEST * self.patients / self.clients))

    @property
    def members(self) -> int:
        """What a sum is divided by to make a mean: patients, or sites."""
        return self.patients if self.unit is Unit.PATIENT else self.clients


@dataclass(frozen=True)
class Choice:
    """A setting that keeps the promise, and what it costs."""

    goal: PrivateGoal
    fitted: Fitted

    @cached_property
    def codec(self) -> quant.UpdateCodec:
        """The grid of one site."""
        return quant.from_config(self.fitted.quantization, self.goal.dim)

    @property
    def levels(self) -> int:
        """Of the grid."""
        return self.codec.facts.levels

    @property
    def inflation(self) -> float:
        """Factor that rounding costs in squared sensitivity."""
        goal = self.goal
        terms = self.fitted.privacy.terms(self.codec, goal.clients, goal.promise.least_survivors)
        return terms.sensitivity().l2_squared * (self.fitted.step / goal.clip) ** 2

    def deviation(self, dropouts: int = 0) -> float:
        """Expected error per coordinate of the sum with so many drop-outs, noise and rounding: standard deviation."""
        survivors = self.goal.clients - dropouts
        noise = self.fitted.privacy.expected_noise(survivors, self.goal.clients, self.fitted.step)
        return math.sqrt(noise.total**2 + survivors * ROUNDING_VARIANCE * self.fitted.step**2)

    def ratio(self, dropouts: int = 0) -> float:
        """That error over the one of a trusted server."""
        return self.deviation(dropouts) / self.goal.central_sigma

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON types."""
        fitted, most = self.fitted, self.goal.most_dropouts
        return {
            "wire_bits": fitted.width,
            "levels": self.levels,
            "bits": math.log2(self.levels),
            "range": fitted.quantization["range"],
            "step": fitted.step,
            "sigma": fitted.sigma,
            "sigma_steps": fitted.calibration.sigma,
            "sensitivity": self.inflation,
            "error_of_mean": self.deviation() / self.goal.members,
            "ratio": self.ratio(),
            "ratio_all_dropped": self.ratio(most),
            "epsilon": fitted.claim.epsilon,
        }


@dataclass(frozen=True)
class PrivateDecision:
    """What was found.

    Attributes:
        goal: what was wanted.
        chosen: the setting; ``None`` if none keeps the promise.
        reason: why none does, and what would help.
        nearby: settings of other widths, narrowest first; the chosen one is among them.
    """

    goal: PrivateGoal
    chosen: Choice | None
    reason: str
    nearby: tuple[Choice, ...]

    @property
    def privacy_table(self) -> dict[str, object]:
        """The keys of a study's ``[privacy]`` table; its grid follows from them."""
        goal = self.goal
        table: dict[str, object] = {
            "epsilon": goal.epsilon,
            "delta": goal.delta,
            "unit": str(goal.unit),
            "clip": goal.clip,
            "law": str(goal.law),
        }
        if self.chosen is not None:
            table["width"] = self.chosen.fitted.width
        return table | ({"patients": goal.largest_site} if goal.unit is Unit.PATIENT else {})

    @property
    def protocol_table(self) -> dict[str, object]:
        """The keys of its ``[protocol]`` table that the noise counts on."""
        return {"colluders": self.goal.colluders, "threshold": self.goal.promise.least_survivors}

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON types."""
        goal = self.goal
        found = self.chosen
        return {
            "feasible": found is not None,
            "reason": self.reason,
            "clients": goal.clients,
            "dim": goal.dim,
            "rounds": goal.rounds,
            "patients": goal.patients,
            "dropouts": goal.most_dropouts,
            "threshold": goal.promise.least_survivors,
            "privacy": self.privacy_table,
            "protocol": self.protocol_table,
            "relation": None if found is None else str(found.fitted.claim.relation),
            "claim": None if found is None else str(found.fitted.claim),
            "sigma_analytic_gaussian": goal.central_sigma,
            "error_of_mean_analytic_gaussian": goal.central_sigma / goal.members,
            "chosen": None if found is None else found.to_json(),
            "quantization": None if found is None else found.fitted.quantization,
            "widths": [choice.to_json() for choice in self.nearby],
        }


def decide_private(goal: PrivateGoal, wire_bits: int | None = None) -> PrivateDecision:
    """Choose noise, grid and field width together.

    Args:
        goal: what is wanted.
        wire_bits: bits of a field; ``None`` for the fewest that waste little.
    """
    if wire_bits is not None:
        return _in_width(goal, wire_bits)
    widest = _at(goal, WIDTHS[-1])
    if isinstance(widest, Infeasible):
        return PrivateDecision(goal, None, widest.reason, ())
    found = []
    for width in WIDTHS:
        choice = _at(goal, width)
        if isinstance(choice, Choice):
            found.append(choice)
            if choice.ratio() <= widest.ratio() * WASTE:
                break
    chosen = found[-1] if found else widest
    beyond = [choice for width in (chosen.fitted.width + 1,) if isinstance(choice := _at(goal, width), Choice)]
    return PrivateDecision(goal, chosen, "", _distinct([*found[-1 - NEARBY :], *beyond]))


def _in_width(goal: PrivateGoal, wire_bits: int) -> PrivateDecision:
    found = _at(goal, wire_bits)
    around = range(max(WIDTHS[0], wire_bits - NEARBY), min(wire_bits + NEARBY, WIDTHS[-1]) + 1)
    nearby = [choice for width in around if isinstance(choice := _at(goal, width), Choice)]
    if isinstance(found, Choice):
        return PrivateDecision(goal, found, "", _distinct([*nearby, found]))
    enough = next((choice for choice in _wider(goal, wire_bits)), None)
    help_ = "" if enough is None else f"; fields of {enough.fitted.width} bits would do"
    return PrivateDecision(goal, None, found.reason + help_, _distinct(nearby))


def _wider(goal: PrivateGoal, wire_bits: int) -> Iterator[Choice]:
    for width in range(wire_bits + 1, WIDTHS[-1] + 1):
        if isinstance(choice := _at(goal, width), Choice):
            yield choice


def _distinct(choices: list[Choice]) -> tuple[Choice, ...]:
    by_width = {choice.fitted.width: choice for choice in choices}
    return tuple(by_width[width] for width in sorted(by_width))


def _at(goal: PrivateGoal, width: int) -> Choice | Infeasible:
    found = fit(
        goal.promise,
        clients=goal.clients,
        dim=goal.dim,
        clip=goal.clip,
        unit=goal.unit,
        width=width,
        patients=goal.largest_site if goal.unit is Unit.PATIENT else 1,
        law=goal.law,
    )
    return found if isinstance(found, Infeasible) else Choice(goal, found)
