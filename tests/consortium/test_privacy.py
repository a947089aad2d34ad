"""Private studies over TLS: every site's ledger is charged before data are used, and nothing else leaves."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from secagg.attack import leakage
from secagg.attack.outcomes import Outcome
from secagg.attack.setting import read_setting
from secagg.audit.audit import audit_file
from secagg.coordinator.live_round import Delivery
from secagg.coordinator.metrics import StudyCollector
from secagg.coordinator.page import Page
from secagg.errors import UsageError
from secagg.privacy import Ledger, PatientUpdates
from secagg.site.preflight import Preflight
from secagg.study import definition, weights
from secagg.study.policy import PrivacyBudget, SitePolicy
from secagg.study.receipt import Receipt, SignedReceipt
from secagg.study.weights import Weights
from secagg.transport import messages
from tests.consortium.test_coming_and_going import Play
from tests.consortium.test_study_over_tls import join_all
from tests.support.consortium import Lab

PRIVATE = {
    "[quantization]\n": "[privacy]\n",
    'range = 0.25\nrounding = "nearest"': "clip = 1.0\npatients = 50",
    "bits = 12": "epsilon = 1.0",
}
PATIENTS = 40
COHORT = "ward 3, 2026"


def budget(epsilon: float = 1.0) -> SitePolicy:
    return SitePolicy(privacy=PrivacyBudget(cohort=COHORT, epsilon=epsilon))


def patients(model: Weights, context) -> PatientUpdates:
    """Every patient of every site says the same: the mean is known."""
    del context
    dim = sum(array.size for array in model.values())
    return PatientUpdates(np.full((PATIENTS, dim), 0.5 / np.sqrt(dim)))


def spent(lab: Lab, site: int) -> float:
    with Ledger(lab.home / f"site{site}" / "privacy-ledger.db") as ledger:
        ledger.verify()
        return ledger.epsilon(COHORT)


def told(lab: Lab) -> list[Receipt]:
    lines = (lab.state / "receipts.jsonl").read_bytes().splitlines()
    return [msgspec.convert(msgspec.json.decode(line)["round"], SignedReceipt).receipt for line in lines]


def private_lab(make_lab, rounds: int, **changes: str) -> Lab:
    return make_lab(sites=4, changes={**PRIVATE, "rounds = 10": f"rounds = {rounds}", **changes})


def test_a_study_at_epsilon_one(make_lab) -> None:
    lab = private_lab(make_lab, 2)
    with lab.coordinator(until_finished=True):
        finished = join_all(lab, lab.sites, train=patients, policy=budget())
    assert {done.reason for done in finished.values()} == {"finished: 2 rounds"}
    receipts = told(lab)
    assert [(said.outcome, said.included, said.counters) for said in receipts] == [("opened", (1, 2, 3, 4), {})] * 2
    assert 0 < receipts[0].spent < receipts[1].spent <= 1
    for site in lab.sites:
        assert spent(lab, site) == pytest.approx(receipts[1].spent)
    model = weights.decode((lab.state / "models" / "last.safetensors").read_bytes())
    dim = sum(array.size for array in model.values())
    moved = np.concatenate([array.ravel() for array in model.values()])
    known = 2 * PATIENTS / 50 * 0.5 / np.sqrt(dim)
    assert abs(moved.mean() - known) < 0.02, "300 coordinates average the noise out"
    assert moved.std() > 1e-4, "there is noise"
    check_words(lab)


def check_words(lab: Lab) -> None:
    """The transcript has every site's receipt and every round's cost, and holds against what the sites kept."""
    for site in lab.sites:
        own = lab.site_state(site) / "own-receipts.jsonl"
        report, _ = audit_file(
            lab.state / "transcript.jsonl", roster=lab.home / "lead" / "study.toml", own=own, running=False
        )
        assert not report.broken, report
    kinds = [json.loads(line)["kind"] for line in (lab.state / "transcript.jsonl").read_text().splitlines()]
    assert kinds.count("spend") == kinds.count("receipts") == 2


def test_cohort_counts_over_tls(make_lab) -> None:
    """A study of kind analytics asks the sites, and everybody gets the signed answers."""
    changes = {
        "rounds = 10": "rounds = 1",
        "bits = 12": "",
        "[quantization]\n": "",
        'range = 0.25\nrounding = "nearest"': "",
        "[task]": 'kind = "analytics"\n[[task.query]]\nkind = "count"\nname = "old"\n'
        'where = [{ column = "age", at_least = 65 }]\n',
    }
    lab = make_lab(sites=3, changes=changes)
    with lab.coordinator(until_finished=True):
        join_all(lab, lab.sites, train=lambda context: {"age": [50 + 10 * context.site] * 5})
    (said,) = told(lab)
    assert said.answers["answers"][0]["values"]["count"]["value"] == 10
    assert said.answers["exact"] is True


def test_private_counts_over_tls(make_lab) -> None:
    changes = {
        "rounds = 10": "rounds = 1",
        "[task]": 'kind = "analytics"\nmax_patients = 10000\n[[task.query]]\nkind = "count"\nname = "all"\n',
    }
    lab = private_lab(make_lab, 1, **{k: v for k, v in changes.items() if k != "rounds = 10"})
    with lab.coordinator(until_finished=True):
        join_all(lab, lab.sites, train=lambda context: {"age": [60.0] * 1000}, policy=budget())
    (said,) = told(lab)
    answer = said.answers["answers"][0]["values"]["count"]
    assert 0 < answer["deviation"] < 50
    assert abs(answer["value"] - 4000) < 10 * answer["deviation"]
    assert 0 < said.spent <= 1
    assert all(0 < spent(lab, site) <= 1 for site in lab.sites)


@pytest.fixture
def private_play(make_lab) -> Iterator[Play]:
    with contextlib.ExitStack() as stack:
        made = Play(private_lab(make_lab, 3), stack)
        yield made
        made.engine.store.close()


def test_a_budget_that_ends_stops_its_site(private_play: Play) -> None:
    """The coordinator cannot override it; the study goes on for the others."""
    play = private_play
    play.join(1, 2, 3, train=patients, policy=budget())
    play.join(4, train=patients, policy=budget(epsilon=0.7))
    ends = []
    for _ in range(60):
        for site in tuple(play.sites):
            try:
                play.sites[site].step()
            except UsageError as error:
                ends.append((site, str(error)))
                del play.sites[site]
        play.engine.tick()
        if ends:
            play.clock.now += 30
        if len(play.receipts) >= 3:
            break
    assert [site for site, _ in ends] == [4]
    assert "[P7] the budget is epsilon 0.7" in ends[0][1]
    assert spent(play.lab, 4) <= 0.7
    assert [4 in said.included for said in play.receipts] == [True, True, False] or not play.receipts[-1].included


def test_a_statement_that_is_none(private_play: Play) -> None:
    """A letter with somebody else's word on what was spent is refused like any other bad letter."""
    play = private_play
    play.join(*play.lab.sites, policy=budget(), train=patients)
    play.steps(1)
    assert play.engine.live is not None
    body = messages.encode(messages.Letter((b"x",), None, messages.Spent(b"nothing", bytes(64))))
    letter = Delivery(1, 0, 10**9, body, hashlib.sha256(body).digest())
    opening = play.engine.live.opening
    (told,) = play.engine.accept(messages.Cursor(opening.round, opening.attempt), [letter])
    assert isinstance(told, UsageError)


def test_a_restored_ledger_remembers_what_was_spent(private_play: Play, tmp_path: Path) -> None:
    play = private_play
    play.join(1, 2, 3, 4, train=patients, policy=budget())
    place = play.lab.home / "site4" / "privacy-ledger.db"
    play.until(2)
    before = spent(play.lab, 4)
    assert before > 0
    play.sites[4]._member.privacy.ledger.close()
    del play.sites[4]
    for file in place.parent.glob("privacy-ledger.db*"):
        file.unlink()
    play.join(4, train=patients, policy=budget())
    assert "raised" in play.events[4]
    assert spent(play.lab, 4) >= before


def test_a_charged_round_is_never_computed_again(private_play: Play) -> None:
    """A site that dies between its charge and its journal sits the round out."""
    play = private_play

    def dies(model: Weights, context) -> PatientUpdates:
        if not died:
            died.append(True)
            raise KeyboardInterrupt
        return patients(model, context)

    died: list[bool] = []
    play.join(1, 2, 3, train=patients, policy=budget())
    play.join(4, train=dies, policy=budget())
    for _ in range(40):
        if died:
            break
        for site in tuple(play.sites):
            try:
                play.sites[site].step()
            except KeyboardInterrupt:
                del play.sites[site]
        play.engine.tick()
    charged = spent(play.lab, 4)
    assert charged > 0
    play.join(4, train=dies, policy=budget())
    play.steps(3)
    assert "left" in play.events[4]
    assert spent(play.lab, 4) == charged
    play.clock.now += 100
    play.until(1)
    assert play.receipts[0].included == (1, 2, 3)


def test_what_people_see(private_play: Play) -> None:
    play = private_play
    play.join(1, 2, 3, 4, train=patients, policy=budget())
    play.until(1)
    page = Page(play.engine, "token").render()
    assert "of epsilon 1 spent" in page
    samples = {
        sample.name: sample.value for metric in StudyCollector(play.engine).collect() for sample in metric.samples
    }
    assert 0 < samples["secagg_privacy_epsilon_spent"] <= samples["secagg_privacy_epsilon_budget"] == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epsilon = 1.0": "epsilon = -1.0"}, "privacy.epsilon"),
        ({"[privacy]\n": "[quantization]\nbits = 8\n[privacy]\n"}, "remove [quantization]"),
        ({"patience = 0": "patience = 3"}, "training.patience"),
        ({'protocol = "secagg"': 'protocol = "secagg+"'}, "protocol.protocol"),
        ({"rounds = 2": "rounds = 2\nmax_examples = 10"}, "training.max_examples"),
    ],
)
def test_what_does_not_go_with_privacy(make_lab, change: dict[str, str], says: str) -> None:
    text = (private_lab(make_lab, 2).home / "lead" / "study.toml").read_text()
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new, 1)
    with pytest.raises(UsageError) as caught:
        definition.parse(text)
    assert says in str(caught.value)
    assert "line " in str(caught.value)


def test_budgets_and_studies_must_go_together(make_lab) -> None:
    private, plain = private_lab(make_lab, 2).study, make_lab(sites=3).study
    with pytest.raises(UsageError, match="say in policy"):
        SitePolicy().for_rounds(private)
    with pytest.raises(UsageError, match="adds no noise"):
        budget().for_rounds(plain)


def test_the_preflight_says_what_is_spent(make_lab) -> None:
    lab = private_lab(make_lab, 2)
    rules = lab.home / "site1" / "policy.toml"
    rules.write_text(f'{rules.read_text()}\n[privacy]\ncohort = "{COHORT}"\nepsilon = 1.0\n')
    look = Preflight(lab.home / "site1" / "study.toml", rules, None, rules, "task:train", None, None)
    findings = {finding.what: finding for finding in look.findings()}
    assert findings["policy"].good
    assert f"epsilon 0.000 of 1 of cohort '{COHORT}' is spent" in findings["policy"].says
    assert not list(rules.parent.glob("privacy-ledger*")), "a look opens no budget: the policy may still change"
    budget().privacy.open(rules.parent, lab.study).ledger.close()
    findings = {finding.what: finding for finding in look.findings()}
    assert findings["policy"].good
    rules.write_text(rules.read_text().replace("epsilon = 1.0", "epsilon = 2.0"))
    findings = {finding.what: finding for finding in look.findings()}
    assert not findings["policy"].good
    assert "another budget" in findings["policy"].says


def test_the_attacks_meet_the_noise_that_a_study_promises(make_lab) -> None:
    """Sized for a patient it is less than a site's clip; sized for a site it is more, and membership is not seen."""
    lab = private_lab(make_lab, 2)
    path = lab.home / "site1" / "study.toml"
    by_patient = read_setting(path).noise_multiplier
    path.write_text(path.read_text().replace("patients = 50", 'unit = "site"'))
    by_site = read_setting(path).noise_multiplier
    assert by_site == pytest.approx(50 * by_patient, rel=0.1)
    assert leakage.membership(read_setting(path, noise_multiplier=0.0)).outcome is Outcome.POSSIBLE
    assert leakage.membership(read_setting(path)).outcome is Outcome.STOPPED


def test_how_far_a_private_task_is_stays_at_the_site(private_play: Play) -> None:
    """A fraction is a number of the task's with no noise on it: how many patients there are, for instance."""

    def train(model: Weights, context) -> PatientUpdates:
        context.progress(1 / PATIENTS)
        return patients(model, context)

    play = private_play
    play.join(1, 2, 3, 4, train=train, policy=budget())
    told_by: list[float] = []
    for site in (1, 2, 3, 4):
        play.link(site).progress = told_by.append  # type: ignore[method-assign]
    play.until(1)
    assert play.receipts[0].included == (1, 2, 3, 4)
    assert told_by == []
