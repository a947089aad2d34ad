"""Queries as tables: what a study's ``[task]`` says.

```toml
[task]
kind = "analytics"
patient = "patient_id"            # left out: every row is a patient
least_cell = 5

[[task.query]]
kind = "count"
name = "stage I, 65 and older"
where = [{ column = "stage", equals = "I" }, { column = "age", at_least = 65 }]

[[task.query]]
kind = "quantiles"
column = "age"
low = 0
high = 120
at = [0.25, 0.5, 0.75]
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from secagg.analytics.counting import Count, Histogram
from secagg.analytics.moments import Mean, Variance
from secagg.analytics.quantiles import Quantiles
from secagg.analytics.query import Query
from secagg.analytics.questions import Question
from secagg.analytics.records import Condition
from secagg.errors import UsageError

KINDS: dict[str, Any] = {
    "count": Count,
    "mean": Mean,
    "variance": Variance,
    "histogram": Histogram,
    "quantiles": Quantiles,
}
KEYS = ("kind", "patient", "least_cell", "max_patients", "query")


def from_config(table: Mapping[str, Any]) -> Query:
    """Build the query that a table describes, such as the parsed ``[task]`` of a study.

    Keys: ``query``, a list of tables with the ``kind`` of a question and its attributes (``where``: a list of tables
    with the attributes of `Condition`); ``patient``, ``least_cell`` and ``max_patients`` as those of `Query`; ``kind``,
    if it is there, is ``"analytics"``. ``from_config(query.config())`` asks the same as ``query``.

    Raises:
        UsageError: an unknown key, or values that make no query.
    """
    if table.get("kind", "analytics") != "analytics":
        raise UsageError(f"this task is of kind {table['kind']!r}, not 'analytics'")
    _known(table, KEYS, "a query")
    questions = _tables(table.get("query"), "query")
    given = {key: table[key] for key in ("patient", "least_cell", "max_patients") if key in table}
    return Query(*(_question(question) for question in questions), **given)


def _question(table: Mapping[str, Any]) -> Question:
    kind = table.get("kind")
    if kind not in KINDS:
        raise UsageError(f"a question's kind is one of {', '.join(KINDS)}, not {kind!r}")
    names = [entry.name for entry in fields(KINDS[kind])]
    _known(table, ["kind", *names], f"a question of kind {kind!r}")
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key != "kind"}
    if "where" in given:
        given["where"] = tuple(_condition(condition) for condition in _tables(table["where"], "where"))
    question: Question = _built(KINDS[kind], given, f"a question of kind {kind!r}")
    return question


def _condition(table: Mapping[str, Any]) -> Condition:
    _known(table, [entry.name for entry in fields(Condition)], "a condition")
    condition: Condition = _built(Condition, table, "a condition")
    return condition


def _built(kind: Any, given: Mapping[str, Any], what: str) -> Any:
    try:
        return kind(**given)
    except TypeError as error:
        missing = [entry.name for entry in fields(kind) if entry.name not in given]
        raise UsageError(f"{what} cannot be read ({error}); it may lack {', '.join(missing)}") from error


def _tables(value: object, key: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list | tuple) or not all(isinstance(entry, Mapping) for entry in value):
        raise UsageError(f"{key} is a list of tables")
    return value


def _known(table: Mapping[str, Any], keys: Sequence[str], what: str) -> None:
    if unknown := [key for key in table if key not in keys]:
        raise UsageError(f"{what} has no {unknown[0]!r}; it may have {', '.join(keys)}")
