"""What every kind of question can do, and how one patient's rows become one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from secagg.analytics.answers import Answer
from secagg.analytics.records import Condition, Records, finite, named
from secagg.errors import UsageError

Rows = Literal["mean", "first", "last", "min", "max"]
NUMERIC_ROWS = ("mean", "first", "last", "min", "max")


class Question(Protocol):
    """One question: linear in patients, each of whom moves it by a bounded amount.

    Attributes of the exact sums: ``largest`` has one entry for each whole number that is summed, the most that one
    patient adds to it. Attributes of the private sums: ``dim`` numbers, ``norm`` bounds one patient's Euclidean norm.
    """

    @property
    def name(self) -> str:
        """Name of the answer."""
        ...

    @property
    def share(self) -> float:
        """Part of the privacy budget, relative to the other questions of the query."""
        ...

    @property
    def largest(self) -> tuple[int, ...]:
        """Most that one patient adds to each whole number of the exact sum."""
        ...

    @property
    def dim(self) -> int:
        """Number of coordinates of the private sum."""
        ...

    @property
    def norm(self) -> float:
        """Bound on the Euclidean norm of one patient's vector."""
        ...

    def totals(self, records: Records) -> list[int]:
        """Return this site's whole numbers, each at least 0."""
        ...

    def vectors(self, records: Records) -> NDArray[np.float64]:
        """Return one vector for each patient, float64 of shape (patients, dim)."""
        ...

    def exact(self, totals: Sequence[int], least_cell: int | None) -> Answer:
        """Answer from the sum of all sites' whole numbers."""
        ...

    def noisy(self, sums: NDArray[np.float64], sigma: float, confidence: float) -> Answer:
        """Answer from the sum of all patients' vectors with normal noise of deviation ``sigma`` in each coordinate."""
        ...

    def config(self) -> dict[str, Any]:
        """Return the question as the table that ``from_config`` reads."""
        ...


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What all kinds have in common.

    Attributes:
        name: of the answer; by default made of kind and column.
        where: conditions; rows that do not fulfil them all are as good as absent.
        share: part of the privacy budget, relative to the other questions of the query.
    """

    name: str = ""
    where: tuple[Condition, ...] = ()
    share: float = 1.0

    def _check_asked(self, default_name: str) -> None:
        object.__setattr__(self, "name", self.name or default_name)
        named(self.name, "the name of a question")
        given: Any = self.where
        where = (given,) if isinstance(given, Condition) else tuple(given)
        if not all(isinstance(condition, Condition) for condition in where):
            raise UsageError(f"question {self.name!r}: where is a list of conditions")
        object.__setattr__(self, "where", where)
        if finite(self.share, f"question {self.name!r}: share") <= 0:
            raise UsageError(f"question {self.name!r}: share is a positive number, not {self.share!r}")


def bounds(low: object, high: object, name: str) -> tuple[float, float]:
    """Check public bounds.

    Raises:
        UsageError: bounds that are missing or make no interval.
    """
    for bound in (low, high):
        if bound is None:
            raise UsageError(
                f"question {name!r} needs low and high, agreed on without looking at the data: bounds taken from data "
                "tell about the most extreme patients"
            )
    least, most = finite(low, f"question {name!r}: low"), finite(high, f"question {name!r}: high")
    if not least < most or not np.isfinite(most - least):
        raise UsageError(f"question {name!r}: low {least:g} must be below high {most:g}")
    return least, most


def check_rows(rows: object, known: Sequence[str], name: str) -> None:
    """Refuse an unknown way to make one value of a patient's rows.

    Raises:
        UsageError: see above.
    """
    if rows not in known:
        raise UsageError(f"question {name!r}: rows is one of {', '.join(known)}, not {rows!r}")


def one_number(
    records: Records, column: str, where: Sequence[Condition], rows: Rows, low: float, high: float
) -> NDArray[np.float64]:
    """Return one number for each patient, in [low, high] or NaN, float64 of shape (patients,).

    Every row is moved into the bounds first, so one absurd row of a patient is no more than a bound.
    """
    numbers = np.clip(records.numbers(column), low, high)
    used = records.where(where) & ~np.isnan(numbers)
    patient, numbers = records.patient[used], numbers[used]
    value = np.full(records.patients, np.nan)
    if rows == "mean":
        count = np.bincount(patient, minlength=records.patients)
        with np.errstate(all="ignore"):  # nobody's rows: 0 / 0; absurd rows without bounds: infinite
            value = np.bincount(patient, numbers, records.patients) / count
        return np.clip(value, low, high)
    if rows == "first":
        value[patient[::-1]] = numbers[::-1]
    elif rows == "last":
        value[patient] = numbers
    else:
        (np.fmin if rows == "min" else np.fmax).at(value, patient, numbers)
    return value
