"""Intervals hold as often as they say, where counts are small and where they are large."""

from __future__ import annotations

import math

import numpy as np
import pytest

from secagg import UsageError
from secagg.analytics import Answers, Count, Estimate, Histogram, Mean, Quantiles, Query, Variance, run

RUNS = 1000
CONFIDENCE = 0.9
# Of 1000 runs at 90 %, 830 or fewer hold with a probability below 1e-11 (binomial tail). The seed is fixed besides.
LEAST = 831

QUERY = Query(
    Count(),
    Mean(column="x", low=0, high=100),
    Variance(column="x", low=0, high=100),
    Histogram(column="x", edges=(0, 50, 100)),
    Quantiles(column="x", low=0, high=100, cells=20, at=(0.1, 0.5, 0.9)),
)


@pytest.mark.parametrize("patients", [5, 60, 2000])
@pytest.mark.parametrize("sigma", [0.5, 5.0])
def test_coverage(patients, sigma):
    rng = np.random.default_rng(patients + int(10 * sigma))
    x = np.clip(rng.normal(62, 15, patients), 0, 100)
    sums = QUERY.vectors({"x": x}).sum(axis=0)
    cells = np.sort(x)
    true = {
        ("count", "count"): patients,
        ("mean of x", "mean"): x.mean(),
        ("mean of x", "count"): patients,
        ("variance of x", "variance"): x.var(),
        ("variance of x", "mean"): x.mean(),
        ("histogram of x", "0 to 50"): (x < 50).sum(),
        ("histogram of x", "other"): 0,
        **{("quantiles of x", str(at)): cells[math.ceil(at * patients) - 1] for at in (0.1, 0.5, 0.9)},
    }
    held = dict.fromkeys(true, 0)
    for _ in range(RUNS):
        answers = QUERY.noisy(sums + sigma * rng.standard_normal(QUERY.dim), sigma, 5, CONFIDENCE)
        for (name, label), value in true.items():
            estimate = answers[name][label]
            held[name, label] += estimate.low - 1e-9 <= value <= estimate.high + 1e-9
    assert min(held.values()) >= LEAST, held
    # Counts are exactly normal, so their intervals are not wider than need be either.
    assert held["count", "count"] <= RUNS * CONFIDENCE + 60


def test_deviations_are_those_of_the_estimates():
    rng = np.random.default_rng(1)
    x = np.clip(rng.normal(62, 15, 3000), 0, 100)
    sums, sigma = QUERY.vectors({"x": x}).sum(axis=0), 3.0
    labels = [("count", "count"), ("mean of x", "mean"), ("variance of x", "variance"), ("quantiles of x", "count")]
    drawn = [QUERY.noisy(sums + sigma * rng.standard_normal(QUERY.dim), sigma, 5) for _ in range(RUNS)]
    for name, label in labels:
        values = np.array([answers[name][label].value for answers in drawn])
        stated = np.median([answers[name][label].deviation for answers in drawn])
        assert values.std() == pytest.approx(stated, rel=0.1), (name, label)


def test_without_noise_the_private_path_gives_the_exact_answers(sites):
    """The same questions over per-patient vectors, the noise being next to nothing."""
    query = Query(
        Count(),
        Mean(column="bmi", low=10, high=60),
        Variance(column="age", low=0, high=120, resolution=0.0001),
        Histogram(column="stage", categories=("I", "II")),
        Quantiles(column="age", low=0, high=120, cells=60),
        patient="id",
    )
    exact = run(query, sites)
    noisy = query.noisy(sum(query.vectors(site).sum(axis=0) for site in sites.values()), 1e-9, 4)
    for answer in exact:
        for label, estimate in answer.values.items():
            assert noisy[answer.name][label].value == pytest.approx(estimate.value, abs=1e-3), (answer.name, label)


def test_shares_of_the_budget():
    equal = Query(Count(name="a"), Count(name="b"))
    unequal = Query(Count(name="a", share=3.0), Count(name="b"))
    zeros = np.zeros(2)
    assert equal.noisy(zeros, 1.0, 5)["a"]["count"].deviation == pytest.approx(math.sqrt(2))
    assert unequal.noisy(zeros, 1.0, 5)["a"]["count"].deviation == pytest.approx(math.sqrt(4 / 3))
    assert unequal.noisy(zeros, 1.0, 5)["b"]["count"].deviation == pytest.approx(2)


def test_nobody_stands_out_from_the_noise():
    query = Query(Mean(column="x", low=0, high=100), Variance(column="x", low=0, high=100))
    for sums in (np.full(5, -3.0), np.zeros(5), np.full(5, 0.1)):
        answers = query.noisy(sums, 1.0, 5)
        assert (answers["mean of x"]["mean"].low, answers["mean of x"]["mean"].high) == (0, 100)
        assert answers["variance of x"]["variance"].high == pytest.approx(2500)
    with pytest.raises(UsageError, match="confidence"):
        query.noisy(np.zeros(5), 1.0, 5, confidence=1.0)


def test_clamping_is_for_whoever_asks():
    estimate = Estimate.noisy(-3.0, 2.0, 1.96)
    assert estimate.value == -3.0
    assert estimate.at_least_zero() == Estimate(value=0.0, deviation=2.0, low=0.0, high=estimate.high)


def test_answers_are_plain_for_json():
    import json

    answers = QUERY.noisy(np.zeros(QUERY.dim), 1.0, 5)
    assert isinstance(answers, Answers)
    text = json.dumps(answers.as_dict(), allow_nan=False)
    assert '"kind": "quantiles"' in text
