"""Every field that says something, changed, is found; the rule that finds it is named, and nothing needs a secret.

The forger holds the file, not the sites' keys: after each change it chains all records again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from secagg.audit import Rule, audit_file
from tests.audit.forging import Record, flip, flip64, of_kind, read, write


def change(kind: str, where: str, by: Callable[..., object], place: int = -1) -> Callable[[list[Record]], None]:
    """Change one value, named by its path, such as ``entries.0.enc_key``."""

    def forge(records: list[Record]) -> None:
        target = of_kind(records, kind, place)
        *path, last = (int(step) if step.lstrip("-").isdigit() else step for step in where.split("."))
        for step in path:
            target = target[step]
        target[last] = by(target[last])

    forge.__name__ = f"{kind}.{where}"
    return forge


def without_last(values: list[object]) -> list[object]:
    return values[:-1]


def other(value: object) -> Callable[[object], object]:
    return lambda _: value


def twice_first(values: list[object]) -> list[object]:
    return [values[0], *values]


def copy_key(records: list[Record]) -> None:
    entries = of_kind(records, "directory")["entries"]
    entries[1]["mask_key"] = entries[0]["mask_key"]


def key_of_earlier_round(records: list[Record]) -> None:
    of_kind(records, "directory")["session"] = of_kind(records, "directory", 0)["session"]


def both_kinds(records: list[Record]) -> None:
    answer = of_kind(records, "answers")["answers"][0]
    answer["mask_keys"] = [answer["self_masks"][0], *answer["mask_keys"]]


def round_again(records: list[Record]) -> None:
    starts = [place for place, record in enumerate(records) if record["kind"] == "parameters"]
    records[-1:-1] = [dict(record) for record in records[starts[-1] : -1]]
    records[-1]["rounds"] += 1


def session_of_two_rounds(records: list[Record]) -> None:
    records.insert(-1, dict(of_kind(records, "receipts")))


def drop_round(records: list[Record]) -> None:
    starts = [place for place, record in enumerate(records) if record["kind"] == "parameters"]
    del records[starts[1] : starts[2]]
    records[-1]["rounds"] -= 1


def drop_kind(kind: str) -> Callable[[list[Record]], None]:
    def forge(records: list[Record]) -> None:
        records.remove(of_kind(records, kind))

    forge.__name__ = f"no-{kind}"
    return forge


def swap_round_parts(records: list[Record]) -> None:
    first, second = of_kind(records, "inputs"), of_kind(records, "survivors")
    one, two = records.index(first), records.index(second)
    records[one], records[two] = second, first


def splice(records: list[Record]) -> None:
    of_kind(records, "inputs")["inputs"] = of_kind(records, "inputs", 0)["inputs"]


ROSTER, PARAMS, INPUTS, CERT, ONE = Rule.ROSTER, Rule.PARAMETERS, Rule.INPUTS, Rule.CERTIFICATE, Rule.ONE_SHARE_KIND
AGREE, SIGNED = Rule.RECEIPTS_AGREE, Rule.RECEIPTS_SIGNED

FORGERIES = [
    (change("study", "format", other(2), 0), Rule.ORDER),
    (change("study", "study", other("another"), 0), PARAMS),
    (change("study", "roster.0.1", flip, 0), ROSTER),
    (change("study", "roster", without_last, 0), ROSTER),
    (change("study", "colluders", other(5), 0), Rule.THRESHOLD),
    (change("parameters", "params.round_index", other(7)), PARAMS),
    (change("parameters", "params.attempt", other(1)), PARAMS),
    (change("parameters", "params.threshold", other(5)), Rule.THRESHOLD),
    (change("parameters", "params.threshold", other(8)), PARAMS),
    (change("parameters", "params.study", other("another")), PARAMS),
    (change("parameters", "params.clients", without_last), PARAMS),
    (change("parameters", "params.vectors.0.1", other(21)), Rule.CAPACITY),
    (change("parameters", "params.vectors.0.2", other("256")), Rule.CAPACITY),
    (change("parameters", "params.vectors.1.2", other("512")), Rule.CAPACITY),
    (change("parameters", "params.task", flip64), PARAMS),
    (change("parameters", "params.roster", flip64), ROSTER),
    (change("parameters", "params.joint_randomness", other(True)), PARAMS),
    (change("parameters", "params_hash", flip), PARAMS),
    (change("parameters", "task", lambda text: text.replace('"levels":4096', '"levels":4095')), PARAMS),
    (change("parameters", "task", lambda text: text.replace('"field_width":16', '"field_width":15')), Rule.CAPACITY),
    (change("parameters", "task", lambda text: text.replace('"max_weight":100', '"max_weight":null')), Rule.CAPACITY),
    (change("parameters", "model_hash", flip), INPUTS),
    (change("directory", "entries.0.client", other(99)), Rule.DIRECTORY),
    (change("directory", "entries.0.enc_key", flip), Rule.KEYS_SIGNED),
    (change("directory", "entries.0.mask_key", flip), Rule.KEYS_SIGNED),
    (change("directory", "entries.0.enc_key", other("00")), Rule.DIRECTORY),
    (change("directory", "entries.0.commitment", other("0" * 64)), Rule.DIRECTORY),
    (change("directory", "entries.0.signature", flip), Rule.KEYS_SIGNED),
    (change("directory", "entries", without_last), Rule.SESSION),
    (change("directory", "entries", twice_first), Rule.DIRECTORY),
    (copy_key, Rule.DIRECTORY),
    (change("directory", "session", flip), Rule.SESSION),
    (key_of_earlier_round, Rule.FRESH),
    (change("shared", "self_mask_hashes.0.1", flip), Rule.OPENING),
    (change("shared", "self_mask_hashes", without_last), Rule.SURVIVORS),
    (change("shared", "self_mask_hashes", lambda hashes: hashes[:3]), Rule.SHARERS),
    (change("shared", "self_mask_hashes.0.0", other(99)), Rule.SHARERS),
    (change("inputs", "inputs.0.client", other(9)), INPUTS),
    (change("inputs", "inputs.0.chunks.0.digest", flip), INPUTS),
    (change("inputs", "inputs.0.chunks.0.signature", flip), INPUTS),
    (change("inputs", "inputs.0.chunks.0.payload", flip64), INPUTS),
    (change("inputs", "inputs.0.chunks.0.offset", other(1)), INPUTS),
    (change("inputs", "inputs.0.chunks", without_last), INPUTS),
    (change("inputs", "inputs", without_last), INPUTS),
    (change("survivors", "survivors", without_last), CERT),
    (change("survivors", "survivors", lambda ids: ids[:5]), Rule.SURVIVORS),
    (change("survivors", "dropped", without_last), Rule.SURVIVORS),
    (change("survivors", "signatures.0.1", flip), CERT),
    (change("survivors", "signatures", lambda made: made[:6]), CERT),
    (change("survivors", "signatures.0.0", other(9)), CERT),
    (both_kinds, ONE),
    (change("answers", "answers.0.self_masks", without_last), ONE),
    (change("answers", "answers.0.mask_keys", without_last), ONE),
    (change("answers", "answers.0.client", other(99)), ONE),
    (change("answers", "answers", lambda made: made[:6]), ONE),
    (change("opening", "self_mask_seeds.0.1", flip), Rule.OPENING),
    (change("opening", "mask_secrets.0.1", flip), Rule.OPENING),
    (change("opening", "self_mask_seeds", without_last), Rule.OPENING),
    (change("opening", "mask_secrets", other([])), Rule.SUM),
    (change("sum", "totals.0.digest", flip), Rule.SUM),
    (change("sum", "totals.0.payload", flip64), Rule.SUM),
    (change("sum", "totals.1.name", other("wait")), Rule.SUM),
    (change("sum", "result", flip), Rule.SUM),
    (change("receipts", "receipts.0.client", other(9)), SIGNED),
    (change("receipts", "receipts.0.round_index", other(5)), AGREE),
    (change("receipts", "receipts.0.params_hash", flip), AGREE),
    (change("receipts", "receipts.0.session", flip), AGREE),
    (change("receipts", "receipts.0.model_hash", flip), AGREE),
    (change("receipts", "receipts.0.shared", without_last), AGREE),
    (change("receipts", "receipts.0.survivors", without_last), AGREE),
    (change("receipts", "receipts.0.inputs", flip), AGREE),
    (change("receipts", "receipts.0.self_masks", without_last), AGREE),
    (change("receipts", "receipts.0.mask_keys", twice_first), AGREE),
    (change("receipts", "receipts.0.result", flip), AGREE),
    (change("receipts", "receipts.0.attests", other(["noise"])), SIGNED),
    (change("receipts", "receipts.0.previous", flip), SIGNED),
    (change("receipts", "receipts.0.signature", flip), SIGNED),
    (change("receipts", "receipts.0.signature", other("")), SIGNED),
    (change("receipts", "receipts", without_last), AGREE),
    (change("end", "rounds", other(2)), Rule.ENDED),
    (round_again, Rule.ONE_INPUT),
    (session_of_two_rounds, Rule.ORDER),
    (drop_round, SIGNED),
    (drop_kind("end"), Rule.ENDED),
    (drop_kind("sum"), Rule.ORDER),
    (drop_kind("survivors"), Rule.ORDER),
    (drop_kind("study"), Rule.ORDER),
    (swap_round_parts, Rule.ORDER),
    (splice, INPUTS),
]


@pytest.mark.parametrize(("forge", "rule"), FORGERIES, ids=lambda value: getattr(value, "__name__", ""))
def test_forgery_is_found(clean: Path, tmp_path: Path, forge: Callable[[list[Record]], None], rule: Rule) -> None:
    records = read(clean)
    forge(records)
    forged = write(tmp_path / "forged", records)
    assert forged.read_bytes() != clean.read_bytes()
    report, _ = audit_file(forged)
    assert rule in {finding.rule for finding in report.broken}, report.broken


JOINT_FORGERIES = [
    (change("randomness", "parts.0.1", flip), Rule.RANDOMNESS),
    (change("randomness", "parts", without_last), Rule.RANDOMNESS),
    (change("randomness", "seed", flip), Rule.RANDOMNESS),
    (change("directory", "entries.0.commitment", flip), Rule.KEYS_SIGNED),
    (drop_kind("randomness"), Rule.RANDOMNESS),
]


@pytest.mark.parametrize(("forge", "rule"), JOINT_FORGERIES, ids=lambda value: getattr(value, "__name__", ""))
def test_forged_randomness_is_found(
    joint: Path, tmp_path: Path, forge: Callable[[list[Record]], None], rule: Rule
) -> None:
    records = read(joint)
    forge(records)
    report, _ = audit_file(write(tmp_path / "forged", records))
    assert rule in {finding.rule for finding in report.broken}, report.broken


@pytest.mark.parametrize("place", [0, 1, 5, -2])
def test_a_change_without_chaining_again_breaks_the_chain(clean: Path, tmp_path: Path, place: int) -> None:
    records = read(clean)
    key = {0: "software", 1: "model_hash", 5: "survivors", -2: "receipts"}[place]
    value = records[place][key]
    records[place][key] = value[1:] if isinstance(value, list) else flip(value) if place else "another"
    report, _ = audit_file(write(tmp_path / "forged", records, chained=False))
    broken = {(finding.rule, finding.record) for finding in report.broken}
    assert (Rule.CHAIN, range(len(records))[place] + 1) in broken


def test_truncated_reordered_and_spliced_lines_break_the_chain(clean: Path, tmp_path: Path, joint: Path) -> None:
    lines = clean.read_bytes().splitlines(keepends=True)
    reordered = [*lines[:3], lines[4], lines[3], *lines[5:]]
    for rule, kept in ((Rule.ENDED, lines[:-3]), (Rule.CHAIN, reordered)):
        (tmp_path / "t").write_bytes(b"".join(kept))
        report, _ = audit_file(tmp_path / "t")
        assert rule in {finding.rule for finding in report.broken}
    foreign = joint.read_bytes().splitlines(keepends=True)
    (tmp_path / "t").write_bytes(b"".join([*lines[:10], *foreign[1:11], *lines[10:]]))
    report, _ = audit_file(tmp_path / "t")
    assert {Rule.CHAIN, Rule.ROSTER} <= {finding.rule for finding in report.broken}


def test_a_cut_off_line_is_found(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(clean.read_bytes()[:-9])
    report, _ = audit_file(tmp_path / "t")
    assert {Rule.CHAIN, Rule.ENDED} <= {finding.rule for finding in report.broken}


@pytest.mark.fast
def test_there_are_enough_forgeries() -> None:
    assert len(FORGERIES) + len(JOINT_FORGERIES) >= 40
    assert {rule for _, rule in (*FORGERIES, *JOINT_FORGERIES)} >= set(Rule) - {
        Rule.CHAIN,  # unchained changes, below
        Rule.GRAPH,  # sparse graph, test_audit.py
        Rule.ATTESTED,  # a word is not broken, only missing
        Rule.COHORTS,  # honest records of a careless study, test_audit.py
        *(Rule.BUDGET, Rule.NOISE_SIZED, Rule.BOUNDED, Rule.EXCESS),  # test_privacy.py
    }
