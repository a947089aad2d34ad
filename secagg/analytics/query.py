"""A query: questions that are answered by one secure sum.

Exact: each whole number is written in balanced digits of base 65535, which a grid of 65535 points with step 1 holds
exactly; sites' digits are added in the masked sum, and the totals are put together again with whole numbers of any
size. No sum can overflow.

Private: the questions' vectors of one patient stand one behind the other, each divided by its own norm and multiplied
by the root of its share of the budget, so the whole has a norm of at most 1 and is one release. A question with share w
of all shares is as noisy as it would be with 1 / w times the variance. Sums are not rotated, so that every number has
noise of its own; fields are wide enough that grid and range cost next to nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quant
from secagg.analytics.answers import Answer, Answers
from secagg.analytics.questions import Question
from secagg.analytics.records import Columns, Records, named
from secagg.config import RoundConfig
from secagg.errors import UsageError
from secagg.opened import Opened
from secagg.privacy import Fitted, Goal, Infeasible, PatientUpdates, claim, fit

BASE = (1 << 16) - 1
"""Base of the digits; the largest odd number of levels that 16 bits hold."""

DIGIT = BASE // 2

WIDTH = 56
"""Widest field that a grid may take; `fit` makes it no finer than is of use."""

LEAF = "answers"
"""Name of the only leaf of the update."""


@dataclass(frozen=True, init=False)
class Query:
    """Questions that are asked together.

    Attributes:
        questions: with distinct names.
        patient: name of the column that says whose a row is; None if every row is a patient of its own.
        least_cell: without noise, counts from 1 to below this are withheld from the answers (see ``Answer.notes``).
        max_patients: public bound on the patients of one site. Beyond it an exact sum is refused, a private one
            saturates (which costs no privacy).

    Raises:
        UsageError: no questions, two of one name, or numbers out of range.
    """

    questions: tuple[Question, ...]
    patient: str | None
    least_cell: int | None
    max_patients: int

    def __init__(
        self,
        *questions: Question,
        patient: str | None = None,
        least_cell: int | None = None,
        max_patients: int = 1_000_000,
    ) -> None:
        if not questions:
            raise UsageError("a query asks at least one question")
        names = [question.name for question in questions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"two questions are named {twice[0]!r}: give one of them another name")
        if patient is not None:
            named(patient, "the column of patients")
        limits: tuple[tuple[Any, str, int], ...] = ((least_cell, "least_cell", 2), (max_patients, "max_patients", 1))
        for value, what, least in limits:
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise UsageError(f"{what} is a whole number of at least {least}, not {value!r}")
        for name, given in zip(
            ("questions", "patient", "least_cell", "max_patients"),
            (questions, patient, least_cell, max_patients),
            strict=True,
        ):
            object.__setattr__(self, name, given)

    # --- what is public ---------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """Return the query as the table that ``from_config`` reads."""
        tables = []
        for question in self.questions:
            table = question.config()
            if where := getattr(question, "where", ()):
                table["where"] = [_present(condition) for condition in where]
            if question.share != 1:
                table["share"] = question.share
            tables.append(table)
        given: dict[str, Any] = {"patient": self.patient, "least_cell": self.least_cell}
        given = {key: value for key, value in given.items() if value is not None}
        return {**given, "max_patients": self.max_patients, "query": tables}

    @property
    def hash(self) -> bytes:
        """SHA-256 of the query; the model hash of its round, so that sites asked otherwise cannot add up."""
        text = json.dumps(self.config(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(b"secagg analytics\0" + text.encode()).digest()

    def layout(self, *, private: bool) -> quant.Layout:
        """Return the layout of a site's update."""
        length = self.dim if private else sum(self._digits)
        return quant.Layout.of({LEAF: np.zeros(length)})

    def round_config(self, clients: Sequence[int], goal: Goal | None = None, **settings: Any) -> RoundConfig:
        """Return the round that answers this query.

        Args:
            clients: ids of the sites.
            goal: what privacy is promised to patients; None for exact answers. Its ``least_survivors`` are the
                threshold, and one of its ``releases`` is this round.
            settings: further arguments of ``RoundConfig``, such as ``threshold``, ``study`` or ``adversary``.

        Raises:
            UsageError: no noise keeps the goal, and why.
        """
        layout = self.layout(private=goal is not None)
        if goal is None:
            grid = {"levels": BASE, "range": float(DIGIT), "rounding": "nearest"}
            return RoundConfig(tuple(clients), layout, grid, monitor=False, **settings)
        found = self._fit(goal, len(clients))
        return RoundConfig(
            tuple(clients),
            layout,
            found.quantization,
            **{"threshold": goal.least_survivors, "colluders": goal.colluders, **settings},
            privacy=found.privacy,
        )

    def _fit(self, goal: Goal, clients: int) -> Fitted:
        """Choose grid and noise."""
        found = fit(
            goal,
            clients=clients,
            dim=self.dim,
            clip=1.0,
            width=WIDTH,
            patients=self.max_patients,
            rotation=False,
        )
        if isinstance(found, Infeasible):
            raise UsageError(f"this query cannot be answered privately: {found.reason}")
        return found

    # --- what a site does -------------------------------------------------------------------------

    def records(self, columns: Columns | Records) -> Records:
        """Group a site's rows by patient.

        Raises:
            UsageError: columns that do not fit together.
        """
        return columns if isinstance(columns, Records) else Records(columns, self.patient)

    def contribute(
        self, columns: Columns | Records, *, private: bool = False
    ) -> dict[str, NDArray[np.float64]] | PatientUpdates:
        """Return what a site hands to its session.

        Args:
            columns: the site's rows, by column.
            private: whether the round is private: then one vector for each patient, else the site's whole numbers.

        Raises:
            UsageError: a column that is asked for is missing, or more than ``max_patients`` patients without noise.
        """
        records = self.records(columns)
        if private:
            return PatientUpdates(self.vectors(records))
        if records.patients > self.max_patients:
            raise UsageError(
                f"these records have more patients than the query allows ({self.max_patients}): raise max_patients"
            )
        totals = [total for question in self.questions for total in question.totals(records)]
        digits = [digit for total, length in zip(totals, self._digits, strict=True) for digit in _split(total, length)]
        return {LEAF: np.array(digits, dtype=np.float64)}

    def vectors(self, columns: Columns | Records) -> NDArray[np.float64]:
        """Return one vector for each patient, of norm at most 1, float64 of shape (patients, dim).

        Raises:
            UsageError: a column that is asked for is missing.
        """
        records = self.records(columns)
        return np.concatenate(
            [question.vectors(records) * scale for question, scale in zip(self.questions, self._scales, strict=True)],
            axis=1,
        )

    # --- what everybody does with the sum ---------------------------------------------------------

    def result(self, opened: Opened, *, confidence: float = 0.95) -> Answers:
        """Answer from the opened sum.

        Args:
            opened: of the round.
            confidence: of each interval, in a round with noise.
        """
        sites, terms, noise = len(opened.included), opened.config.privacy_terms, opened.noise
        if terms is None or noise is None:
            return self._exact(np.rint(opened.sum), sites)
        sigma = math.hypot(noise.total, math.sqrt(sites) * terms.step / 2)  # and the coarse rounding of every site
        promise = claim(terms.cost().times(terms.releases), terms.sensitivity(), terms.delta)
        return replace(self.noisy(opened.sum, sigma, sites, confidence), claim=promise)

    def _exact(self, sums: NDArray[np.float64], sites: int) -> Answers:
        digits, start, totals = [int(digit) for digit in sums.tolist()], 0, []
        for length in self._digits:
            totals.append(_join(digits[start : start + length]))
            start += length
        answers, start = [], 0
        for question in self.questions:
            stop = start + len(question.largest)
            answers.append(question.exact(totals[start:stop], self.least_cell))
            start = stop
        return Answers(answers=_by_name(answers), sites=sites, confidence=1.0)

    def noisy(self, sums: NDArray[np.float64], sigma: float, sites: int, confidence: float = 0.95) -> Answers:
        """Answer from the noisy sum of all patients' vectors.

        Args:
            sums: float64 of shape (dim,).
            sigma: standard deviation of the noise in each coordinate.
            sites: how many sites are in the sum.
            confidence: of each interval.
        """
        if not 0 < confidence < 1:
            raise UsageError(f"a confidence is above 0 and below 1, not {confidence!r}")
        answers, start = [], 0
        for question, scale in zip(self.questions, self._scales, strict=True):
            part = sums[start : start + question.dim] / scale
            answers.append(question.noisy(part, sigma / scale, confidence))
            start += question.dim
        return Answers(answers=_by_name(answers), sites=sites, confidence=confidence)

    @property
    def dim(self) -> int:
        """Number of coordinates of the private sum."""
        return sum(question.dim for question in self.questions)

    @property
    def _scales(self) -> list[float]:
        shares = math.fsum(question.share for question in self.questions)
        return [math.sqrt(question.share / shares) / question.norm for question in self.questions]

    @property
    def _digits(self) -> list[int]:
        """How many digits each whole number of one site needs at most."""
        most = [largest * self.max_patients for question in self.questions for largest in question.largest]
        return [next(length for length in range(1, 20) if (BASE**length - 1) // 2 >= total) for total in most]


def _split(total: int, length: int) -> list[int]:
    """Write a whole number in balanced digits, the lowest first: each from -DIGIT to DIGIT."""
    digits = []
    for _ in range(length):
        digit = (total + DIGIT) % BASE - DIGIT
        digits.append(digit)
        total = (total - digit) // BASE
    return digits


def _join(digits: Sequence[int]) -> int:
    """Put sums of digits together again."""
    total = 0
    for digit in reversed(digits):
        total = total * BASE + digit
    return total


def _by_name(answers: Sequence[Answer]) -> dict[str, Answer]:
    return {answer.name: answer for answer in answers}


def _present(condition: Any) -> dict[str, Any]:
    fields = ("column", "equals", "one_of", "at_least", "below")
    found = {name: getattr(condition, name) for name in fields}
    return {name: list(value) if name == "one_of" else value for name, value in found.items() if value is not None}
