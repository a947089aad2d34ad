"""A site recomputes what it is asked to promise, and every broken rule has its number."""

import math
from dataclasses import replace

import pytest

from secagg.privacy import (
    Budget,
    Goal,
    Ledger,
    LedgerError,
    LocalPrivacyPolicy,
    PrivacyInputError,
    PrivacyRefused,
    PrivacyTerms,
    calibrate,
    of_patient,
)

pytestmark = pytest.mark.fast

COHORT = "oncology-2026-03"
DIM, CLIP, STEP, COARSENING = 650, 1.0, 1 / 512, 8
LENGTH = CLIP / STEP * COARSENING
FINE = math.ceil(LENGTH**2 + DIM / 4 + math.sqrt(2 * math.log(1e10)) * (LENGTH + math.sqrt(DIM) / 2))
BETA = 1e-9
ROUNDS = 40


def found():
    goal = Goal(epsilon=1.0, delta=1e-5, releases=ROUNDS, least_survivors=6, colluders=1)
    return calibrate(goal, of_patient(FINE, DIM, coarsening=COARSENING, beta=BETA))


TERMS = PrivacyTerms(
    unit="patient",
    relation="add or remove",
    epsilon=1.0,
    delta=1e-5,
    releases=ROUNDS,
    law="skellam",
    share=found().share,
    clients=10,
    threshold=6,
    least_survivors=6,
    colluders=1,
    clip=CLIP,
    step=STEP,
    l2_squared=FINE,
    dim=DIM,
    coarsening=COARSENING,
    beta=BETA,
)
POLICY = LocalPrivacyPolicy(max_survivors=10, clip=CLIP)


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        opened.open_cohort(COHORT, Budget(epsilon=2.0, delta=1e-5))
        yield opened


def test_honest_terms_are_accepted_and_charged_to_the_promise(ledger):
    review = POLICY.review(TERMS, ledger, COHORT)
    assert review.claim.epsilon <= 1.0
    assert review.after == pytest.approx(1.0, rel=1e-6)
    assert ledger.last()[0] == 0
    for i in range(ROUNDS):
        permit = POLICY.charge(TERMS, ledger, COHORT, f"study/round {i}", b"h" * 32)
    assert permit.epsilon <= 1.0 + 1e-9
    assert permit.epsilon == pytest.approx(1.0, rel=1e-6)


def test_the_ledger_counts_in_the_review(ledger):
    for i in range(ROUNDS):
        POLICY.charge(TERMS, ledger, COHORT, f"one/{i}", b"h")
    review = POLICY.review(TERMS, ledger, COHORT)
    assert 1.4 < review.after < 1.6
    for i in range(ROUNDS):
        POLICY.charge(TERMS, ledger, COHORT, f"two/{i}", b"h")
    for i in range(ROUNDS):
        POLICY.charge(TERMS, ledger, COHORT, f"three/{i}", b"h")
    assert "P7" in refusal(TERMS, ledger)
    large = replace(TERMS, share=TERMS.share / 30, epsilon=2.0)
    with pytest.raises(PrivacyRefused, match="P7"):
        POLICY.charge(large, ledger, COHORT, "four", b"h")
    assert ledger.epsilon(COHORT) <= 2.0


def refusal(terms: PrivacyTerms, ledger: Ledger, policy: LocalPrivacyPolicy = POLICY) -> set[str]:
    with pytest.raises(PrivacyRefused) as caught:
        policy.review(terms, ledger, COHORT)
    assert all(rule in str(caught.value) and sentence in str(caught.value) for rule, sentence in caught.value.reasons)
    return {rule for rule, _ in caught.value.reasons}


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("P1", {"clients": 1000, "least_survivors": 600, "threshold": 600}),
        ("P1", {"least_survivors": 11, "threshold": 11}),
        ("P2", {"threshold": 5}),
        ("P3", {"colluders": 0}),
        ("P3", {"colluders": 6}),
        ("P4", {"share": 0.2}),
        ("P4", {"share": math.nan}),
        ("P5", {"clip": 2.0}),
        ("P6", {"share": TERMS.share / 4}),
        ("P6", {"epsilon": 0.5}),
        ("P6", {"releases": 2 * ROUNDS}),
        ("P6", {"delta": 1e-3}),
        ("P6", {"l2_squared": FINE + FINE // 100}),
        ("P7", {"epsilon": 9.0, "releases": 20 * ROUNDS}),
        ("P8", {"unit": "site", "relation": "zero out"}),
        ("P8", {"relation": "replace"}),
        ("P9", {"beta": 1e-6}),
        ("P9", {"l2_squared": FINE * 2}),
        ("P9", {"step": 0.0}),
        ("P10", {"sampling_rate": 0.1}),
        ("P11", {"law": "gaussian"}),
    ],
)
def test_refusals(ledger, rule, changes):
    assert rule in refusal(replace(TERMS, **changes), ledger)


def test_all_reasons_are_named_at_once(ledger):
    assert {"P1", "P2", "P5"} <= refusal(replace(TERMS, least_survivors=50, clip=3.0), ledger)


def test_colluders_beyond_the_policy(ledger):
    assert "P3" in refusal(TERMS, ledger, replace(POLICY, min_colluders=2))


def test_secret_sampling_lowers_the_cost(ledger):
    sampled = replace(TERMS, sampling_rate=0.1, sampling_secret=True)
    drawing = replace(POLICY, sampling_rate=0.1)
    plain, amplified = POLICY.review(TERMS, ledger, COHORT), drawing.review(sampled, ledger, COHORT)
    assert amplified.claim.epsilon < plain.claim.epsilon / 2


def test_sampling_that_a_site_does_not_do_is_refused(ledger):
    """Otherwise a coordinator could say that one patient in a hundred takes part, and all of them would."""
    sampled = replace(TERMS, sampling_rate=0.1, sampling_secret=True)
    assert refusal(sampled, ledger) == {"P10"}
    assert refusal(sampled, ledger, replace(POLICY, sampling_rate=0.2)) == {"P10"}


def test_discrete_gaussian_terms(ledger):
    assert POLICY.review(replace(TERMS, law="discrete gaussian"), ledger, COHORT).claim.epsilon <= 1.0


def test_site_terms(tmp_path):
    with Ledger(tmp_path / "site.sqlite") as ledger:
        ledger.open_cohort(COHORT, Budget(epsilon=2.0, delta=1e-5, unit="site", relation="zero out"))
        terms = replace(TERMS, unit="site", relation="zero out", coarsening=1, l2_squared=515**2, beta=0.0)
        assert POLICY.review(terms, ledger, COHORT).claim.unit == "site"


def test_a_cohort_needs_a_budget(ledger):
    with pytest.raises(LedgerError, match="no budget"):
        POLICY.review(TERMS, ledger, "unknown")


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_colluders": 0},
        {"max_survivors": 1},
        {"min_sigma": 0.5},
        {"max_delta": 0.0},
        {"max_failure": 1.0},
        {"sampling_rate": 0.0},
    ],
)
def test_policies_that_protect_nothing(wrong):
    with pytest.raises(PrivacyInputError):
        replace(POLICY, **wrong)
