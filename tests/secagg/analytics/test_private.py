"""With noise: real rounds, errors as stated, one charge a release, and data looked at last."""

from __future__ import annotations

import numpy as np
import pytest

from secagg import RoundRefused, UsageError
from secagg.analytics import Count, Histogram, Mean, Quantiles, Query, Variance, run
from secagg.privacy import Budget, Ledger, LedgerError, LocalPrivacyPolicy, PrivacyRefused, Relation, SitePrivacy, Unit

BINS = 1500
MANY = Query(Histogram(column="code", categories=tuple(range(BINS - 1))), max_patients=1000)


def codes(sites: int = 4, patients: int = 300) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(9)
    return {f"site {place}": {"code": rng.integers(0, BINS, patients)} for place in range(sites)}


def true_counts(sites: dict[str, dict[str, np.ndarray]]) -> np.ndarray:
    return np.bincount(np.concatenate([site["code"] for site in sites.values()]), minlength=BINS)


def budget(epsilon: float, sites: int, clip: float | None = 1.0) -> SitePrivacy:
    ledger = Ledger(":memory:")
    ledger.open_cohort("2026", Budget(epsilon=epsilon, delta=1e-5, unit=Unit.PATIENT, relation=Relation.ADD_REMOVE))
    return SitePrivacy(ledger, LocalPrivacyPolicy(max_survivors=sites, clip=clip), "2026")


@pytest.mark.parametrize("gone", [{}, {"site 3": "masked-input"}, {"site 3": "unmasking"}])
def test_noise_is_what_is_stated(gone):
    """1500 independent errors in one release; each bound fails with a probability below 1e-9."""
    sites = codes()
    answers = run(MANY, sites, epsilon=2.0, threshold=3, confidence=0.9, dropouts=gone)
    included = {name: site for name, site in sites.items() if gone.get(name) != "masked-input"}
    assert answers.sites == len(included)
    assert answers.claim is not None
    assert answers.claim.epsilon <= 2.0
    assert answers.claim.unit == "patient"
    cells = list(answers["histogram of code"].values.values())
    true = true_counts(included)
    # 1500 at 90 %: fewer than 1270 or more than 1420 have a probability below 1e-9 (binomial tails).
    assert 1270 <= sum(cell.low <= count <= cell.high for cell, count in zip(cells, true, strict=True)) <= 1420
    errors = np.array([cell.value for cell in cells]) - true
    # The mean square of 1500 normal errors is off by more than 25 % with a probability below 1e-9 (chi-square).
    assert errors.std() == pytest.approx(cells[0].deviation, rel=0.13)
    assert abs(errors.mean()) < 7 * cells[0].deviation / np.sqrt(BINS)


def test_less_noise_than_each_site_alone():
    """Ten hospitals share the noise; alone each would add all of it."""
    sites = {place: {"x": [1] * 10} for place in range(10)}
    together = run(Count(), sites, epsilon=1.0)["count"]["count"].deviation
    least = np.sqrt(10 / 9) * 3.73  # the analytic Gaussian at (1, 1e-5), of nine hospitals' ten
    assert least < together < 1.02 * least
    assert np.sqrt(10) * 3.73 / together > 2.9


def test_every_kind_through_a_real_round(sites):
    query = Query(
        Count(),
        Mean(column="bmi", low=10, high=60),
        Variance(column="age", low=0, high=120),
        Histogram(column="stage", categories=("I", "II")),
        Quantiles(column="age", low=0, high=120, cells=40),
        patient="id",
    )
    exact = run(query, sites)
    answers = run(query, sites, epsilon=1e4)  # next to no noise: what is left is rounding
    assert 0 < answers["count"]["count"].deviation < 0.2
    for answer in exact:
        for label, estimate in answer.values.items():
            found = answers[answer.name][label]
            spread = 8 * found.deviation + 1e-3 * abs(estimate.value) + (3.0 if answer.kind == "quantiles" else 0)
            assert found.value == pytest.approx(estimate.value, abs=spread), (answer.name, label)


def test_sites_without_patients_add_noise_only():
    sites = {place: {"x": [], "id": []} for place in range(4)}
    query = Query(Count(), Mean(column="x", low=0, high=1), patient="id")
    answers = run(query, sites, epsilon=1.0, confidence=1 - 1e-9)  # noise is real: at 0.95 one run in 20 would fail
    assert abs(answers["count"].value) < 10 * answers["count"]["count"].deviation
    assert (answers["mean of x"]["mean"].low, answers["mean of x"]["mean"].high) == (0, 1)


def test_one_release_is_charged_once_and_the_budget_ends():
    sites = codes(4, 20)
    budgets = {name: budget(1.0, 4) for name in sites}
    run(Count(), sites, epsilon=0.6, budgets=budgets, study="cohort counts", round_index=0)
    spent = [site.ledger.spent("2026").epsilon(1e-5)[0] for site in budgets.values()]
    assert all(0.55 < epsilon <= 0.6 for epsilon in spent)
    assert [site.ledger.spent("2026").releases for site in budgets.values()] == [1] * 4
    with pytest.raises((PrivacyRefused, RoundRefused), match="P7"):
        run(Count(), sites, epsilon=0.9, budgets=budgets, study="cohort counts", round_index=1)
    run(Count(), sites, epsilon=0.3, budgets=budgets, study="cohort counts", round_index=2)
    assert [site.ledger.spent("2026").releases for site in budgets.values()] == [2] * 4


class Guarded(dict):
    """Columns that say when they are looked at."""

    looked = False

    def keys(self):
        self.looked = True
        return super().keys()


def test_data_is_looked_at_only_after_the_charge():
    sites = {place: Guarded(x=[1.0, 2.0]) for place in range(4)}
    budgets = {place: budget(1.0, 4) for place in sites}
    budgets[2] = budget(0.1, 4)
    with pytest.raises(PrivacyRefused, match="P7"):
        run(Count(), sites, epsilon=1.0, budgets=budgets)
    assert not any(site.looked for site in sites.values())
    budgets[2] = budget(1.0, 4, clip=0.5)
    with pytest.raises(PrivacyRefused, match="P5"):
        run(Count(), sites, epsilon=1.0, budgets=budgets)
    assert not any(site.looked for site in sites.values())
    budgets = {place: budget(3.0, 4) for place in sites}
    run(Count(), sites, epsilon=1.0, budgets=budgets)
    assert all(site.looked for site in sites.values())
    sites = {place: Guarded(x=[1.0, 2.0]) for place in range(4)}
    with pytest.raises(LedgerError, match="charged before"):  # the same round once more
        run(Count(), sites, epsilon=1.0, budgets=budgets)
    assert not any(site.looked for site in sites.values())


def test_more_patients_than_expected_saturate_silently():
    sites = {place: {"x": [1.0] * (500 if place == 0 else 3)} for place in range(4)}
    answers = run(Query(Count(), max_patients=50), sites, epsilon=5.0)
    assert abs(answers["count"].value - (50 + 9)) < 12


def test_what_cannot_be_kept_is_said():
    sites = codes(4, 5)
    with pytest.raises(UsageError, match="cannot be answered privately"):
        run(Count(), sites, epsilon=1e-9)
    with pytest.raises(UsageError, match="no site 'elsewhere'"):
        run(Count(), sites, epsilon=1.0, budgets={"elsewhere": budget(1.0, 4)})
    with pytest.raises(UsageError, match="no sites"):
        run(Count(), {}, epsilon=1.0)
