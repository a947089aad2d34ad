"""Quantiles, from how many patients are at or below each cell of a public grid.

Exact: the sum is the histogram over the cells, and the answer names the cell that holds the quantile: the first one at
whose end a fraction p of the patients is reached (``inverted_cdf`` of numpy). What is not known is where inside of the
cell it is.

Private: all running counts F_i = h_0 + .. + h_i at once. Adding noise to h and summing up would give F_i the noise of i
cells. The matrix of ones below the diagonal is the square of B with the entries B_ij = f_(i-j), f_k = C(2k, k) / 4^k;
so B h is released with noise and multiplied by B again (Fichtenberger, Henzinger and Upadhyay 2023, "Constant matters",
theorem 1). A patient moves B h by a column of B, of norm s = sqrt(f_0^2 + ..) and noise in F_i is at most s times that
in a coordinate: s^2 is 2.3 for 64 cells, where a tree of histograms has 6 and plain summing 8.

A quantile is where the pinball loss is least, and the sum of F_i - p N over cells is that loss but for a constant: the
estimate is the cell where the noisy one is least. Its interval holds every cell that noise does not rule out: for the
true one F_q - p N >= 0 and F_(q-1) - p N < 0, two sentences about numbers that do not depend on noise, so each may fail
with half of the allowed probability, however many cells there are.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secagg.analytics.answers import WITHHELD, Answer, Estimate
from secagg.analytics.counting import places, public_edges, scores, withheld
from secagg.analytics.questions import NUMERIC_ROWS, Asked, Rows, bounds, check_rows, one_number
from secagg.analytics.records import Records, finite, named
from secagg.errors import UsageError

DEFAULT_CELLS = 64
MOST_CELLS = 4096


@dataclass(frozen=True, kw_only=True)
class Quantiles(Asked):
    """Quantiles of one number of each patient, as cells of a public grid.

    Attributes:
        column: of the number.
        at: the fractions, each above 0 and below 1.
        low: public bound; smaller numbers count as in the first cell.
        high: public bound; larger numbers count as in the last cell.
        cells: number of cells between them, of equal width; or
        edges: the edges of the cells, in place of ``low``, ``high`` and ``cells``; what those become.
        rows: how a patient's rows become one number: ``"mean"``, ``"first"``, ``"last"``, ``"min"`` or ``"max"``.

    Raises:
        UsageError: no such fractions, or a grid that is none.
    """

    column: str
    at: tuple[float, ...] = (0.25, 0.5, 0.75)
    low: float | None = None
    high: float | None = None
    cells: int | None = None
    edges: tuple[float, ...] | None = None
    rows: Rows = "mean"

    def __post_init__(self) -> None:
        """Refuse what is no question."""
        named(self.column, "the column of quantiles")
        self._check_asked(f"quantiles of {self.column}")
        given: Any = self.at
        at = given if isinstance(given, list | tuple) else (given,)
        fractions = tuple(finite(fraction, "a fraction of quantiles") for fraction in at)
        if not fractions or len(set(fractions)) != len(fractions) or not all(0 < part < 1 for part in fractions):
            raise UsageError(f"question {self.name!r}: at lists fractions above 0 and below 1, each once")
        object.__setattr__(self, "at", fractions)
        object.__setattr__(self, "edges", self._grid())
        for name in ("low", "high", "cells"):
            object.__setattr__(self, name, None)
        if len(self._edges) - 1 > MOST_CELLS:
            raise UsageError(f"question {self.name!r}: at most {MOST_CELLS} cells")
        check_rows(self.rows, NUMERIC_ROWS, self.name)

    def _grid(self) -> tuple[float, ...]:
        if self.edges is not None:
            if (self.low, self.high, self.cells) != (None, None, None):
                raise UsageError(f"question {self.name!r}: give edges, or low, high and cells, not both")
            return public_edges(self.edges, self.name)
        low, high = bounds(self.low, self.high, self.name)
        cells: Any = DEFAULT_CELLS if self.cells is None else self.cells
        if isinstance(cells, bool) or not isinstance(cells, int) or not 1 <= cells <= MOST_CELLS:
            raise UsageError(f"question {self.name!r}: cells is a whole number from 1 to {MOST_CELLS}")
        return public_edges(np.linspace(low, high, cells + 1), self.name)

    @property
    def _edges(self) -> tuple[float, ...]:
        return self.edges or ()

    @property
    def dim(self) -> int:
        """One coordinate for each cell."""
        return len(self._edges) - 1

    @property
    def largest(self) -> tuple[int, ...]:
        """One patient is one unit in one cell."""
        return (1,) * self.dim

    @property
    def norm(self) -> float:
        """Norm of the longest column of B, the first."""
        return math.sqrt(float(np.dot(root(self.dim), root(self.dim)))) * (1 + 2.0**-50)

    def totals(self, records: Records) -> list[int]:
        """Return the number of patients in each cell."""
        cells = self._cells(records)
        return [int(count) for count in np.bincount(cells[cells >= 0], minlength=self.dim)]

    def vectors(self, records: Records) -> NDArray[np.float64]:
        """Return the column of B that each patient's cell stands for; zeros for those without a number."""
        columns = np.zeros((self.dim + 1, self.dim))
        for cell in range(self.dim):
            columns[cell, cell:] = root(self.dim)[: self.dim - cell]
        return columns[self._cells(records)]  # cell -1 takes the last row, which is zero

    def _cells(self, records: Records) -> NDArray[np.int64]:
        value = one_number(records, self.column, self.where, self.rows, self._edges[0], self._edges[-1])
        return places(value, self._edges)

    def exact(self, totals: Sequence[int], least_cell: int | None) -> Answer:
        """Return the middle of the cell that holds each quantile, the cell as its interval, and the count."""
        count, running = sum(totals), np.cumsum(np.array(totals, dtype=object))
        values, notes = dict.fromkeys([*map(str, self.at), "count"], WITHHELD), (self._note,)
        if least_cell is not None and 0 < count < least_cell:
            notes = (withheld(least_cell),)
        else:
            values["count"] = Estimate.exact(count)
            for fraction in self.at if count else ():
                reached = [below >= Fraction(repr(fraction)) * count for below in running]
                values[str(fraction)] = self._cell(reached.index(True), reached.index(True), reached.index(True))
        return Answer(name=self.name, kind="quantiles", values=values, notes=notes)

    def noisy(self, sums: NDArray[np.float64], sigma: float, confidence: float) -> Answer:
        """Return the middle of the likeliest cell of each quantile, and the cells that noise leaves possible."""
        square = _square_root(self.dim)
        running = square @ sums
        values = {}
        for fraction in self.at:
            above = running - fraction * running[-1]
            spread = sigma * np.sqrt(np.sum((square - fraction * square[-1]) ** 2, axis=1))
            spread *= scores(confidence)  # of both tails together, as each sentence gets half
            possible = (above >= -spread) & np.concatenate(([True], (above < spread)[:-1]))
            best = int(np.argmin(np.concatenate(([0.0], np.cumsum(above)[:-1]))))
            among = [best, *np.flatnonzero(possible).tolist()]
            values[str(fraction)] = self._cell(best, min(among), max(among))
        deviation = sigma * float(np.linalg.norm(square[-1]))
        values["count"] = Estimate.noisy(float(running[-1]), deviation, scores(confidence))
        return Answer(name=self.name, kind="quantiles", values=values, notes=(self._note,))

    def _cell(self, best: int, first: int, last: int) -> Estimate:
        edges = self._edges
        return Estimate(value=edges[best] / 2 + edges[best + 1] / 2, low=edges[first], high=edges[last + 1])

    @property
    def _note(self) -> str:
        return (
            "a quantile is somewhere in its interval, which ends at cell edges; numbers beyond the grid are at its ends"
        )

    def config(self) -> dict[str, Any]:
        """Return the table."""
        grid = {"edges": list(self._edges), "rows": self.rows}
        return {"kind": "quantiles", "name": self.name, "column": self.column, "at": list(self.at), **grid}


@functools.lru_cache(maxsize=32)
def root(dim: int) -> NDArray[np.float64]:
    """Return f_0 .. f_(dim - 1), float64: the first column of B."""
    k = np.arange(1, dim)
    column = np.concatenate(([1.0], np.cumprod(1 - 1 / (2 * k))))
    column.flags.writeable = False
    return column


def _square_root(dim: int) -> NDArray[np.float64]:
    """Return B, float64 of shape (dim, dim)."""
    rows, columns = np.indices((dim, dim))
    return np.where(rows >= columns, root(dim)[np.abs(rows - columns)], 0.0)
