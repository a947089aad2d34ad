"""Counts and histograms: one patient is one unit in one place."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secagg.analytics.answers import WITHHELD, Answer, Estimate
from secagg.analytics.questions import NUMERIC_ROWS, Asked, Rows, check_rows, one_number
from secagg.analytics.records import Category, Records, finite, named
from secagg.errors import UsageError

OTHER = "other"
"""Label of the bin for patients who are in no other: values beyond the edges, unknown categories, missing values."""

CATEGORY_ROWS = ("most", "first", "last")


def scores(confidence: float) -> float:
    """Return how many standard deviations to both sides hold ``confidence`` of a normal law."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


@dataclass(frozen=True, kw_only=True)
class Count(Asked):
    """How many patients have a row that fulfils all of ``where``; without conditions, how many there are."""

    largest = (1,)
    dim = 1
    norm = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no question."""
        self._check_asked("count")

    def totals(self, records: Records) -> list[int]:
        """Return the number of patients."""
        return [int(self._present(records).sum())]

    def vectors(self, records: Records) -> NDArray[np.float64]:
        """Return 1 for each patient who counts."""
        return self._present(records).astype(np.float64)[:, None]

    def _present(self, records: Records) -> NDArray[np.bool_]:
        present = np.zeros(records.patients, np.bool_)
        present[records.patient[records.where(self.where)]] = True
        return present

    def exact(self, totals: Sequence[int], least_cell: int | None) -> Answer:
        """Return the count."""
        estimate, notes = Estimate.exact(totals[0]), tuple[str, ...]()
        if least_cell is not None and 0 < totals[0] < least_cell:
            estimate, notes = WITHHELD, (withheld(least_cell),)
        return Answer(name=self.name, kind="count", values={"count": estimate}, notes=notes)

    def noisy(self, sums: NDArray[np.float64], sigma: float, confidence: float) -> Answer:
        """Return the count, which may be negative."""
        value = Estimate.noisy(float(sums[0]), sigma, scores(confidence))
        return Answer(name=self.name, kind="count", values={"count": value})

    def config(self) -> dict[str, Any]:
        """Return the table."""
        return {"kind": "count", "name": self.name}


@dataclass(frozen=True, kw_only=True)
class Histogram(Asked):
    """How many patients are in each bin; every patient with a row that counts is in exactly one.

    Bins are [edge, next edge), the last one closed, as in ``numpy.histogram``; or categories. Patients who are in none
    are counted as ``"other"``, so the bins add up to all patients with a row that fulfils ``where``.

    Attributes:
        column: of the value.
        edges: public edges, ascending; or
        categories: public categories.
        rows: how a patient's rows become one value: ``"mean"`` (default with edges), ``"first"``, ``"last"``,
            ``"min"``, ``"max"``; with categories ``"most"`` (the most frequent known one, of equals the one that is
            listed first; default), ``"first"`` or ``"last"`` (known) one.

    Raises:
        UsageError: bins that depend on data, or are none.
    """

    column: str
    edges: tuple[float, ...] | None = None
    categories: tuple[Category, ...] | None = None
    rows: str | None = None

    norm = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no question."""
        named(self.column, "the column of a histogram")
        self._check_asked(f"histogram of {self.column}")
        if (self.edges is None) == (self.categories is None):
            raise UsageError(f"question {self.name!r} needs either edges or categories, agreed on beforehand")
        if self.edges is not None:
            object.__setattr__(self, "edges", public_edges(self.edges, self.name))
        else:
            object.__setattr__(self, "categories", _public_categories(self.categories, self.name))
        default, known = ("mean", NUMERIC_ROWS) if self.edges is not None else ("most", CATEGORY_ROWS)
        object.__setattr__(self, "rows", self.rows or default)
        check_rows(self.rows, known, self.name)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the bins, ``other`` last."""
        if self.categories is not None:
            return (*map(str, self.categories), OTHER)
        edges = self.edges or ()
        bins = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
        return (*bins, OTHER)

    @property
    def largest(self) -> tuple[int, ...]:
        """One patient is one unit in one bin."""
        return (1,) * self.dim

    @property
    def dim(self) -> int:
        """One coordinate for each bin."""
        return len(self.edges if self.edges is not None else (*(self.categories or ()), OTHER))

    def totals(self, records: Records) -> list[int]:
        """Return the number of patients in each bin."""
        bins = self._bins(records)
        return [int(count) for count in np.bincount(bins[bins >= 0], minlength=self.dim)]

    def vectors(self, records: Records) -> NDArray[np.float64]:
        """Return 1 in the bin of each patient who counts."""
        bins = self._bins(records)
        hot = np.zeros((records.patients, self.dim))
        hot[np.flatnonzero(bins >= 0), bins[bins >= 0]] = 1.0
        return hot

    def _bins(self, records: Records) -> NDArray[np.int64]:
        """Return the bin of each patient; -1 for those without a row that counts."""
        if self.edges is not None:
            value = one_number(records, self.column, self.where, _numeric(self.rows), -np.inf, np.inf)
            bins = places(value, self.edges)
        else:
            bins = self._categories(records)
        absent = np.ones(records.patients, np.bool_)
        absent[records.patient[records.where(self.where)]] = False
        return np.where(absent, -1, np.where(bins < 0, self.dim - 1, bins))

    def _categories(self, records: Records) -> NDArray[np.int64]:
        codes = records.codes(self.column, self.categories or ())
        used = records.where(self.where) & (codes >= 0)
        patient, codes = records.patient[used], codes[used]
        bins = np.full(records.patients, -1, np.int64)
        if self.rows == "first":
            bins[patient[::-1]] = codes[::-1]
        elif self.rows == "last":
            bins[patient] = codes
        else:
            pairs, often = np.unique(patient * self.dim + codes, return_counts=True)
            order = np.lexsort((-pairs, often))  # the most frequent last, of equals the first listed last
            bins[pairs[order] // self.dim] = pairs[order] % self.dim
        return bins

    def exact(self, totals: Sequence[int], least_cell: int | None) -> Answer:
        """Return the counts; cells from 1 to below ``least_cell`` are withheld, and one more if it were alone."""
        values = dict(zip(self.labels, map(Estimate.exact, totals), strict=True))
        notes: tuple[str, ...] = ()
        if least_cell is not None and (hidden := [cell for cell in range(self.dim) if 0 < totals[cell] < least_cell]):
            if len(hidden) == 1:  # it would follow from the number of all patients
                others = [cell for cell in range(self.dim) if totals[cell] and cell not in hidden]
                hidden.extend(sorted(others, key=lambda cell: totals[cell])[:1])
            values |= {self.labels[cell]: WITHHELD for cell in hidden}
            notes = (withheld(least_cell),)
        return Answer(name=self.name, kind="histogram", values=values, notes=notes)

    def noisy(self, sums: NDArray[np.float64], sigma: float, confidence: float) -> Answer:
        """Return the counts, which may be negative."""
        width = scores(confidence)
        values = {
            label: Estimate.noisy(float(count), sigma, width) for label, count in zip(self.labels, sums, strict=True)
        }
        return Answer(name=self.name, kind="histogram", values=values)

    def config(self) -> dict[str, Any]:
        """Return the table."""
        key, bins = ("categories", self.categories) if self.edges is None else ("edges", self.edges)
        return {"kind": "histogram", "name": self.name, "column": self.column, key: list(bins or ()), "rows": self.rows}


def public_edges(edges: object, name: str) -> tuple[float, ...]:
    """Check public edges.

    Raises:
        UsageError: a number or the name of a rule (which would need the data), or edges that do not ascend.
    """
    if not isinstance(edges, list | tuple | np.ndarray):
        raise UsageError(
            f"question {name!r}: edges are a list of numbers that everybody knows beforehand, not {edges!r}: "
            "edges taken from data tell about patients"
        )
    numbers = tuple(finite(float(edge) if isinstance(edge, np.number) else edge, "an edge") for edge in edges)
    if len(numbers) < 2 or any(high <= low for low, high in itertools.pairwise(numbers)):
        raise UsageError(f"question {name!r}: edges are at least two numbers, each larger than the one before")
    return numbers


def places(value: NDArray[np.float64], edges: Sequence[float]) -> NDArray[np.int64]:
    """Return in which bin each value is, int64 of the same shape; -1 beyond the edges and for NaN."""
    found = np.searchsorted(np.asarray(edges), value, "right").astype(np.int64) - 1
    last = len(edges) - 2
    found[value == edges[-1]] = last
    found[(found > last) | np.isnan(value)] = -1
    return found


def _public_categories(categories: object, name: str) -> tuple[Category, ...]:
    if not isinstance(categories, list | tuple) or not categories:
        raise UsageError(f"question {name!r}: categories are a list of values that everybody knows beforehand")
    if not all(isinstance(category, str | int | float) for category in categories):
        raise UsageError(f"question {name!r}: a category is a text or a number")
    labels = set(map(str, categories))
    if len(labels) != len(categories) or len(set(categories)) != len(categories):
        raise UsageError(f"question {name!r}: a category is listed twice")
    if OTHER in labels:
        raise UsageError(f"question {name!r}: {OTHER!r} is what everybody else is counted as; leave it out")
    return tuple(categories)


def _numeric(rows: str | None) -> Rows:
    return rows  # type: ignore[return-value]  # checked at construction


def withheld(least_cell: int) -> str:
    """Say what withholding is worth."""
    return (
        f"counts from 1 to {least_cell - 1} are withheld here; whoever opened the sum has seen them, and they may "
        "follow from other answers: only noise protects against both"
    )
