"""Records of one site: columns of equal length, and which rows belong to one patient.

Values decide nothing that others can see: a value that is missing, no number, or in no category never raises, it is
passed over (an error would tell that this site has such a record). Only the shape of the data can be refused: columns
that are not there or of other lengths.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from secagg.errors import UsageError
from secagg.privacy.patients import is_missing

Category = str | int | float | bool


class Columns(Protocol):
    """A dict of columns, a pandas DataFrame, or whatever else gives a column for a name."""

    def keys(self) -> Any:
        """Return the names of the columns."""
        ...

    def __getitem__(self, name: str, /) -> Any:
        """Return one column."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Which rows count: those with this value, one of these values, or a number in [at_least, below).

    Attributes:
        column: name of the column.
        equals: the value.
        one_of: the values.
        at_least: least number.
        below: number that is too large already.

    Raises:
        UsageError: no condition, or two of different kinds.
    """

    column: str
    equals: Category | None = None
    one_of: tuple[Category, ...] | None = None
    at_least: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        """Refuse what selects nothing in particular."""
        named(self.column, "a condition's column")
        ranged = self.at_least is not None or self.below is not None
        if (self.equals is not None) + (self.one_of is not None) + ranged != 1:
            raise UsageError(f"a condition on {self.column!r} has equals, one_of, or at_least and below")
        if self.one_of is not None:
            object.__setattr__(self, "one_of", tuple(self.one_of))
        for bound in (self.at_least, self.below):
            if bound is not None:
                finite(bound, f"a bound on {self.column!r}")

    def holds(self, records: Records) -> NDArray[np.bool_]:
        """Return for which rows it holds, shape (rows,); a missing value fulfils nothing."""
        if self.equals is not None or self.one_of is not None:
            values = (self.equals,) if self.equals is not None else self.one_of or ()
            return records.codes(self.column, values) >= 0
        numbers = records.numbers(self.column)
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.below is None else self.below
        return np.asarray((numbers >= low) & (numbers < high))


class Records:
    """Rows of one site, grouped by patient.

    Args:
        columns: one-dimensional columns of equal length by name: lists, or arrays of a type that does not depend on who
            is in them.
        patient: name of the column that says whose row it is; None if every row is a patient of its own. Rows without
            a patient (None, NaN) are left out, since nothing bounds whose they are.

    Raises:
        UsageError: columns of different lengths or shapes, or no column of that name.
    """

    def __init__(self, columns: Columns, patient: str | None = None) -> None:
        self._columns = {str(name): _column(columns[name], str(name)) for name in columns.keys()}  # noqa: SIM118
        lengths = {len(column) for column in self._columns.values()}
        if len(lengths) != 1:
            raise UsageError(f"records are columns of one length each, not of {sorted(lengths) or 'none'}")
        self.rows = lengths.pop()
        self.patient, self.patients = _grouped(None if patient is None else self._take(patient), self.rows)

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column as float64 of shape (rows,), NaN where there is no finite number."""
        values = self._take(column)
        if values.dtype.kind in "biuf":
            numbers = values.astype(np.float64)
        else:
            numbers = np.fromiter((_number(value) for value in values.tolist()), np.float64, self.rows)
        numbers[~np.isfinite(numbers)] = np.nan
        return numbers

    def codes(self, column: str, categories: Sequence[Category]) -> NDArray[np.int64]:
        """Return the place of each row's value among ``categories``, int64 of shape (rows,); -1 for any other."""
        places: dict[Hashable, int] = {category: place for place, category in enumerate(categories)}
        found = (places.get(value, -1) if _is_hashable(value) else -1 for value in self._take(column).tolist())
        return np.fromiter(found, np.int64, self.rows)

    def where(self, conditions: Sequence[Condition]) -> NDArray[np.bool_]:
        """Return which rows have a patient and fulfil all conditions, shape (rows,)."""
        chosen = self.patient >= 0
        for condition in conditions:
            chosen &= condition.holds(self)
        return np.asarray(chosen)

    def _take(self, column: str) -> NDArray[Any]:
        if column not in self._columns:
            raise UsageError(f"these records have no column {column!r}; they have {', '.join(self._columns)}")
        return self._columns[column]


def named(name: object, what: str) -> None:
    """Refuse what is no name.

    Raises:
        UsageError: see above.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"{what} is a text that is not empty, not {name!r}")


def finite(value: object, what: str) -> float:
    """Return a public number as a float.

    Raises:
        UsageError: no finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{what} is a finite number that everybody knows beforehand, not {value!r}")
    return float(value)


def _column(values: Any, name: str) -> NDArray[Any]:
    """Make an array of a column; a list keeps its values one by one.

    NumPy would choose one type for all of them: a text among numbers makes all of them texts, and NaN rounds long
    numbers, so that one patient's value would change everybody's.
    """
    if isinstance(values, list | tuple) and not (values and all(isinstance(value, list | tuple) for value in values)):
        return np.fromiter(values, object, len(values))
    try:
        column = np.asarray(values)
    except ValueError:
        column = np.empty(0)
    if column.ndim != 1:
        raise UsageError(f"column {name!r} is not one value for each row")
    return column


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _grouped(names: NDArray[Any] | None, rows: int) -> tuple[NDArray[np.int64], int]:
    """Number the patients in the order of their first rows; -1 for rows of nobody."""
    if names is None:
        return np.arange(rows, dtype=np.int64), rows
    numbers: dict[Hashable, int] = {}
    patient = np.full(rows, -1, np.int64)
    for row, name in enumerate(names.tolist()):
        if _is_hashable(name) and not is_missing(name):
            patient[row] = numbers.setdefault(name, len(numbers))
    return patient, len(numbers)
