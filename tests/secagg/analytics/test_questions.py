"""Questions: public bounds only, tables there and back, and one patient's reach whatever the rows hold."""

from __future__ import annotations

import math
import tomllib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import UsageError
from secagg.analytics import Condition, Count, Histogram, Mean, Quantiles, Query, Records, Variance, from_config, tables
from secagg.analytics.quantiles import root


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Histogram(column="x", edges=10), "beforehand"),
        (lambda: Histogram(column="x", edges="auto"), "beforehand"),
        (lambda: Histogram(column="x", edges=(1.0,)), "edges are at least two"),
        (lambda: Histogram(column="x", edges=(1.0, 1.0)), "larger than the one before"),
        (lambda: Histogram(column="x", edges=(0.0, math.inf)), "finite"),
        (lambda: Histogram(column="x"), "either edges or categories"),
        (lambda: Histogram(column="x", edges=(0, 1), categories=("a",)), "either edges or categories"),
        (lambda: Histogram(column="x", categories="abc"), "beforehand"),
        (lambda: Histogram(column="x", categories=("a", "a")), "twice"),
        (lambda: Histogram(column="x", categories=("1", 1)), "twice"),
        (lambda: Histogram(column="x", categories=("other",)), "leave it out"),
        (lambda: Histogram(column="x", categories=(None,)), "text or a number"),
        (lambda: Histogram(column="x", edges=(0, 1), rows="most"), "rows is one of"),
        (lambda: Mean(column="x", low=None, high=1), "without looking at the data"),
        (lambda: Mean(column="x", low=1, high=1), "below"),
        (lambda: Mean(column="x", low=0, high=math.nan), "finite"),
        (lambda: Mean(column="x", low=0, high=1, resolution=0.0), "resolution"),
        (lambda: Mean(column="x", low=0, high=1, resolution=1e-12), "2\\^31"),
        (lambda: Mean(column="", low=0, high=1), "not empty"),
        (lambda: Mean(column="x", low=0, high=1, share=0.0), "share"),
        (lambda: Mean(column="x", low=0, high=1, where=("age",)), "list of conditions"),
        (lambda: Quantiles(column="x"), "without looking"),
        (lambda: Quantiles(column="x", low=0, high=1, at=(0.5, 1.0)), "above 0 and below 1"),
        (lambda: Quantiles(column="x", low=0, high=1, at=()), "above 0 and below 1"),
        (lambda: Quantiles(column="x", low=0, high=1, edges=(0, 1)), "not both"),
        (lambda: Quantiles(column="x", low=0, high=1, cells=0), "cells"),
        (lambda: Quantiles(column="x", edges=tuple(range(5000))), "4096"),
        (lambda: Condition(column="x"), "equals"),
        (lambda: Condition(column="x", equals=1, below=2), "equals"),
        (lambda: Condition(column="x", below=math.inf), "finite"),
        (Query, "at least one"),
        (lambda: Query(Count(), Count()), "two questions"),
        (lambda: Query(Count(), least_cell=1), "least_cell"),
        (lambda: Query(Count(), max_patients=0), "max_patients"),
        (lambda: Query(Count(), patient=""), "patients"),
    ],
)
def test_refused_with_the_reason(make, word):
    with pytest.raises(UsageError, match=word):
        make()


QUERY = Query(
    Count(name="old women", where=(Condition(column="age", at_least=65), Condition(column="sex", one_of=("f", "F")))),
    Mean(column="bmi", low=10, high=60, share=2.0, rows="last"),
    Variance(column="bmi", low=10, high=60, resolution=0.5),
    Histogram(column="stage", categories=("I", "II")),
    Histogram(column="age", edges=(0, 50, 100), rows="max"),
    Quantiles(column="age", low=0, high=120, cells=12, at=(0.5,)),
    patient="id",
    least_cell=5,
)


def test_tables_there_and_back():
    assert from_config(QUERY.config()) == QUERY
    assert from_config({"kind": "analytics", **QUERY.config()}).hash == QUERY.hash


def test_the_table_in_the_docstring():
    text = (tables.__doc__ or "").split("```toml")[1].split("```")[0]
    query = from_config(tomllib.loads(text)["task"])
    assert [question.name for question in query.questions] == ["stage I, 65 and older", "quantiles of age"]
    assert query.patient == "patient_id"
    assert query.least_cell == 5


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({"kind": "train"}, "not 'analytics'"),
        ({"queries": []}, "has no 'queries'"),
        ({"query": {}}, "list of tables"),
        ({"query": [{"kind": "sum"}]}, "kind is one of"),
        ({"query": [{"kind": "mean", "column": "x", "bins": 3}]}, "has no 'bins'"),
        ({"query": [{"kind": "mean", "column": "x"}]}, "may lack"),
        ({"query": [{"kind": "count", "where": [{"colum": "x"}]}]}, "has no 'colum'"),
        ({"query": [{"kind": "count", "where": "x"}]}, "list of tables"),
        ({"query": []}, "at least one"),
    ],
)
def test_bad_tables(table, word):
    with pytest.raises(UsageError, match=word):
        from_config(table)


VALUES = st.one_of(
    st.none(), st.floats(), st.integers(-(10**400), 10**400), st.text(max_size=3), st.booleans(), st.lists(st.none())
)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(st.one_of(st.integers(0, 3), st.none()), VALUES, VALUES, VALUES, VALUES), max_size=12),
)
def test_no_value_raises_and_no_patient_reaches_further_than_one(rows):
    columns = {}
    for place, name in enumerate(("id", "age", "sex", "bmi", "stage")):
        columns[name] = np.empty(len(rows), dtype=object)
        columns[name][:] = [row[place] for row in rows]
    records = QUERY.records(columns)
    vectors = QUERY.vectors(records)
    assert vectors.shape == (records.patients, QUERY.dim)
    assert records.patients == len({row[0] for row in rows if row[0] is not None})
    assert np.all(np.linalg.norm(vectors, axis=1) <= 1 + 1e-12)
    digits = QUERY.contribute(records)["answers"]
    assert np.all(np.abs(digits) <= 32767)
    assert np.all(digits == np.rint(digits))


def test_patients_are_rows_of_one_name():
    records = Records({"id": ["b", "a", None, "b", float("nan"), ""], "x": [1, 2, 3, 4, 5, 6]}, "id")
    assert records.patients == 2
    assert records.patient.tolist() == [0, 1, -1, 0, -1, -1]
    query = Query(Mean(column="x", low=0, high=10, resolution=1.0), patient="id")
    for rows, total in (("mean", 2 + 2), ("first", 1 + 2), ("last", 4 + 2), ("min", 1 + 2), ("max", 4 + 2)):
        question = Mean(column="x", low=0, high=10, resolution=1.0, rows=rows)
        assert question.totals(query.records({"id": ["b", "a", None, "b"], "x": [1, 2, 3, 4]}))[1] in (total, total + 1)


def test_several_categories_of_one_patient():
    columns = {"id": [1, 1, 1, 2, 2, 3], "stage": ["II", "I", "II", "II", "I", "?"]}
    found = {}
    for rows in ("most", "first", "last"):
        question = Histogram(column="stage", categories=("I", "II"), rows=rows)
        found[rows] = question.totals(Records(columns, "id"))
    assert found == {"most": [1, 1, 1], "first": [0, 2, 1], "last": [1, 1, 1]}


def test_records_of_other_shapes():
    with pytest.raises(UsageError, match="one length"):
        Records({"x": [1, 2], "y": [1]})
    with pytest.raises(UsageError, match="one length"):
        Records({})
    with pytest.raises(UsageError, match="one value for each row"):
        Records({"x": [[1, 2], [3, 4]]})
    with pytest.raises(UsageError, match="no column 'id'"):
        Records({"x": [1]}, "id")


def test_conditions_choose_rows():
    records = Records({"sex": ["f", "m", "f", None], "age": [70, 80, "x", 50]})
    assert records.where([Condition(column="sex", equals="f")]).tolist() == [True, False, True, False]
    assert records.where([Condition(column="sex", one_of=("m",))]).tolist() == [False, True, False, False]
    assert records.where([Condition(column="age", at_least=70, below=80)]).tolist() == [True, False, False, False]
    both = [Condition(column="sex", equals="f"), Condition(column="age", below=100)]
    assert records.where(both).tolist() == [True, False, False, False]


def test_the_square_root_of_summing():
    for dim in (1, 2, 17):
        column = root(dim)
        square = np.array([[column[i - j] if i >= j else 0.0 for j in range(dim)] for i in range(dim)])
        np.testing.assert_allclose(square @ square, np.tri(dim), atol=1e-12)
    assert float(root(64) @ root(64)) == pytest.approx(2.39, abs=0.01)


@pytest.mark.parametrize("other", ["unknown", None, math.nan, 2.5, [1], (1, [2])])
def test_one_patients_value_changes_nobody_elses(other):
    """A list that became an array of one type would make texts of all numbers, or round all long ones."""
    query = Query(Count(where=(Condition(column="grade", equals=1),)), patient="id")
    ids, grades = [2**60 + number for number in range(20)], [1] * 20
    alone = query.vectors({"id": ids, "grade": grades}).sum(axis=0)
    assert alone.tolist() == [20.0]
    assert query.vectors({"id": [*ids, 7], "grade": [*grades, other]}).sum(axis=0).tolist() == [20.0]
    named = 21.0 if other in ("unknown", 2.5) else 20.0
    assert query.vectors({"id": [*ids, other], "grade": [*grades, 1]}).sum(axis=0).tolist() == [named]
