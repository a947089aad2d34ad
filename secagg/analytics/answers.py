"""What a query gives back: numbers, each with its error, and what was done to them afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from secagg.privacy import Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One number and how far it may be off.

    Attributes:
        value: the number; None if it was withheld, or if there is none (the mean of nobody).
        deviation: standard deviation that noise gives it; 0 if exact.
        low: with ``high``, contains the true number over these patients with the confidence of the answers; the public
            bounds where noise leaves it open.
        high: see ``low``.
    """

    value: float | None
    deviation: float = 0.0
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """Return a number without noise."""
        return cls(value=value, low=value, high=value)

    @classmethod
    def noisy(cls, value: float, deviation: float, scores: float) -> Estimate:
        """Return a number with normal noise, its interval ``scores`` standard deviations to each side."""
        reach = scores * deviation
        return cls(value=value, deviation=deviation, low=value - reach, high=value + reach)

    def at_least_zero(self) -> Estimate:
        """Return it with nothing below zero: post-processing, free of privacy cost; it biases small counts upwards."""
        value = None if self.value is None else max(0.0, self.value)
        return Estimate(value=value, deviation=self.deviation, low=max(0.0, self.low), high=max(0.0, self.high))

    def __str__(self) -> str:
        if self.value is None:
            return "withheld"
        if not self.deviation and self.low == self.high:
            return f"{self.value:.6g}"
        return f"{self.value:.6g} ({self.low:.6g} to {self.high:.6g})"


WITHHELD = Estimate(value=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one question.

    Attributes:
        name: of the question.
        kind: ``"count"``, ``"mean"``, ``"variance"``, ``"histogram"`` or ``"quantiles"``.
        values: estimates by label: ``"count"``, ``"mean"`` and ``"variance"`` as far as the question has them; the bins
            of a histogram and ``"other"``; quantiles by their fraction.
        notes: what was done afterwards, and what to keep in mind.
    """

    name: str
    kind: str
    values: Mapping[str, Estimate]
    notes: tuple[str, ...] = ()

    @property
    def value(self) -> float | None:
        """The main number: the estimate that is named like the kind of question, else the first."""
        return self.values.get(self.kind, next(iter(self.values.values()))).value

    def __getitem__(self, label: str) -> Estimate:
        return self.values[label]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers to a query, and what they cost.

    Attributes:
        answers: by name of the question, in the order of the query.
        sites: how many sites are in the sum.
        confidence: of each interval by itself (not of all of them together); 1 if exact.
        claim: what privacy is promised for this release; None without noise.
    """

    answers: Mapping[str, Answer]
    sites: int
    confidence: float
    claim: Claim | None = field(default=None)

    @property
    def exact(self) -> bool:
        """Whether there is no noise."""
        return self.claim is None

    def __getitem__(self, name: str) -> Answer:
        return self.answers[name]

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.answers.values())

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain types for JSON; numbers that there are none of as None."""
        return {
            "sites": self.sites,
            "exact": self.exact,
            "confidence": self.confidence,
            "claim": None if self.claim is None else str(self.claim),
            "epsilon": None if self.claim is None else self.claim.epsilon,
            "delta": None if self.claim is None else self.claim.delta,
            "answers": [
                {
                    "name": answer.name,
                    "kind": answer.kind,
                    "values": {
                        label: {
                            "value": estimate.value,
                            "deviation": _plain(estimate.deviation),
                            "low": _plain(estimate.low),
                            "high": _plain(estimate.high),
                        }
                        for label, estimate in answer.values.items()
                    },
                    "notes": list(answer.notes),
                }
                for answer in self
            ],
        }

    def __str__(self) -> str:
        """Return one line for each number."""
        if self.claim is None:
            lines = [f"exact sums over {self.sites} sites, without noise: small counts tell about patients"]
        else:
            lines = [f"sums over {self.sites} sites; {self.claim}; intervals hold with {self.confidence:.0%} each"]
        for answer in self:
            lines.append(f"{answer.name} ({answer.kind})")
            lines.extend(f"  {label:<20} {estimate}" for label, estimate in answer.values.items())
            lines.extend(f"  note: {note}" for note in answer.notes)
        return "\n".join(lines)


def _plain(number: float) -> float | None:
    return number if math.isfinite(number) else None
