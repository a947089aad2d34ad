"""A private study: epsilon computed again from its tasks, and forgers who promise more than the noise keeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quant
import secagg
from protocols.pairwise import LocalPolicy
from secagg.audit import Rule, Verdict, audit_file
from secagg.audit import privacy as audit_privacy
from secagg.audit.budget import spending
from secagg.audit.html import audit_html
from secagg.cli import main
from secagg.inprocess import simulated_identities
from secagg.privacy import Fitted, Goal, PatientUpdates, SitePrivacy, Unit, fit
from secagg.transcript.chain import Transcript, study_record
from secagg.witness import StudyWitness
from tests.audit.forging import Record, of_kind, read, write

SITES, DIM, ROUNDS, LEAST = 8, 48, 3, 6
DELTA = 1e-4
Change = Callable[[dict[str, Any]], object]


def write_private(path: Path, unit: Unit, *, rounds: int = ROUNDS, releases: int = ROUNDS) -> Path:
    """A study with identities and budgets; in its last round a site drops out."""
    goal = Goal(epsilon=1.0, delta=DELTA, releases=releases, least_survivors=LEAST, colluders=1)
    found = fit(goal, clients=SITES, dim=DIM, clip=1.0, width=20, unit=unit, patients=10)
    assert isinstance(found, Fitted)
    ids = tuple(range(1, SITES + 1))
    identities, roster = simulated_identities(ids)
    sites: dict[int, SitePrivacy] = {}
    with Transcript(path) as transcript:
        witness = StudyWitness(transcript, identities)
        transcript.append(study_record("private", "tests", LocalPolicy(roster=roster)))
        for number in range(rounds):
            updates = {
                client: PatientUpdates(np.full((5, DIM), client / 200)) if unit is Unit.PATIENT else np.full(DIM, 0.01)
                for client in ids
            }
            config = secagg.RoundConfig(
                ids, quant.Layout.of(np.zeros(DIM)), found.quantization, threshold=LEAST, privacy=found.privacy
            )
            assert config.privacy_terms is not None
            sites = sites or {client: SitePrivacy.rehearsal(config.privacy_terms) for client in ids}
            secagg.aggregate(
                updates,
                privacy=found.privacy,
                quantization=found.quantization,
                threshold=LEAST,
                reduce="sum",
                study="private",
                round_index=number,
                model_hash=hashlib.sha256(b"%d" % number).digest(),
                identities=identities,
                dropouts={3: "masked-input"} if number == rounds - 1 else {},
                witness=witness,
                keep_evidence=True,
                sites=sites,
            )
        transcript.end()
    return path


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_private(tmp_path_factory.mktemp("private") / "transcript.jsonl", Unit.PATIENT)


def verdicts(path: Path) -> dict[Rule, Verdict]:
    return {row.rule: row.verdict for row in audit_file(path)[0].rows()}


def test_epsilon_is_computed_again_and_agrees_with_a_second_formula(private: Path) -> None:
    report, found = audit_file(private)
    assert report.broken == []
    spent = spending(found)
    assert [one.total for one in spent] == sorted(one.total for one in spent)
    assert 0.999 < spent[-1].total <= 1.0  # the promise, used up by the last of its releases
    for one in spent:
        assert one.second <= one.total <= one.second * 1.01
    for rule in (Rule.BUDGET, Rule.NOISE_SIZED, Rule.BOUNDED, Rule.EXCESS, Rule.CAPACITY):
        assert verdicts(private)[rule] is Verdict.VERIFIED
    assert verdicts(private)[Rule.ATTESTED] is Verdict.ATTESTED
    assert "noise" in next(row.evidence for row in report.rows() if row.rule is Rule.ATTESTED)


def test_unit_site(tmp_path: Path) -> None:
    found = verdicts(write_private(tmp_path / "t", Unit.SITE, rounds=1, releases=1))
    assert Verdict.BROKEN not in found.values()
    assert found[Rule.BUDGET] is found[Rule.BOUNDED] is Verdict.VERIFIED


def test_the_report_draws_the_budget_and_states_what_it_rests_on(private: Path, tmp_path: Path) -> None:
    report, found = audit_file(private)
    page = audit_html(report, found)
    assert page.count("<svg") == 3
    for words in ("Privacy budget", "promised was 1 for 3", "<dt>Privacy of one person or site</dt>", "their word"):
        assert words in page
    assert "carry no noise" not in page
    assert main(["audit", str(private), "--html", str(tmp_path / "audit.html")]) == 0


@pytest.mark.parametrize("width", [14, 15, 16, 17, 20])
@pytest.mark.parametrize("removable", [True, False])
def test_the_auditor_finds_the_room_for_noise_that_the_round_has(width: int, removable: bool) -> None:
    goal = Goal(epsilon=1.0, delta=DELTA, releases=ROUNDS, least_survivors=LEAST, colluders=1)
    found = fit(goal, clients=SITES, dim=DIM, clip=1.0, width=width, patients=10, removable=removable)
    assert isinstance(found, Fitted)
    config = secagg.RoundConfig(
        tuple(range(1, SITES + 1)),
        quant.Layout.of(np.zeros(DIM)),
        found.quantization,
        threshold=LEAST,
        privacy=found.privacy,
    )
    release = audit_privacy._release(config.task_text, SITES)
    assert release is not None
    assert release.reach == config.noise_reach


# -- forgeries -------------------------------------------------------------------------------------------------------


def promise(**to: Any) -> Callable[[list[Record]], None]:
    """Change entries of what the tasks promise, in every round; a function changes the value that is there."""
    return of_task(
        lambda task: task["privacy"].update({k: v(task["privacy"][k]) if callable(v) else v for k, v in to.items()})
    )


def of_task(change: Change, *, place: int | None = None) -> Callable[[list[Record]], None]:
    """Change tasks, and everything that the coordinator can make fit again: hashes of task and transcript."""

    def forge(records: list[Record]) -> None:
        for number, record in enumerate(record for record in records if record["kind"] == "parameters"):
            if place in (None, number):
                task = json.loads(record["task"])
                change(task)
                record["task"] = json.dumps(task, sort_keys=True, separators=(",", ":"))

    return forge


def times(factor: float) -> Callable[[Any], Any]:
    return lambda value: str(Fraction(value) * Fraction(factor)) if isinstance(value, str) else int(value * factor)


def in_parameters(**to: Any) -> Callable[[list[Record]], None]:
    def forge(records: list[Record]) -> None:
        of_kind(records, "parameters")["params"].update(to)

    return forge


def weight_beside(records: list[Record]) -> None:
    of_kind(records, "parameters")["params"]["vectors"].append(["weight", 1, "1024"])


def few_survivors(records: list[Record]) -> None:
    of_kind(records, "survivors")["survivors"] = of_kind(records, "survivors")["survivors"][:5]


def more_colluders(records: list[Record]) -> None:
    of_kind(records, "study")["colluders"] = 2


def spend(records: list[Record], epsilon: float, total: float, **to: Any) -> None:
    said = {
        "kind": "spend", "unit": "patient", "adjacency": "add or remove", "mechanism": {}, "delta": DELTA,
        "epsilon": epsilon, "total": total, **to,
    }  # fmt: skip
    records.insert(records.index(of_kind(records, "sum")) + 1, said)


def set_(name: str, value: Any) -> Change:
    return lambda task: task.update({name: value})


def in_codec(name: str, value: Any) -> Change:
    return lambda task: task["quantization"].update({name: value})


def noise_of_more(records: list[Record]) -> None:
    """One component too many comes off everybody: the survivor list is one longer than the sum deserves."""
    for answer in of_kind(records, "answers")["answers"]:
        answer["noise"] = sorted({*answer["noise"], 3})


def earlier_link(records: list[Record]) -> None:
    """What was opened in the round before, with nobody missing, is one link earlier than what may be opened now."""
    of_kind(records, "opening")["noise_links"] = of_kind(records, "opening", 0)["noise_links"]


def in_kind(kind: str, name: str, by: Callable[[Any], Any]) -> Callable[[list[Record]], None]:
    def forge(records: list[Record]) -> None:
        record = of_kind(records, kind)
        record[name] = by(record[name])

    return forge


BUDGET, SIZED, BOUNDED, EXCESS = Rule.BUDGET, Rule.NOISE_SIZED, Rule.BOUNDED, Rule.EXCESS
FORGERIES: dict[str, tuple[Callable[[list[Record]], None], Rule]] = {
    "less noise": (promise(target=times(0.9)), BUDGET),
    "no noise": (promise(target="0"), BUDGET),
    "noise of another form": (promise(target="a lot"), BUDGET),
    "a smaller epsilon": (promise(epsilon=0.9), BUDGET),
    "a smaller delta": (promise(delta=1e-6), BUDGET),
    "an impossible delta": (promise(delta=1.5), BUDGET),
    "fewer releases": (promise(releases=2), BUDGET),
    "an unknown law": (promise(law="laplace"), BUDGET),
    "replaced neighbours": (promise(relation="replace"), BUDGET),
    "neighbours that are none": (promise(relation="zero out"), BUDGET),
    "another unit": (promise(unit="site"), BUDGET),
    "a bound that fails": (promise(beta=1e-4), BUDGET),
    "a sampling rate above 1": (promise(sampling_rate=2.0), BUDGET),
    "colluders left out": (promise(colluders=0), BUDGET),
    "an unknown entry": (promise(surprise=1), BUDGET),
    "a larger patient": (promise(l2_squared=times(4)), BUDGET),
    "a patient beyond the clip": (promise(l2_squared=times(4)), BOUNDED),
    "another clip": (promise(clip=2.0), BOUNDED),
    "a coarsening that is no power of two": (promise(coarsening=times(1.5)), BOUNDED),
    "a clip missing in the codec": (of_task(lambda task: task["quantization"].pop("clip")), BOUNDED),
    "another clip in the codec": (of_task(in_codec("clip", 3.0)), BOUNDED),
    "dithered rounding": (of_task(in_codec("rounding", "dither")), BOUNDED),
    "a monitor": (of_task(set_("monitor", True)), BOUNDED),
    "weights": (of_task(set_("max_weight", 10)), BOUNDED),
    "counters": (of_task(set_("counters", ["right"])), BOUNDED),
    "metrics": (of_task(set_("metrics", {"loss": 1.0})), BOUNDED),
    "an adaptive clip": (of_task(set_("adaptive_clip", {"bound": 1.0})), BOUNDED),
    "devices": (of_task(set_("devices", [[1, 2]])), BOUNDED),
    "residuals": (of_task(set_("error_feedback", True)), BOUNDED),
    "a weight beside the update": (weight_beside, BOUNDED),
    "n_min above the threshold": (promise(least_survivors=7), SIZED),
    "a threshold below n_min": (in_parameters(threshold=5), SIZED),
    "too few survivors": (few_survivors, SIZED),
    "more colluders than the noise assumes": (more_colluders, SIZED),
    "noise that is never removed": (promise(removable=False), EXCESS),
    "too few components": (in_parameters(noise_components=1), EXCESS),
    "noise of a client that is missing": (noise_of_more, EXCESS),
    "noise of nobody": (in_kind("answers", "answers", lambda made: [{**one, "noise": []} for one in made]), EXCESS),
    "an uncommitted client": (in_kind("shared", "noise_commitments", lambda made: made[1:]), EXCESS),
    "another commitment": (
        in_kind("shared", "noise_commitments", lambda made: [[made[0][0], "ab" * 32], *made[1:]]), EXCESS,
    ),
    "an earlier link": (earlier_link, EXCESS),
    "a link that was not opened": (in_kind("opening", "noise_links", lambda made: made[1:]), EXCESS),
    "a receipt of other noise": (
        in_kind("receipts", "receipts", lambda made: [{**made[0], "noise": []}, *made[1:]]), Rule.RECEIPTS_AGREE,
    ),
    "fields without room for noise": (of_task(set_("field_width", 16)), Rule.CAPACITY),
    "a round without noise": (of_task(lambda task: task.pop("privacy"), place=1), BUDGET),
    "a unit that changes": (of_task(lambda task: task["privacy"].update(delta=2e-4), place=2), BUDGET),
    "a log that says less": (lambda records: spend(records, 0.5, 0.9), BUDGET),
    "a log of another delta": (lambda records: spend(records, 1.0, 2.0, delta=1e-3), BUDGET),
    "a log of another unit": (lambda records: spend(records, 1.0, 2.0, unit="site"), BUDGET),
}  # fmt: skip
HARMLESS = {
    "a larger epsilon": promise(epsilon=2.0),
    "more noise": promise(target=times(1.01)),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_promise_is_found(private: Path, tmp_path: Path, name: str) -> None:
    forge, rule = FORGERIES[name]
    records = read(private)
    forge(records)
    report, _ = audit_file(write(tmp_path / "forged", records))
    assert rule in {finding.rule for finding in report.broken}, report.broken


@pytest.mark.parametrize("name", HARMLESS)
def test_a_promise_that_is_kept_but_not_the_one_agreed_on_breaks_the_hash(
    private: Path, tmp_path: Path, name: str
) -> None:
    records = read(private)
    HARMLESS[name](records)
    report, _ = audit_file(write(tmp_path / "forged", records))
    assert Rule.PARAMETERS in {finding.rule for finding in report.broken}


def test_a_log_that_says_what_was_spent_is_verified(private: Path, tmp_path: Path) -> None:
    records = read(private)
    _, found = audit_file(private)
    first = spending(found)[-1]
    spend(records, first.epsilon, first.total)
    assert Rule.BUDGET not in {finding.rule for finding in audit_file(write(tmp_path / "t", records))[0].broken}


def test_a_site_that_leaves_no_word_on_its_noise_is_named(private: Path, tmp_path: Path) -> None:
    records = read(private)
    of_kind(records, "receipts")["receipts"][4]["attests"] = ["encoded"]
    report, _ = audit_file(write(tmp_path / "t", records))
    said = [finding.evidence for finding in report.findings if finding.rule is Rule.ATTESTED]
    assert said[-1] == "sites [6] left no word on their noise"


def test_a_round_that_was_charged_and_gave_no_sum_counts(private: Path, tmp_path: Path) -> None:
    records = read(private)
    first = next(place for place, record in enumerate(records) if record["kind"] == "shared")
    last = next(place for place, record in enumerate(records) if record["kind"] == "receipts")
    records[first + 1 : last + 1] = [{"kind": "aborted", "reason": "lost"}]
    report, found = audit_file(write(tmp_path / "t", records))
    assert len(spending(found)) == ROUNDS
    charged = [finding.evidence for finding in report.findings if finding.rule is Rule.BUDGET]
    assert any("charged though no sum was opened" in evidence for evidence in charged)
    del records[first]
    _, found = audit_file(write(tmp_path / "t", records))
    assert len(spending(found)) == ROUNDS - 1
