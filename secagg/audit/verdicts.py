"""What an audit says: a verdict on every numbered claim, with its evidence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """How far a claim holds."""

    VERIFIED = "verified"
    ATTESTED = "attested by site"
    UNCHECKABLE = "not checkable"
    BROKEN = "broken"


class Rule(Enum):
    """The numbered claims of a transcript; names say what must hold."""

    CHAIN = "T1"
    ORDER = "T2"
    ENDED = "T3"
    ROSTER = "T4"
    PARAMETERS = "T5"
    THRESHOLD = "T6"
    CAPACITY = "T7"
    DIRECTORY = "T8"
    KEYS_SIGNED = "T9"
    SESSION = "T10"
    RANDOMNESS = "T11"
    GRAPH = "T12"
    SHARERS = "T13"
    INPUTS = "T14"
    SURVIVORS = "T15"
    CERTIFICATE = "T16"
    ONE_SHARE_KIND = "T17"
    OPENING = "T18"
    SUM = "T19"
    RECEIPTS_SIGNED = "T20"
    RECEIPTS_AGREE = "T21"
    ATTESTED = "T22"
    ONE_INPUT = "T23"
    COHORTS = "T24"
    BUDGET = "T25"
    FRESH = "T26"
    NOISE_SIZED = "T27"
    BOUNDED = "T28"
    EXCESS = "T29"


CLAIMS: dict[Rule, str] = {
    Rule.CHAIN: "no record was changed, moved or taken out after it was written",
    Rule.ORDER: "every record has its form and its place",
    Rule.ENDED: "the study ended where the transcript ends",
    Rule.ROSTER: "every round used the roster of identities",
    Rule.PARAMETERS: "parameters, task and model are those that hashes name",
    Rule.THRESHOLD: "the threshold withstands the adversary that is assumed",
    Rule.CAPACITY: "sums of all clients fit their fields",
    Rule.DIRECTORY: "only invited clients, each once, with keys of their own",
    Rule.KEYS_SIGNED: "keys come from the members that they are said to come from",
    Rule.SESSION: "the session id follows from parameters and keys",
    Rule.RANDOMNESS: "the joint seed is the one that all had committed to",
    Rule.GRAPH: "the graph follows from the joint seed",
    Rule.SHARERS: "enough clients shared keys",
    Rule.INPUTS: "each input in the sum was sent by its client, for this model",
    Rule.SURVIVORS: "enough inputs are in the sum, and everybody survived or dropped out",
    Rule.CERTIFICATE: "a threshold of survivors signed one survivor list",
    Rule.ONE_SHARE_KIND: "one kind of share of every peer was revealed, never both",
    Rule.OPENING: "what was opened is what was committed to",
    Rule.SUM: "the sum is the sum of the masked inputs",
    Rule.RECEIPTS_SIGNED: "receipts are signed by their sites, and none is missing between two",
    Rule.RECEIPTS_AGREE: "sites say the same as the coordinator's log",
    Rule.ATTESTED: "updates were clipped and quantized, and noise was added, as configured",
    Rule.ONE_INPUT: "one input per site, round and model",
    Rule.COHORTS: "no two answers to one query differ by few sites",
    Rule.BUDGET: "epsilon of every round, and in total",
    Rule.FRESH: "no key, session or seed was used twice",
    Rule.NOISE_SIZED: "noise counts on no more survivors than can open a sum",
    Rule.BOUNDED: "what one patient or site can change is bounded as the noise assumes, and nothing else leaves a site",
    Rule.EXCESS: "of the survivors' noise only what is in excess was revealed",
}


@dataclass(frozen=True)
class Finding:
    """One verdict on one claim.

    Attributes:
        rule: the claim.
        verdict: how far it holds.
        evidence: why, in words.
        record: number of the record that it is about; ``None`` for the transcript.
        round: place of the round among the transcript's rounds, from 0.
    """

    rule: Rule
    verdict: Verdict
    evidence: str
    record: int | None = None
    round: int | None = None


@dataclass(frozen=True)
class Row:
    """All findings on one claim together: the worst verdict, how often each was given, and what to show for it."""

    rule: Rule
    verdict: Verdict
    counts: dict[Verdict, int]
    evidence: str


_WORST = (Verdict.BROKEN, Verdict.UNCHECKABLE, Verdict.ATTESTED, Verdict.VERIFIED)


@dataclass
class Report:
    """The findings of one audit.

    Attributes:
        source: what was audited.
        findings: all verdicts, in the order in which they were reached.
    """

    source: str
    findings: list[Finding] = field(default_factory=list)

    def extend(self, findings: Iterable[Finding]) -> None:
        """Add findings."""
        self.findings.extend(findings)

    @property
    def broken(self) -> list[Finding]:
        """What does not hold."""
        return [finding for finding in self.findings if finding.verdict is Verdict.BROKEN]

    def rows(self) -> list[Row]:
        """Sum the findings up by claim, in the order of the rules; claims that nothing speaks of are left out."""
        rows = []
        for rule in Rule:
            found = [finding for finding in self.findings if finding.rule is rule]
            if found:
                counts = {one: sum(f.verdict is one for f in found) for one in _WORST}
                worst = next(one for one in _WORST if counts[one])
                rows.append(Row(rule, worst, counts, _evidence([f for f in found if f.verdict is worst], len(found))))
        return rows


def _evidence(worst: list[Finding], of: int) -> str:
    first = worst[0]
    where = "" if first.record is None or first.verdict is not Verdict.BROKEN else f"record {first.record}: "
    more = "" if of == 1 else f" ({len(worst)} of {of})"
    return f"{where}{first.evidence}{more}"
