"""What ``secagg audit`` shows on a terminal, and the JSON object that it prints."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from secagg import theme
from secagg.audit.reading import StudyRecords
from secagg.audit.verdicts import CLAIMS, Finding, Report, Verdict

COLOURS = {
    Verdict.VERIFIED: theme.GREEN,
    Verdict.ATTESTED: theme.BLUE,
    Verdict.UNCHECKABLE: theme.GREY,
    Verdict.BROKEN: theme.VERMILION,
}


def headline(report: Report, found: StudyRecords) -> str:
    """Say in one sentence what was audited and what came out."""
    study = found.study.study if found.study is not None else "receipts"
    broken = len(report.broken)
    verdict = "no claim is broken" if not broken else f"{broken} claims are BROKEN"
    return f"{study}: {len(found.rounds)} rounds, {len(report.findings)} verdicts, {verdict}"


def show(report: Report, found: StudyRecords, console: Console) -> None:
    """Print one row for every claim, then everything that is broken."""
    console.print(headline(report, found))
    rows = Table(header_style="bold")
    rows.add_column("", no_wrap=True)
    rows.add_column("claim", ratio=4)
    rows.add_column("evidence", ratio=5)
    rows.add_column("verdict", no_wrap=True)
    for row in report.rows():
        rows.add_row(
            row.rule.value, CLAIMS[row.rule], Text(row.evidence), Text(row.verdict.value, style=COLOURS[row.verdict])
        )
    console.print(rows)
    for finding in report.broken:
        console.print(f"BROKEN {finding.rule.value}, {where(finding)}: {finding.evidence}", markup=False)


def where(finding: Finding) -> str:
    """Name the record and the round of a finding."""
    record = "the transcript" if finding.record is None else f"record {finding.record}"
    return record if finding.round is None else f"{record} (round {finding.round})"


def to_json(report: Report, found: StudyRecords) -> dict[str, Any]:
    """Return the audit as plain JSON types."""
    return {
        "source": report.source,
        "study": None if found.study is None else found.study.study,
        "rounds": len(found.rounds),
        "broken": len(report.broken),
        "claims": [
            {
                "rule": row.rule.value,
                "claim": CLAIMS[row.rule],
                "verdict": row.verdict.value,
                "evidence": row.evidence,
                "counts": {verdict.value: count for verdict, count in row.counts.items() if count},
            }
            for row in report.rows()
        ],
        "findings": [
            {
                "rule": finding.rule.value,
                "verdict": finding.verdict.value,
                "evidence": finding.evidence,
                "record": finding.record,
                "round": finding.round,
            }
            for finding in report.findings
        ],
    }
