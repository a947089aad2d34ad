"""``secagg plan --epsilon``: noise, grid and field planned together, and what is refused."""

import json

import msgspec
import pytest

import quant
from secagg.cli import main
from secagg.errors import UsageError
from secagg.plan.private import PrivateGoal, decide_private
from secagg.privacy import Law, PrivacyTerms, Unit, claim
from secagg.study.definition import Privacy

BASE = ("--epsilon", 1, "--clients", 10, "--patients", 1500, "--dim", 100, "--clip", 1)


def run(capsys, *arguments):
    code = main(["plan", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def decision():
    return decide_private(PrivateGoal(epsilon=1, delta=1e-5, rounds=20, clients=10, dim=100, clip=1.0, patients=1500))


def test_the_chosen_setting_keeps_the_promise_by_the_sites_own_sums(decision):
    goal, fitted = decision.goal, decision.chosen.fitted
    terms = fitted.privacy.terms(decision.chosen.codec, 10, 6)
    assert isinstance(terms, PrivacyTerms)
    assert claim(terms.cost().times(goal.rounds), terms.sensitivity(), goal.delta).epsilon <= 1
    noise = fitted.privacy.reach(10, decision.chosen.codec.facts.encoded_dim)
    assert quant.field_width(decision.chosen.levels, 10, noise=noise) == fitted.width


def test_wider_fields_cost_less_and_nothing_beats_the_trusted_server(decision):
    ratios = [choice.ratio() for choice in decision.nearby]
    assert ratios == sorted(ratios, reverse=True)
    # One colluder of ten adds noise that does not count: (10 / 9)^(1/2) is the floor.
    assert all(choice.ratio() > (10 / 9) ** 0.5 for choice in decision.nearby)
    assert all(choice.ratio(4) > (6 / 5) ** 0.5 for choice in decision.nearby)
    assert decision.chosen.ratio() < 1.02 * (10 / 9) ** 0.5 * 1.01


@pytest.mark.parametrize(("unit", "law"), [(Unit.SITE, Law.SKELLAM), (Unit.PATIENT, Law.DISCRETE_GAUSSIAN)])
def test_other_units_and_laws(unit, law):
    goal = PrivateGoal(
        epsilon=4, delta=1e-5, rounds=2, clients=6, dim=30, clip=1.0, patients=60, dropouts=1, unit=unit, law=law
    )
    found = decide_private(goal, 20)
    assert found.chosen is not None
    assert found.chosen.fitted.claim.epsilon <= 4
    assert found.chosen.fitted.claim.unit is unit
    assert found.privacy_table["law"] == str(law)


def test_json_and_table(capsys):
    code, out, err = run(capsys, *BASE, "--wire-bits", 20, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["feasible"] is True
    assert found["chosen"]["wire_bits"] <= 20
    assert found["privacy"] == {
        "epsilon": 1.0, "delta": 1e-5, "unit": "patient", "clip": 1.0, "law": "skellam", "patients": 300,
        "width": found["chosen"]["wire_bits"],
    }  # fmt: skip
    assert found["protocol"] == {"colluders": 1, "threshold": 6}
    assert found["relation"] == "add or remove"
    assert found["chosen"]["error_of_mean"] > found["error_of_mean_analytic_gaussian"] > 0
    quant.from_config(found["quantization"], 100)
    code, out, _ = run(capsys, *BASE, "--wire-bits", 20)
    assert code == 0
    assert "[privacy]" in out
    assert "threshold = 6" in out
    assert "for one patient (neighbours: add or remove)" in out


def test_infeasible_is_code_1_and_names_what_would_do(capsys):
    code, out, _ = run(capsys, *BASE, "--wire-bits", 9)
    assert code == 1
    assert "infeasible" in out
    assert "would do" in out
    code, out, _ = run(capsys, *BASE, "--wire-bits", 9, "--json")
    assert (code, json.loads(out)["feasible"]) == (1, False)


REFUSED = [
    (("--epsilon", 0), "give a positive number"),
    (("--epsilon", -1), "give a positive number"),
    (("--delta", 2), "delta is a probability"),
    (("--patients", 0), "unit patient needs --patients"),
    (("--colluders", 0), "at least one colluder"),
    (("--dropouts", 5), "at most 4 can"),
    (("--unit", "hospital"), "--unit is patient or site"),
    (("--error", 0.1), "there is no --error"),
    (("--tune", 3), "there is no --tune"),
]


@pytest.mark.parametrize(("options", "says"), REFUSED)
def test_bad_input_gets_one_line(capsys, options, says):
    code, out, err = run(capsys, *BASE, *options)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert says in err


def test_options_of_a_promise_without_one(capsys):
    code, _, err = run(capsys, "--clients", 10, "--dim", 100, "--clip", 1, "--rounds", 5)
    assert code == 2
    assert "give --epsilon" in err


def test_goals_that_are_none():
    with pytest.raises(UsageError, match="positive number"):
        PrivateGoal(epsilon=float("inf"), delta=1e-5, rounds=1, clients=10, dim=1, clip=1.0, patients=10)
    with pytest.raises(UsageError, match="cannot hide each other"):
        PrivateGoal(epsilon=1, delta=1e-5, rounds=1, clients=3, dim=1, clip=1.0, patients=10, colluders=2)


def test_a_study_takes_the_planned_table(decision):
    table = msgspec.convert(decision.privacy_table, Privacy)
    assert (table.width, table.patients, table.law) == (decision.chosen.fitted.width, 300, "skellam")
