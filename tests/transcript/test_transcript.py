"""What is written, how it is chained, and that no share or input of a site is in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import secagg
from protocols.pairwise import LocalPolicy
from secagg.inprocess import simulated_identities
from secagg.transcript import records
from secagg.transcript.chain import Transcript, study_record
from secagg.transcript.receipts import receipt_hash, receipt_statement
from secagg.witness import StudyWitness

SITES = range(1, 6)


def write_study(path: Path, rounds: int, *, keep: bool = False, signed: bool = True) -> Path:
    """A study of five sites, of which number 2 vanishes in every round before it sends its input."""
    identities, roster = simulated_identities(SITES) if signed else ({}, None)
    policy = LocalPolicy(adversary="active" if signed else "curious", roster=roster)
    with Transcript(path) as transcript:
        transcript.append(study_record("study", "tests", policy))
        witness = StudyWitness(transcript, identities)
        for number in range(rounds):
            secagg.aggregate(
                {site: np.full(9, site / 10) for site in SITES},
                weights=dict.fromkeys(SITES, 3),
                dropouts={2: "masked-input"},
                model_hash=bytes([number]) * 32,
                study="study",
                round_index=number,
                identities=identities if signed else None,
                witness=witness,
                keep_evidence=keep,
            )
        transcript.end()
    return path


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def test_records_follow_each_other_and_are_chained(tmp_path: Path) -> None:
    lines = lines_of(write_study(tmp_path / "t", 2, keep=True))
    read = [records.read(line) for line in lines]
    of_round = ["parameters", "directory", "shared", "inputs", "survivors", "answers", "opening", "sum", "receipts"]
    assert [type(record).__struct_config__.tag for record in read] == ["study", *of_round, *of_round, "end"]
    assert [record.number for record in read] == list(range(len(read)))
    hashes = ["0" * 64] + [hashlib.sha256(line).hexdigest() for line in lines]
    assert [record.previous for record in read] == hashes[:-1]


def test_receipts_are_signed_and_chained(tmp_path: Path) -> None:
    read = [records.read(line) for line in lines_of(write_study(tmp_path / "t", 2))]
    roster = dict(read[0].roster)
    suite = read[1].params.cipher_suite
    first, second = (record.receipts for record in read if isinstance(record, records.Receipts))
    assert [receipt.client for receipt in first] == [1, 3, 4, 5]
    for receipt in (*first, *second):
        key, signature = bytes.fromhex(roster[receipt.client]), bytes.fromhex(receipt.signature)
        assert suite.verify(key, signature, "receipt", *receipt_statement(receipt))
    assert [receipt.previous for receipt in second] == [receipt_hash(receipt) for receipt in first]


def test_nothing_is_kept_unless_asked(tmp_path: Path) -> None:
    read = [records.read(line) for line in lines_of(write_study(tmp_path / "t", 1))]
    assert not any(isinstance(record, records.Opening) for record in read)
    (inputs,) = (record for record in read if isinstance(record, records.Inputs))
    assert {chunk.payload for one in inputs.inputs for chunk in one.chunks} == {None}


def test_without_identities_nothing_is_signed(tmp_path: Path) -> None:
    read = [records.read(line) for line in lines_of(write_study(tmp_path / "t", 1, signed=False))]
    (survivors,) = (record for record in read if isinstance(record, records.Survivors))
    assert survivors.signatures == ()
    (receipts,) = (record for record in read if isinstance(record, records.Receipts))
    assert {receipt.signature for receipt in receipts.receipts} == {""}


def test_a_round_without_a_sum_is_recorded(tmp_path: Path) -> None:
    identities, roster = simulated_identities(SITES)
    with Transcript(tmp_path / "t") as transcript:
        transcript.append(study_record("study", "tests", LocalPolicy(adversary="active", roster=roster)))
        with pytest.raises(secagg.RoundRefused):
            secagg.aggregate(
                {site: np.zeros(3) for site in SITES},
                dropouts=dict.fromkeys((1, 2, 3), "masked-input"),
                study="study",
                identities=identities,
                witness=StudyWitness(transcript, identities),
            )
        transcript.end()
    kinds = [type(records.read(line)).__name__ for line in lines_of(tmp_path / "t")]
    assert kinds == ["Study", "Parameters", "Directory", "Shared", "Aborted", "End"]


@pytest.mark.fast
def test_a_transcript_is_continued_only_from_whole_records(tmp_path: Path) -> None:
    path = tmp_path / "t"
    with Transcript(path) as transcript:
        transcript.append(study_record("study", "tests", LocalPolicy()))
        head = transcript.head
    with Transcript(path) as transcript:
        assert transcript.head == head
        transcript.append(records.Aborted(reason="no"))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(secagg.UsageError, match="middle of a record"):
        Transcript(path)
