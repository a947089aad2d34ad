"""What an impact assessment asks for: roles, data, recipients, retention, residual risks."""

from __future__ import annotations

from collections.abc import Iterator

from secagg.audit.budget import Spent, claimed, spending
from secagg.audit.reading import StudyRecords
from secagg.audit.verdicts import Report, Rule, Verdict
from secagg.transcript import records as r

Fact = tuple[str, tuple[str, ...]]


def assessment(report: Report, found: StudyRecords) -> Iterator[Fact]:
    """Give headings and their lines: first what the records show, then what the study says of itself."""
    if found.study is None or not found.rounds:
        return
    study, begin = found.study, found.rounds[-1].begin
    params = begin.params
    coordinator = "could read no update even if it lied" if params.adversary == "active" else "must follow the protocol"
    yield (
        "Roles",
        (
            f"{len(params.clients)} sites hold the data, train on it and send masked updates.",
            f"One coordinator adds them up; it {coordinator}, even together with {study.colluders} of them.",
        ),
    )
    sent = sum(spec.length * spec.bits // 8 for spec in params.vectors)
    names = " and ".join(spec.name for spec in params.vectors)
    yield (
        "Data that leave a site",
        (
            f"Masked vectors ({names}), {sent:,} bytes a round, which look random to everybody but the sum of all.",
            "Public keys, sealed shares, signatures; who takes part, when, and how much is sent.",
        ),
    )
    yield (
        "Recipients",
        (
            "The coordinator, and whoever it tells: the sum of each round and what follows from it.",
            _transcript_holders(found),
        ),
    )
    spent = spending(found)
    if spent:
        yield ("Privacy of one person or site", (f"{claimed(spent).capitalize()}.", *_conditions(spent)))
    yield ("Retention", ("Secrets of a round are the sites' and end with it; this transcript has no end of its own.",))
    yield ("Residual risks", tuple(_risks(report, found)))
    for heading, text in study.facts.items():
        yield f"{heading[:1].upper()}{heading[1:]} (the study's own words)", (text,)


def _conditions(spent: list[Spent]) -> Iterator[str]:
    promise = spent[-1].release.promise
    yield (
        f"It holds against all but the {promise.unit}'s own site, if at most {promise.colluders} of the sites in a sum "
        "add no noise or give theirs away; that sites added it rests on their word."
    )
    if promise.sampling_rate != 1:
        yield f"It counts on each patient being drawn with probability {promise.sampling_rate:g} by coins kept secret."
    yield "Other studies on the same patients, and what sites publish themselves, are not in it."


def _transcript_holders(found: StudyRecords) -> str:
    kept = [one.index for one in found.rounds if r.Opening in one.records]
    if kept:
        return (
            f"Who holds this transcript can compute what the coordinator saw in {len(kept)} rounds: masked inputs "
            "and opened masks are in it."
        )
    return "Who holds this transcript: hashes, keys and signatures, no update and no sum."


def _risks(report: Report, found: StudyRecords) -> Iterator[str]:
    for finding in report.broken:
        yield f"BROKEN {finding.rule.value}: {finding.evidence}."
    if not spending(found):
        yield "The sums carry no noise: what a sum tells of its parts (membership, rare features) is not limited."
    if any(f.rule is Rule.COHORTS and f.verdict is Verdict.UNCHECKABLE for f in report.findings):
        yield "Sums of different rounds whose cohorts differ by one site can be compared."
    if found.rounds[-1].begin.params.adversary == "curious":
        yield "A coordinator that lies about who survived could read an update: the study has no identities."
    if any(f.rule is Rule.SUM and f.verdict is Verdict.UNCHECKABLE for f in report.findings):
        yield "Where inputs were not kept, the sum rests on the coordinator's word."
    yield "That sites clipped, quantized and added noise as configured rests on each site's own word."
    yield "Who recorded the rounds today and has a quantum computer one day opens them (X25519)."
    yield "A site's own machine, what sites do with the model, and poisoned updates are outside of what was checked."
