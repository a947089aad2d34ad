"""Mean and variance of one number of each patient, moved into public bounds.

Exact: a value is a whole number k of steps above ``low``, rounded to the nearest; the sums of 1, k and k^2 are whole
numbers, and the answer is their exact quotient, rounded once. So it is the mean of values that are each half a step off
at most.

Private: with u = (x - middle) / half the range, in [-1, 1], a patient is the vector (1, u) or (1, u, 2 u^2 - 1) of
Chebyshev polynomials, of norm at most sqrt(2) or sqrt(3). (They are as long as powers of u are at most, and the last
one carries the second moment at twice the scale.) Intervals are Fieller's (1954): a mean m is inside if S - m N, which
is normal with mean zero for the true m, is not too far from zero. They hold whatever the count is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secagg.analytics.answers import WITHHELD, Answer, Estimate
from secagg.analytics.counting import scores, withheld
from secagg.analytics.questions import NUMERIC_ROWS, Asked, Rows, bounds, check_rows, one_number
from secagg.analytics.records import Records, finite, named
from secagg.errors import UsageError

DEFAULT_STEPS = 1 << 20
MOST_STEPS = 1 << 31


@dataclass(frozen=True, kw_only=True)
class Mean(Asked):
    """Mean of one number of each patient.

    Attributes:
        column: of the number.
        low: public bound; smaller numbers count as this.
        high: public bound; larger numbers count as this.
        resolution: exact answers round each patient's number to multiples of this above ``low``; by default 2^-20 of
            the range.
        rows: how a patient's rows become one number: ``"mean"``, ``"first"``, ``"last"``, ``"min"`` or ``"max"``.

    Raises:
        UsageError: bounds that are missing or make no interval.
    """

    column: str
    low: float
    high: float
    resolution: float | None = None
    rows: Rows = "mean"

    kind = "mean"
    dim = 2

    def __post_init__(self) -> None:
        """Refuse what is no question."""
        named(self.column, f"the column of a {self.kind}")
        self._check_asked(f"{self.kind} of {self.column}")
        low, high = bounds(self.low, self.high, self.name)
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        if self.resolution is not None and not 0 < finite(self.resolution, "a resolution") <= high - low:
            raise UsageError(f"question {self.name!r}: the resolution is positive and within the range")
        if self.steps > MOST_STEPS:
            raise UsageError(f"question {self.name!r}: at most 2^31 steps of the resolution fit into the range")
        check_rows(self.rows, NUMERIC_ROWS, self.name)

    @property
    def step(self) -> Fraction:
        """The resolution, as written in decimals."""
        if self.resolution is None:
            return (Fraction(self.high) - Fraction(self.low)) / DEFAULT_STEPS
        return Fraction(repr(self.resolution))

    @property
    def steps(self) -> int:
        """Number of the last step within the bounds."""
        return math.ceil((Fraction(self.high) - Fraction(self.low)) / self.step)

    @property
    def norm(self) -> float:
        """Bound on the norm of one patient's vector: every coordinate is within [-1, 1]."""
        return math.sqrt(self.dim)

    @property
    def largest(self) -> tuple[int, ...]:
        """Most that one patient adds to the sums of 1 and k."""
        return (1, self.steps)

    def totals(self, records: Records) -> list[int]:
        """Return the sums of 1 and k."""
        numbers = self._whole(records)
        return [len(numbers), sum(numbers)]

    def vectors(self, records: Records) -> NDArray[np.float64]:
        """Return (1, u) for each patient who has a number, else zeros."""
        u = self._scaled(records)
        return np.where(np.isnan(u)[:, None], 0.0, np.stack([np.ones_like(u), u], axis=1))

    def exact(self, totals: Sequence[int], least_cell: int | None) -> Answer:
        """Return the mean and how many patients have a number."""
        return self._exact(totals, least_cell, {"mean": _exactly(self._mean(totals))})

    def noisy(self, sums: NDArray[np.float64], sigma: float, confidence: float) -> Answer:
        """Return the mean and the count."""
        values = {
            "mean": self._value(_ratio(sums[1], sums[0], sigma, scores(confidence))),
            "count": Estimate.noisy(float(sums[0]), sigma, scores(confidence)),
        }
        return Answer(name=self.name, kind=self.kind, values=values)

    def config(self) -> dict[str, Any]:
        """Return the table."""
        given = {"column": self.column, "low": self.low, "high": self.high, "rows": self.rows}
        resolution = {} if self.resolution is None else {"resolution": self.resolution}
        return {"kind": self.kind, "name": self.name, **given, **resolution}

    @property
    def _half(self) -> float:
        return self.high / 2 - self.low / 2

    def _numbers(self, records: Records) -> NDArray[np.float64]:
        return one_number(records, self.column, self.where, self.rows, self.low, self.high)

    def _whole(self, records: Records) -> list[int]:
        numbers = self._numbers(records)
        steps = np.rint((numbers[~np.isnan(numbers)] - self.low) / float(self.step))
        found: list[int] = np.clip(steps, 0, self.steps).astype(np.int64).tolist()
        return found

    def _scaled(self, records: Records) -> NDArray[np.float64]:
        middle = self.low / 2 + self.high / 2
        return np.clip((self._numbers(records) - middle) / self._half, -1.0, 1.0)

    def _mean(self, totals: Sequence[int]) -> Fraction | None:
        return None if totals[0] == 0 else Fraction(self.low) + self.step * Fraction(totals[1], totals[0])

    def _exact(self, totals: Sequence[int], least_cell: int | None, values: dict[str, Estimate]) -> Answer:
        values["count"] = Estimate.exact(totals[0])
        notes = (f"each patient's number was rounded to {float(self.step):.6g}",)
        if least_cell is not None and 0 < totals[0] < least_cell:
            values, notes = dict.fromkeys(values, WITHHELD), (withheld(least_cell),)
        return Answer(name=self.name, kind=self.kind, values=values, notes=notes)

    def _value(self, ratio: Estimate) -> Estimate:
        """From a mean of u to one of x."""

        def back(u: float) -> float:
            return (self.low / 2 + self.high / 2) + self._half * u

        value = None if ratio.value is None else back(ratio.value)
        return Estimate(value=value, deviation=self._half * ratio.deviation, low=back(ratio.low), high=back(ratio.high))


@dataclass(frozen=True, kw_only=True)
class Variance(Mean):
    """Variance of one number of each patient (the mean squared distance from the mean), with mean and count.

    Attributes and errors as those of `Mean`.
    """

    kind = "variance"
    dim = 3

    @property
    def largest(self) -> tuple[int, ...]:
        """Most that one patient adds to the sums of 1, k and k^2."""
        return (1, self.steps, self.steps**2)

    def totals(self, records: Records) -> list[int]:
        """Return the sums of 1, k and k^2."""
        numbers = self._whole(records)
        return [len(numbers), sum(numbers), sum(number * number for number in numbers)]

    def vectors(self, records: Records) -> NDArray[np.float64]:
        """Return (1, u, 2 u^2 - 1) for each patient who has a number, else zeros."""
        u = self._scaled(records)
        return np.where(np.isnan(u)[:, None], 0.0, np.stack([np.ones_like(u), u, 2 * u * u - 1], axis=1))

    def exact(self, totals: Sequence[int], least_cell: int | None) -> Answer:
        """Return variance, mean and count."""
        variance = None
        if totals[0]:
            variance = self.step**2 * (Fraction(totals[2], totals[0]) - Fraction(totals[1], totals[0]) ** 2)
        return self._exact(totals, least_cell, {"variance": _exactly(variance), "mean": _exactly(self._mean(totals))})

    def noisy(self, sums: NDArray[np.float64], sigma: float, confidence: float) -> Answer:
        """Return variance, mean and count; the variance's interval is made of two, each with half of the failures."""
        each = scores(1 - (1 - confidence) / 2)
        first, second = _ratio(sums[1], sums[0], sigma, each), _ratio(sums[2], sums[0], sigma, each)
        nearest = 0.0 if first.low <= 0 <= first.high else min(abs(first.low), abs(first.high))
        farthest = max(abs(first.low), abs(first.high))
        low = max(0.0, (second.low + 1) / 2 - farthest**2)
        high = min(1.0 - nearest**2, (second.high + 1) / 2 - nearest**2)
        scale = self._half**2
        value, deviation = None, math.inf
        if first.value is not None and second.value is not None:
            value = min(max((second.value + 1) / 2 - first.value**2, 0.0), 1.0) * scale
            # To first order, from (t + 1) / 2 - u^2 with u = S / N, t = T / N and independent noise in S, T and N.
            by_count = 2 * first.value**2 - second.value / 2
            deviation = scale * sigma / float(sums[0]) * math.sqrt(0.25 + 4 * first.value**2 + by_count**2)
        estimate = Estimate(value=value, deviation=deviation, low=low * scale, high=max(low, high) * scale)
        answer = super().noisy(sums[:2], sigma, confidence)
        return Answer(name=self.name, kind=self.kind, values={"variance": estimate, **answer.values})


def _ratio(total: float, count: float, sigma: float, width: float) -> Estimate:
    """Return total / count within [-1, 1], both with independent normal noise, and Fieller's interval.

    The interval is where (total - r count)^2 <= (width sigma)^2 (1 + r^2), cut to [-1, 1]; all of it if the count does
    not stand out from its noise.
    """
    total, count, reach = float(total), float(count), (width * sigma) ** 2
    if count <= 0:
        return Estimate(value=None, deviation=math.inf, low=-1.0, high=1.0)
    ratio = min(max(total / count, -1.0), 1.0)
    deviation = sigma * math.sqrt(1 + ratio * ratio) / count
    leading = count * count - reach
    inside = (total * count) ** 2 - leading * (total * total - reach)
    if leading <= 0 or inside < 0:
        return Estimate(value=ratio, deviation=deviation, low=-1.0, high=1.0)
    middle, half = total * count / leading, math.sqrt(inside) / leading
    low, high = (min(max(end, -1.0), 1.0) for end in (middle - half, middle + half))
    return Estimate(value=ratio, deviation=deviation, low=low, high=high)


def _exactly(value: Fraction | None) -> Estimate:
    return WITHHELD if value is None else Estimate.exact(float(value))
