"""Every rule by its number, at its edge: what is just good enough passes, what is just not is refused, by that rule.

Whole machines meet every rule in the vectors (tests/vectors) and in the attacks; here the checks stand alone, so that a
limit that moves by one is seen.
"""

from __future__ import annotations

from typing import Any

import pytest

from protocols import RemoteProtocolError
from protocols.pairwise import LocalPolicy, MemoryLedger, Rule, ledger
from tests.support.cohort import MODEL, OTHER_MODEL
from tests.support.edges import PLAIN, SESSION, Case, instead
from tests.support.edges_of_answers import ANSWERS, SHARES, SURVIVORS
from tests.support.edges_of_rounds import DIRECTORY, ROUND

pytestmark = pytest.mark.fast

CASES: list[Case] = [*ROUND, *DIRECTORY, *SHARES, *SURVIVORS, *ANSWERS]
LEDGER_RULES = {"C30", "C31", "C32", "C33", "C34"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.check.__name__}")
def test_just_good_enough(case: Case) -> None:
    case.check(*case.good)


@pytest.mark.parametrize(
    ("case", "about"),
    [pytest.param(case, about, id=f"{case.rule} {about}") for case in CASES for about in case.bad],
)
def test_just_not_good_enough(case: Case, about: str) -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        case.check(*case.bad[about])
    assert refusal.value.rule is Rule(case.rule)
    if case.culprit is not None:
        assert refusal.value.culprit == (case.culprit or None)


def test_every_rule_is_here() -> None:
    assert {case.rule for case in CASES} | LEDGER_RULES == {rule.value for rule in Rule}


# -- what a client remembers (C30 to C34) ------------------------------------------------------------------------------

POLICY = LocalPolicy(max_attempts=3, min_cohort_difference=3)
PARAMS = PLAIN.params


def refused(rule: Rule, call: Any, *args: Any) -> None:
    memory = args[0]
    before = list(memory.entries())
    with pytest.raises(RemoteProtocolError) as refusal:
        call(*args)
    assert refusal.value.rule is rule
    assert list(memory.entries()) == before, "a refusal is not something said"


def test_c30_attempts_are_counted_whatever_number_the_server_gives_them() -> None:
    memory = MemoryLedger()
    for attempt in (0, 0, 5):
        ledger.begin(memory, instead(PARAMS, attempt=attempt), POLICY, "")
    refused(Rule.ATTEMPTS_FEW, ledger.begin, memory, PARAMS, POLICY, "")
    ledger.begin(memory, instead(PARAMS, round_index=1), POLICY, "")
    ledger.begin(memory, instead(PARAMS, study="another"), POLICY, "")


def test_c34_one_session_for_one_attempt() -> None:
    memory = MemoryLedger()
    ledger.join(memory, PARAMS, SESSION, "")
    ledger.join(memory, PARAMS, SESSION, "")
    refused(Rule.ONE_SESSION, ledger.join, memory, PARAMS, bytes(32), "")
    ledger.join(memory, instead(PARAMS, attempt=1), bytes(32), "")
    ledger.join(memory, instead(PARAMS, round_index=1), bytes(32), "")
    ledger.join(memory, instead(PARAMS, study="another"), bytes(32), "")


def test_c31_one_input_for_one_round_and_model() -> None:
    memory = MemoryLedger()
    ledger.contribute(memory, PARAMS, SESSION, MODEL, "")
    refused(Rule.ONE_CONTRIBUTION, ledger.contribute, memory, instead(PARAMS, attempt=1), bytes(32), MODEL, "")
    ledger.contribute(memory, PARAMS, bytes([1]) * 32, OTHER_MODEL, "")
    ledger.contribute(memory, instead(PARAMS, round_index=1), bytes([2]) * 32, MODEL, "")
    ledger.contribute(memory, instead(PARAMS, study="another"), bytes([3]) * 32, MODEL, "")


def test_c31_one_input_for_one_session() -> None:
    memory = MemoryLedger()
    ledger.contribute(memory, PARAMS, SESSION, MODEL, "")
    refused(Rule.ONE_CONTRIBUTION, ledger.contribute, memory, PARAMS, SESSION, OTHER_MODEL, "")


def test_c32_one_answer_for_one_session() -> None:
    memory = MemoryLedger()
    about = (SESSION, MODEL, "")
    ledger.answer(memory, PARAMS, POLICY, *about, (1, 2, 3, 4))
    ledger.answer(memory, PARAMS, POLICY, *about, (1, 2, 3, 4))
    refused(Rule.ONE_ANSWER, ledger.answer, memory, PARAMS, POLICY, *about, (1, 2, 3, 5))
    refused(Rule.ONE_ANSWER, ledger.answer, memory, PARAMS, POLICY, SESSION, OTHER_MODEL, "", (5, 6, 7, 8))


def test_c32_one_signature_for_one_session() -> None:
    memory = MemoryLedger()
    about = (SESSION, MODEL, "")
    ledger.sign(memory, PARAMS, *about, (1, 2, 3, 4))
    ledger.sign(memory, PARAMS, *about, (1, 2, 3, 4))
    refused(Rule.ONE_ANSWER, ledger.sign, memory, PARAMS, *about, (1, 2, 3))
    refused(Rule.ONE_ANSWER, ledger.sign, memory, PARAMS, SESSION, OTHER_MODEL, "", (5, 6, 7, 8))
    ledger.sign(memory, PARAMS, bytes([1]) * 32, MODEL, "", (1, 2, 3))
    ledger.answer(memory, PARAMS, POLICY, *about, (1, 2, 3, 4))


def test_c33_the_same_query_over_cohorts_that_are_far_apart_or_equal() -> None:
    memory = MemoryLedger()
    ledger.answer(memory, PARAMS, POLICY, bytes([1]) * 32, MODEL, "v1", (1, 2, 3, 4))
    near = [(1, 2, 3), (1, 2, 3, 4, 5), (1, 2, 3, 5), (1, 2), (1, 5, 6, 7), (1,)]
    for number, members in enumerate(near):
        about = (bytes([2 + number]) * 32, MODEL, "v1", members)
        refused(Rule.COHORTS_APART, ledger.answer, memory, instead(PARAMS, round_index=1), POLICY, *about)
    assert ledger.answer(memory, PARAMS, POLICY, bytes([9]) * 32, MODEL, "v1", (1, 2, 3, 4)) == ()
    assert ledger.answer(memory, PARAMS, POLICY, bytes([10]) * 32, MODEL, "v1", (5, 6, 7)) == ()
    # Each of these is far from every cohort before, but together they leave fewer than three alike.
    refused(Rule.COHORTS_APART, ledger.answer, memory, PARAMS, POLICY, bytes([11]) * 32, MODEL, "v1", (3, 4, 5, 6))


@pytest.mark.parametrize("other", ["task", "model", "data"])
def test_another_query_over_a_near_cohort_is_only_warned_about(other: str) -> None:
    memory = MemoryLedger()
    ledger.answer(memory, PARAMS, POLICY, bytes([1]) * 32, MODEL, "v1", (1, 2, 3, 4))
    params = instead(PARAMS, task=SESSION) if other == "task" else PARAMS
    model, data = OTHER_MODEL if other == "model" else MODEL, "v2" if other == "data" else "v1"
    (warning,) = ledger.answer(memory, params, POLICY, bytes([2]) * 32, model, data, (1, 2, 3))
    assert "differs from that of round 0 by 1" in warning
