"""The auditor on honest transcripts: what it verifies, what it cannot, and that it does so alone and in time."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import quant
from protocols.pairwise import LocalPolicy
from secagg.audit import Rule, Verdict, audit_file
from secagg.audit.cohorts import solvable
from secagg.cli import main
from secagg.config import RoundConfig
from secagg.inprocess import InProcessRound
from secagg.transcript import records as r
from secagg.transcript.chain import Transcript, study_record
from secagg.witness import StudyWitness
from tests.audit.forging import of_kind, read, run_round, write, write_study

ROOT = Path(__file__).parents[2]


def verdicts(path: Path, **told: Any) -> dict[Rule, Verdict]:
    report, _ = audit_file(path, **told)
    return {row.rule: row.verdict for row in report.rows()}


def roster_file(path: Path, transcript: Path) -> Path:
    members = read(transcript)[0]["roster"]
    path.write_text("\n".join(f'[[members]]\nid = {client}\nkey = "{key}"' for client, key in members))
    return path


def test_a_clean_study_of_ten_sites_passes_in_time(clean: Path, tmp_path: Path) -> None:
    started = time.process_time()  # of this process only: a busy machine fails nothing
    found = verdicts(clean, roster=roster_file(tmp_path / "roster.toml", clean))
    assert time.process_time() - started < 5
    beyond_records = {Rule.BUDGET: Verdict.UNCHECKABLE, Rule.ATTESTED: Verdict.UNCHECKABLE}
    assert found == {rule: beyond_records.get(rule, Verdict.VERIFIED) for rule in found}
    assert set(Rule) - set(found) == {
        Rule.RANDOMNESS,
        Rule.NOISE_SIZED,
        Rule.BOUNDED,
        Rule.EXCESS,
    }  # see test_privacy.py


def test_a_site_that_answers_attests(joint: Path) -> None:
    found = verdicts(joint)
    assert found[Rule.ATTESTED] is Verdict.ATTESTED
    assert found[Rule.RANDOMNESS] is Verdict.VERIFIED


def test_the_auditor_cannot_import_what_it_audits(clean: Path) -> None:
    """It runs where the packages' own imports, the machines, the sessions, coordinator and site do not exist."""
    program = f"""
import importlib.machinery, sys, types

class Refuse:
    banned = ("secagg.session", "secagg.inprocess", "secagg.aggregation", "secagg.coordinator", "secagg.site",
              "secagg.witness", "secagg.transcript.recorder", "secagg.config", "protocols.pairwise.client",
              "protocols.pairwise.server", "protocols.pairwise.states", "protocols.pairwise.steps",
              "protocols.pairwise.validation", "protocols.pairwise.masking", "protocols.pairwise.graph",
              "protocols.pairwise.advertise_keys", "protocols.pairwise.share_keys", "protocols.pairwise.unmasking",
              "secagg.noised", "secagg.opened", "secagg.privacy.ledger", "secagg.privacy.policy",
              "secagg.privacy.site", "secagg.privacy.round", "secagg.privacy.patients", "secagg.privacy.fit")
    def find_spec(self, name, path=None, target=None):
        if any(name == one or name.startswith(one + ".") for one in self.banned):
            raise ImportError("the auditor may not import " + name)

for name in ("secagg.privacy", "protocols.pairwise"):  # their __init__ offers the whole product: leave it out
    package = types.ModuleType(name)
    package.__path__ = [{str(ROOT)!r} + "/" + name.replace(".", "/")]
    sys.modules[name] = package
sys.meta_path.insert(0, Refuse())
from pathlib import Path
from secagg.audit import audit_file
report, _ = audit_file(Path({str(clean)!r}))
assert not report.broken and len(report.findings) > 40, report.broken
try:
    import secagg.session
except ImportError:
    print("alone")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.strip() == "alone", done.stderr


def test_a_study_without_identities_is_believed_and_not_verified(tmp_path: Path) -> None:
    found = verdicts(write_study(tmp_path / "t", sites=5, rounds=1, adversary="curious", dropouts=lambda _: {}))
    unsigned = {rule for rule, verdict in found.items() if verdict is Verdict.UNCHECKABLE}
    assert unsigned == {
        *(Rule.ROSTER, Rule.KEYS_SIGNED, Rule.INPUTS, Rule.CERTIFICATE, Rule.RECEIPTS_SIGNED, Rule.BUDGET)
    }
    assert Verdict.BROKEN not in found.values()
    assert found[Rule.SUM] is Verdict.VERIFIED


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One round of SecAgg+ with seventy sites, three of which drop out."""
    path, ids = tmp_path_factory.mktemp("sparse") / "t", tuple(range(1, 71))
    with Transcript(path) as transcript:
        transcript.append(study_record("study", "tests", LocalPolicy()))
        config = RoundConfig(
            clients=ids,
            layout=quant.Layout.of(np.zeros(20)),
            quantization={"bits": 8, "range": 1.0},
            study="study",
            max_weight=70,
            protocol="secagg+",
            tolerated_dropouts=4,
        )
        run_round(
            config,
            StudyWitness(transcript, {}),
            {"dropouts": lambda _: dict.fromkeys((3, 5, 70), "masked-input")},
            0,
            {},
            None,
        )
        transcript.end()
    return path


def test_a_sparse_graph_is_computed_again(sparse: Path, tmp_path: Path) -> None:
    found = verdicts(sparse)
    assert Verdict.BROKEN not in found.values()
    for rule in (Rule.GRAPH, Rule.RANDOMNESS, Rule.THRESHOLD, Rule.ONE_SHARE_KIND, Rule.OPENING, Rule.SUM):
        assert found[rule] is Verdict.VERIFIED, rule
    records = read(sparse)
    neighbours = of_kind(records, "graph")["neighbours"]
    client, near = neighbours[0]
    near[0] = next(other for other, _ in neighbours if other != client and other not in near)
    assert verdicts(write(tmp_path / "t", records))[Rule.GRAPH] is Verdict.BROKEN


def test_kept_inputs_do_not_show_weights(clean: Path) -> None:
    """Site number i weighs i. A masked weight of ten bits may be i by chance, but hardly at three sites."""
    same = 0
    for sent in of_kind(read(clean), "inputs")["inputs"]:
        payload = base64.b64decode(sent["chunks"][1]["payload"])
        same += int.from_bytes(payload, "little") == sent["client"]
    assert same < 3


# -- several rounds --------------------------------------------------------------------------------------------------


def test_the_same_question_over_cohorts_that_differ_by_one_is_broken(tmp_path: Path) -> None:
    """Honest records of a careless study: the sum with site 1 less the sum without it is its update."""
    careless = write_study(
        tmp_path / "t", sites=6, rounds=2, same_model=True, dropouts=lambda n: {1: "masked-input"} if n else {}
    )
    report, _ = audit_file(careless)
    assert [finding.rule for finding in report.broken] == [Rule.COHORTS]
    assert "[1]" in report.broken[0].evidence


def test_cohorts_that_only_together_give_a_site_away_are_broken(tmp_path: Path) -> None:
    """Any two differ by two members, and four sums of three determine everybody."""
    rotating = write_study(
        tmp_path / "t", sites=4, rounds=4, same_model=True, dropouts=lambda n: {n + 1: "masked-input"}
    )
    report, _ = audit_file(rotating)
    assert [finding.rule for finding in report.broken] == [Rule.COHORTS]
    assert "determine" in report.broken[0].evidence


@pytest.mark.fast
def test_solvable_agrees_with_rank() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        matrix = rng.integers(0, 2, (rng.integers(1, 6), 5))
        cohorts = [frozenset(np.flatnonzero(row).tolist()) for row in matrix if row.any()]
        kept = matrix[matrix.any(axis=1)]
        rank = np.linalg.matrix_rank(kept) if len(kept) else 0
        determined = [
            site for site in range(5) if rank and np.linalg.matrix_rank(np.vstack([kept, np.eye(5)[site]])) == rank
        ]
        assert (solvable(cohorts) in determined) if determined else solvable(cohorts) is None


def test_a_log_that_claims_epsilon_of_sums_without_noise_is_broken(clean: Path, tmp_path: Path) -> None:
    records = read(clean)
    said = {"unit": "site", "adjacency": "one site", "mechanism": {}, "delta": 0.001, "epsilon": 1.0, "total": 1.0}
    records.insert(records.index(of_kind(records, "sum")) + 1, {"kind": "spend", **said})
    assert verdicts(write(tmp_path / "t", records))[Rule.BUDGET] is Verdict.BROKEN


# -- a single site ---------------------------------------------------------------------------------------------------


def receipts_of(path: Path, site: int, to: Path) -> Path:
    kept = [
        msgspec.json.encode(receipt)
        for line in path.read_bytes().splitlines()
        if isinstance(record := r.read(line), r.Receipts)
        for receipt in record.receipts
        if receipt.client == site
    ]
    to.write_bytes(b"\n".join(kept) + b"\n")
    return to


def test_a_site_audits_its_own_receipts_alone(clean: Path, tmp_path: Path) -> None:
    own = receipts_of(clean, 9, tmp_path / "receipts.jsonl")
    found = verdicts(own, roster=roster_file(tmp_path / "roster.toml", clean))
    assert found == {
        Rule.ONE_SHARE_KIND: Verdict.VERIFIED,
        Rule.RECEIPTS_SIGNED: Verdict.VERIFIED,
        Rule.ATTESTED: Verdict.ATTESTED,
        Rule.ONE_INPUT: Verdict.VERIFIED,
    }
    lines = own.read_bytes().splitlines(keepends=True)
    own.write_bytes(lines[0] + lines[2])
    assert verdicts(own)[Rule.RECEIPTS_SIGNED] is Verdict.BROKEN


def test_a_shortened_log_is_found_by_a_site_that_kept_its_receipts(clean: Path, tmp_path: Path) -> None:
    """The forger takes the last round out whole and chains the rest: only who was there can tell."""
    records = read(clean)
    starts = [place for place, record in enumerate(records) if record["kind"] == "parameters"]
    del records[starts[-1] : -1]
    records[-1]["rounds"] -= 1
    shortened = write(tmp_path / "t", records)
    assert Verdict.BROKEN not in verdicts(shortened).values()
    own = receipts_of(clean, 9, tmp_path / "receipts.jsonl")
    assert verdicts(shortened, own=own)[Rule.RECEIPTS_AGREE] is Verdict.BROKEN
    assert verdicts(clean, own=own)[Rule.RECEIPTS_AGREE] is Verdict.VERIFIED


# -- the command -----------------------------------------------------------------------------------------------------


def test_command(clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "audit.html"
    assert main(["audit", str(clean), "--json", "--html", str(page)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["broken"] == 0
    assert printed["claims"][0]["rule"] == "T1"
    html = page.read_text()
    assert "http" not in html.replace("http-equiv", "")
    for heading in ("Roles", "Data that leave a site", "Recipients", "Retention", "Residual risks"):
        assert f"<dt>{heading}</dt>" in html
    assert html.count("<svg") == 2
    assert main(["audit", str(clean)]) == 0
    assert "verified" in capsys.readouterr().out


def test_command_names_record_and_rule_of_what_is_broken(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = read(clean)
    survivors = of_kind(records, "survivors")
    survivors["signatures"] = survivors["signatures"][:3]
    assert main(["audit", str(write(tmp_path / "t", records)), "--html", str(tmp_path / "a.html")]) == 1
    out = capsys.readouterr().out
    assert f"BROKEN T16, record {records.index(survivors)} (round 2)" in out
    assert "What is broken" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize("content", [None, b"", b"hello\n", b"{}\n", b'{"client":1}\n', b"\xff\xfe\n"])
def test_what_is_no_transcript_gets_one_line_or_a_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "t").write_bytes(content)
    assert main(["audit", str(tmp_path / "t")]) in (1, 2)
    out, err = capsys.readouterr()
    assert "BROKEN" in out or err.count("\n") == 1


def test_a_wrong_roster_is_broken_and_a_running_study_is_not(clean: Path, joint: Path, tmp_path: Path) -> None:
    assert verdicts(clean, roster=roster_file(tmp_path / "r.toml", joint))[Rule.ROSTER] is Verdict.BROKEN
    lines = clean.read_bytes().splitlines(keepends=True)
    (tmp_path / "t").write_bytes(b"".join(lines[:-4]))
    found = verdicts(tmp_path / "t", running=True)
    assert found[Rule.ENDED] is Verdict.UNCHECKABLE
    assert Verdict.BROKEN not in found.values()


def test_a_round_without_a_sum_is_no_broken_claim(tmp_path: Path) -> None:
    path, ids = tmp_path / "t", (1, 2, 3, 4)
    with Transcript(path) as transcript:
        transcript.append(study_record("study", "tests", LocalPolicy()))
        config = RoundConfig(clients=ids, layout=quant.Layout.of(np.zeros(4)), study="study")
        witness = StudyWitness(transcript, {}).round(config, bytes(32))
        lost = InProcessRound(config, bytes(32), dropouts=dict.fromkeys((1, 2), "masked-input"), witness=witness)
        with pytest.raises(Exception, match="without a sum"):
            lost.run(lambda client, session: session.prepare(np.zeros(4)))
        transcript.end()
    assert Verdict.BROKEN not in verdicts(path).values()
