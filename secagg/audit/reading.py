"""Rules T1 to T3: a file becomes rounds of records, in the order in which a study makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from secagg.audit.verdicts import Finding, Rule, Verdict
from secagg.transcript import records as r

R = TypeVar("R", bound=r.Record)

_PHASES: tuple[tuple[type[r.Record], ...], ...] = (
    (r.Parameters,),
    (r.Directory,),
    (r.Randomness,),
    (r.Graph,),
    (r.Shared,),
    (r.Inputs,),
    (r.Survivors,),
    (r.Answers,),
    (r.Opening,),
    (r.Opened,),
    (r.Spend,),
    (r.Receipts,),
)
_PLACE = {kind: place for place, kinds in enumerate(_PHASES) for kind in kinds}
_NEEDED: tuple[type[r.Record], ...] = (r.Directory, r.Shared, r.Inputs, r.Survivors, r.Answers, r.Opened)
"""What a round that opened a sum cannot do without."""


@dataclass
class Round:
    """The records of one round, by kind."""

    index: int
    records: dict[type[r.Record], r.Record] = field(default_factory=dict)

    def get(self, kind: type[R]) -> R | None:
        """Return the record of this kind, if the round has one."""
        found = self.records.get(kind)
        return found if isinstance(found, kind) else None

    @property
    def begin(self) -> r.Parameters:
        """The record that every round begins with."""
        found = self.records[r.Parameters]
        if not isinstance(found, r.Parameters):
            raise TypeError("a round begins with its parameters")
        return found

    @property
    def opened(self) -> bool:
        """Whether the round ended with a sum and nothing is missing."""
        return all(kind in self.records for kind in _NEEDED)

    def say(self, rule: Rule, verdict: Verdict, evidence: str, kind: type[r.Record] = r.Parameters) -> Finding:
        """Make a finding about the record of ``kind``."""
        record = self.records.get(kind)
        return Finding(rule, verdict, evidence, None if record is None else record.number, self.index)

    def judge(self, rule: Rule, wrong: list[str], right: str, kind: type[r.Record] = r.Parameters) -> Finding:
        """Broken if anything is wrong, else verified."""
        if wrong:
            return self.say(rule, Verdict.BROKEN, wrong[0], kind)
        return self.say(rule, Verdict.VERIFIED, right, kind)


@dataclass
class StudyRecords:
    """A transcript as read.

    Attributes:
        study: its first record, if it is one.
        rounds: its rounds.
        findings: rules T1 to T3.
    """

    study: r.Study | None = None
    rounds: list[Round] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    ended: bool = False

    def broken(self, rule: Rule, evidence: str, record: int | None) -> None:
        """Note what is wrong with a record."""
        self.findings.append(Finding(rule, Verdict.BROKEN, evidence, record))


def read_study(data: bytes, *, running: bool = False) -> StudyRecords:
    """Read a transcript and judge its chain, its order and its end.

    What can be read is handed on even if something is wrong, so that one audit names all that is.

    Args:
        data: the file.
        running: whether the study still goes on, so that it need not have ended.
    """
    found = StudyRecords()
    for record in _chained(data, found):
        _place(record, found)
    if found.study is None:
        found.broken(Rule.ORDER, "no record describes the study", 0)
    for one in found.rounds:
        found.findings += _complete(one, last=one is found.rounds[-1], running=running and not found.ended)
    if found.ended:
        found.findings.append(Finding(Rule.ENDED, Verdict.VERIFIED, f"{len(found.rounds)} rounds, and the end"))
    elif running:
        found.findings.append(Finding(Rule.ENDED, Verdict.UNCHECKABLE, "the study still goes on"))
    else:
        found.broken(Rule.ENDED, "the transcript stops without its end: records are missing", None)
    for rule, right in ((Rule.CHAIN, "every hash matches the line before"), (Rule.ORDER, "all records are in order")):
        if not any(finding.rule is rule for finding in found.findings):
            found.findings.append(Finding(rule, Verdict.VERIFIED, right))
    return found


def _chained(data: bytes, found: StudyRecords) -> Iterator[r.AnyRecord]:
    lines = data.split(b"\n")
    if lines.pop():
        found.broken(Rule.CHAIN, "the last line is cut off", len(lines))
    previous = "0" * 64
    for number, line in enumerate(lines):
        try:
            record = r.read(line)
        except r.UNREADABLE as error:
            found.broken(Rule.ORDER, f"not a record: {error}", number)
            return
        if record.number != number:
            found.broken(Rule.CHAIN, f"it says that it is number {record.number}", number)
        if record.previous != previous:
            found.broken(Rule.CHAIN, "it does not follow on the line before it", number)
        previous = hashlib.sha256(line).hexdigest()
        yield record


def _place(record: r.AnyRecord, found: StudyRecords) -> None:
    number = record.number
    if found.ended:
        found.broken(Rule.ORDER, "it comes after the end", number)
        return
    match record:
        case r.Study():
            if number or found.study is not None:
                found.broken(Rule.ORDER, "the study is described again", number)
            elif record.format != r.FORMAT:
                found.broken(Rule.ORDER, f"format {record.format}; this auditor reads {r.FORMAT}", number)
            found.study = found.study or record
        case r.End():
            found.ended = True
            if record.rounds != len(found.rounds):
                found.broken(Rule.ENDED, f"it counts {record.rounds} rounds; there are {len(found.rounds)}", number)
        case r.Parameters():
            found.rounds.append(Round(len(found.rounds), {r.Parameters: record}))
        case _:
            _place_in_round(record, found)


def _place_in_round(record: r.AnyRecord, found: StudyRecords) -> None:
    kind = type(record)
    if not found.rounds:
        found.broken(Rule.ORDER, f"a record of kind {kind.__name__.lower()} before any round", record.number)
        return
    current = found.rounds[-1].records
    if r.Aborted in current:
        found.broken(Rule.ORDER, "the round was aborted before this record", record.number)
    elif kind is r.Aborted:
        if r.Opened in current:
            found.broken(Rule.ORDER, "the round has a sum and is aborted", record.number)
    elif kind in current or any(_PLACE[kind] < _PLACE[seen] for seen in current):
        found.broken(Rule.ORDER, f"{kind.__name__.lower()} comes out of order", record.number)
        return
    current[kind] = record


def _complete(one: Round, *, last: bool, running: bool) -> Iterator[Finding]:
    if one.opened or r.Aborted in one.records or (last and running):
        return
    missing = next(kind for kind in _NEEDED if kind not in one.records)
    yield one.say(Rule.ORDER, Verdict.BROKEN, f"round {one.index} has no {missing.__name__.lower()} and no abort")
