"""Without noise, answers are those of the pooled data, bit for bit, whatever drops out and in whatever order."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import RoundRefused, UsageError
from secagg.analytics import Condition, Count, Histogram, Mean, Quantiles, Query, Variance, run

AGE = {"column": "age", "low": 0, "high": 120}


def pooled(sites, column, names=None):
    return np.concatenate([np.asarray(sites[name][column]) for name in names or sites])


def first_rows(sites, column):
    """Of each patient of each site, the first row with a value."""
    found = []
    for site in sites.values():
        seen = {}
        for patient, value in zip(site["id"], site[column], strict=True):
            if value is not None and value == value:  # noqa: PLR0124
                seen.setdefault(int(patient), value)
        found.extend(seen.values())
    return np.array(found)


def test_every_kind_agrees_with_numpy_on_pooled_rows(sites):
    query = Query(
        Count(),
        Count(name="old", where=(Condition(column="age", at_least=65),)),
        Mean(**AGE, resolution=1.0),
        Variance(name="variance", **AGE, resolution=1.0),
        Histogram(column="age", edges=(18, 40, 65, 95)),
        Histogram(column="stage", categories=("I", "II", "III")),
        Quantiles(**AGE, cells=120, at=(0.1, 0.5, 0.99)),
    )
    answers = run(query, sites)
    age = pooled(sites, "age")
    known = age[~np.isnan(age)]
    assert answers.exact
    assert answers.sites == 4
    assert answers.claim is None
    assert answers["count"].value == len(age)
    assert answers["old"].value == (known >= 65).sum()
    assert answers["mean of age"].value == float(Fraction(int(known.sum()), len(known)))
    assert answers["mean of age"].value == known.mean()
    exact = Fraction(int((known**2).sum()), len(known)) - Fraction(int(known.sum()), len(known)) ** 2
    assert answers["variance"].value == float(exact)
    assert answers["variance"].value == pytest.approx(known.var(), rel=1e-12)
    bins = answers["histogram of age"].values
    assert [bins[label].value for label in list(bins)[:-1]] == np.histogram(known, (18, 40, 65, 95))[0].tolist()
    assert bins["other"].value == np.isnan(age).sum()
    stage = pooled(sites, "stage")
    counted = answers["histogram of stage"].values
    assert {label: estimate.value for label, estimate in counted.items()} == {
        **{name: (stage == name).sum() for name in ("I", "II", "III")},
        "other": (stage == "unknown").sum(),
    }
    for fraction in (0.1, 0.5, 0.99):
        true, found = np.quantile(known, fraction, method="inverted_cdf"), answers["quantiles of age"][str(fraction)]
        assert found.low <= true < found.high
        assert found.high - found.low == 1.0


def test_a_patient_of_several_rows_counts_once(sites):
    query = Query(
        Count(),
        Mean(**AGE, resolution=1.0, rows="first"),
        Histogram(column="stage", categories=("I", "II", "III", "unknown"), rows="first"),
        patient="id",
    )
    answers = run(query, sites)
    assert answers["count"].value == sum(len(set(site["id"].tolist())) for site in sites.values())
    age = first_rows(sites, "age")
    assert answers["mean of age"].value == float(Fraction(int(age.sum()), len(age)))
    stage = first_rows(sites, "stage")
    for name in ("I", "II", "III", "unknown"):
        assert answers["histogram of stage"][name].value == (stage == name).sum()


def test_dropped_sites_are_left_out_and_order_does_not_matter(sites):
    query = Query(Count(), Mean(column="bmi", low=10, high=60))
    whole = run(query, sites)
    turned = run(query, dict(reversed(sites.items())))
    assert whole == turned
    short = run(query, sites, dropouts={"south": "masked-input"}, threshold=3)
    stayed = {name: site for name, site in sites.items() if name != "south"}
    assert short.sites == 3
    assert short.answers == run(query, stayed, threshold=3).answers
    late = run(query, sites, dropouts={"south": "unmasking"}, threshold=3)
    assert late.answers == whole.answers
    with pytest.raises(RoundRefused):
        run(query, sites, dropouts={"south": "masked-input", "west": "share-keys"}, threshold=3)


@settings(max_examples=25, deadline=None)
@given(
    data=st.lists(
        st.lists(st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.none()), max_size=12),
        min_size=3,
        max_size=5,
    ),
    resolution=st.sampled_from([None, 0.5, 0.1, 3.0]),
)
def test_whatever_the_numbers_are(data, resolution):
    question = Mean(column="x", low=-7.0, high=8.0, resolution=resolution)
    query = Query(
        question, Histogram(column="x", edges=(-7.0, 0.0, 8.0)), Quantiles(column="x", low=-7, high=8, cells=5)
    )
    answers = run(query, {place: {"x": np.array(values, dtype=object)} for place, values in enumerate(data)})
    flat = [value for values in data for value in values]
    known = [value for value in flat if value is not None and np.isfinite(value)]
    clipped = [min(max(value, -7.0), 8.0) for value in known]
    mean = answers["mean of x"]
    assert mean["count"].value == len(known)
    if known:
        assert abs(mean.value - np.mean(clipped)) <= float(question.step) / 2 + 1e-9
    else:
        assert mean.value is None
    bins = [answers["histogram of x"][label].value for label in ("-7 to 0", "0 to 8", "other")]
    inside = np.histogram([value for value in known if -7 <= value <= 8], (-7, 0, 8))[0].tolist()
    assert bins == [*inside, len(flat) - sum(inside)]
    assert answers["quantiles of x"]["count"].value == len(known)


def test_totals_that_no_machine_word_holds(sites):
    query = Query(Variance(column="x", low=0.0, high=2.0**31, resolution=1.0), max_patients=10**9)
    numbers = [2**31 - 1, 2**31 - 3, 2**31]
    answers = run(query, {place: {"x": [number]} for place, number in enumerate(numbers)})
    mean = Fraction(sum(numbers), 3)
    assert answers["variance of x"].value == float(sum((number - mean) ** 2 for number in numbers) / 3)
    assert query._digits == [2, 4, 6]


def test_zero_patients_have_no_mean(sites):
    empty = {place: {"age": [], "stage": []} for place in range(3)}
    answers = run(Query(Count(), Mean(**AGE), Variance(**AGE), Quantiles(**AGE)), empty)
    assert answers["count"].value == 0
    assert answers["mean of age"].value is None
    assert answers["variance of age"].value is None
    assert answers["quantiles of age"].value is None
    assert "withheld" in str(answers)


def test_small_cells_are_withheld_with_company():
    sites = {place: {"stage": ["I"] * 9 + ["II"] * 4} for place in range(3)}
    sites[0] = {"stage": ["I", "I", "III"]}
    query = Query(
        Histogram(column="stage", categories=("I", "II", "III", "IV")),
        Count(name="third", where=(Condition(column="stage", equals="III"),)),
        Count(name="fourth", where=(Condition(column="stage", equals="IV"),)),
        least_cell=5,
    )
    answers = run(query, sites)
    shown = {label: estimate.value for label, estimate in answers["histogram of stage"].values.items()}
    assert shown == {"I": 20, "II": None, "III": None, "IV": 0, "other": 0}
    assert answers["third"].value is None
    assert answers["fourth"].value == 0
    assert "only noise" in answers["third"].notes[0]
    mean = run(Query(Mean(column="x", low=0, high=1), least_cell=5), {place: {"x": [0.5]} for place in range(3)})
    assert mean["mean of x"].value is None
    assert mean["mean of x"]["count"].value is None


def test_more_patients_than_the_query_allows(sites):
    with pytest.raises(UsageError, match="max_patients"):
        run(Query(Count(), max_patients=10), sites)


def test_a_missing_column_is_named(sites):
    with pytest.raises(UsageError, match="no column 'weight'"):
        run(Query(Mean(column="weight", low=0, high=1)), sites)
