"""``audit.html``: one file that opens anywhere, with plots, and ends with the facts of an impact assessment."""

from __future__ import annotations

from html import escape
from string import Template

from secagg import theme
from secagg.audit import plots
from secagg.audit.budget import claimed, spending
from secagg.audit.display import COLOURS, headline, where
from secagg.audit.facts import assessment
from secagg.audit.reading import StudyRecords
from secagg.audit.verdicts import CLAIMS, Report, Row

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>secagg audit: $study</title>
<style>
$style</style>
</head>
<body>
<h1>$headline</h1>
<p class="quiet">Derived from the public records of $source alone. <em>Verified</em>: computed again and equal.
<em>Attested by site</em>: only the site can know, and it signed. <em>Not checkable</em>: the records do not tell.
<em>Broken</em>: the records contradict it.</p>
<section><h2>Verdicts</h2>
$verdicts</section>
<section class="long"><h2>Claims</h2>
<table class="text"><thead><tr><th></th><th>claim</th><th>evidence</th><th>verdict</th></tr></thead><tbody>
$rows
</tbody></table></section>
$broken
<section><h2>Who is in which sum</h2>
<p>One column a round, one row a site. A sum over one site more or less than another can tell of that site.</p>
$cohorts</section>
$budget
<section class="long"><h2>For the impact assessment</h2>
<dl>
$facts
</dl></section>
</body>
</html>
""")


def audit_html(report: Report, found: StudyRecords) -> str:
    """Write the whole audit as one HTML page with inline styles and pictures."""
    study = found.study.study if found.study is not None else "receipts"
    return PAGE.substitute(
        style=theme.PAGE_STYLE,
        study=escape(study),
        headline=escape(headline(report, found)),
        source=escape(report.source),
        verdicts=plots.verdict_bars(report),
        rows="\n".join(map(_row, report.rows())),
        broken=_broken(report),
        cohorts=plots.cohorts(found),
        budget=_budget(found),
        facts="\n".join(
            f"<dt>{escape(head)}</dt><dd>{'<br>'.join(map(escape, lines))}</dd>"
            for head, lines in assessment(report, found)
        ),
    )


def _row(row: Row) -> str:
    verdict = f'<td class="end" style="color:{COLOURS[row.verdict]}">{escape(row.verdict.value)}</td>'
    return (
        f"<tr><td>{row.rule.value}</td><td>{escape(CLAIMS[row.rule])}</td><td>{escape(row.evidence)}</td>{verdict}</tr>"
    )


def _broken(report: Report) -> str:
    if not report.broken:
        return ""
    items = "".join(
        f"<li><b>{finding.rule.value}</b>, {escape(where(finding))}: {escape(finding.evidence)}</li>"
        for finding in report.broken
    )
    return f"<section><h2>What is broken</h2><ul>{items}</ul></section>"


def _budget(found: StudyRecords) -> str:
    spent = spending(found)
    if not spent:
        return ""
    said = f"{claimed(spent).capitalize()}, computed again from each round's task."
    return f"<section><h2>Privacy budget</h2><p>{escape(said)}</p>{plots.budget(spent)}</section>"
