"""Pictures of an audit, as SVG written by hand: an auditor installs nothing to see them."""

from __future__ import annotations

from html import escape

from secagg import theme
from secagg.audit.cohorts import survivors_of
from secagg.audit.display import COLOURS
from secagg.audit.reading import StudyRecords
from secagg.audit.verdicts import Report, Verdict
from secagg.transcript import records as r

WIDTH, LABEL = 860, 60


def _svg(height: float, body: str, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}" font-family="Helvetica, Arial" '
        f'font-size="12"><title>{escape(title)}</title>{body}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str = "end") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="#444">{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}">'
        f"<title>{escape(title)}</title></rect>"
    )


def verdict_bars(report: Report) -> str:
    """Draw one bar a claim, cut by verdict, to the share of the claim's findings."""
    rows, parts, height = report.rows(), [], 18
    for place, row in enumerate(rows):
        y, x, of = place * height, float(LABEL), sum(row.counts.values())
        parts.append(_text(LABEL - 8, y + 12, row.rule.value))
        for verdict in Verdict:
            width = (WIDTH - LABEL) * row.counts.get(verdict, 0) / of
            if width:
                parts.append(
                    _box(
                        x, y + 2, width, height - 5, COLOURS[verdict], f"{verdict.value}: {row.counts[verdict]} of {of}"
                    )
                )
                x += width
    x = float(LABEL)
    for verdict in Verdict:
        parts.append(_box(x, len(rows) * height + 8, 12, 12, COLOURS[verdict], verdict.value))
        parts.append(_text(x + 18, len(rows) * height + 18, verdict.value, "start"))
        x += 170
    return _svg(len(rows) * height + 28, "".join(parts), "verdicts by claim")


def cohorts(found: StudyRecords) -> str:
    """Draw who is in which sum: blue in the sum, orange dropped out, pale not there."""
    sites = sorted({client for one in found.rounds for client in one.begin.params.clients})
    if not sites or not found.rounds:
        return "<p>There are no rounds.</p>"
    cell = min(26.0, (WIDTH - LABEL) / len(found.rounds))
    row = max(4.0, min(16.0, 900 / len(sites)))
    parts = []
    for line, site in enumerate(sites):
        if row >= 11 or not line % 10:
            parts.append(_text(LABEL - 8, line * row + 11, str(site)))
        for one in found.rounds:
            included, gone = survivors_of(one), one.get(r.Survivors)
            if site in included:
                colour, state = theme.BLUE, "in the sum"
            elif gone is not None and site in gone.dropped:
                colour, state = theme.ORANGE, "dropped out"
            else:
                colour, state = "#e8e8e8", "not there"
            title = f"site {site}, round {one.begin.params.round_index}: {state}"
            parts.append(_box(LABEL + one.index * cell, line * row, cell - 1, row - 1, colour, title))
    bottom = len(sites) * row + 16
    parts.append(_text(LABEL, bottom, "first round", "start"))
    for place, (colour, name) in enumerate(
        ((theme.BLUE, "in the sum"), (theme.ORANGE, "dropped out"), ("#e8e8e8", "not there"))
    ):
        parts.append(_box(LABEL + 200 + 150 * place, bottom - 11, 12, 12, colour, name))
        parts.append(_text(LABEL + 218 + 150 * place, bottom, name, "start"))
    return _svg(bottom + 6, "".join(parts), "sites in the sums, by round")


def budget(found: StudyRecords) -> str:
    """Draw epsilon in total after every round, or nothing where none is charged."""
    spent = [spend.total for one in found.rounds if (spend := one.get(r.Spend)) is not None]
    if not spent:
        return ""
    top, height, step = max(spent) or 1.0, 180, (WIDTH - LABEL - 10) / max(len(spent), 1)
    points = " ".join(
        f"{LABEL + place * step:.1f},{height - 20 - (height - 40) * total / top:.1f}"
        for place, total in enumerate(spent)
    )
    body = f'<polyline points="{points}" fill="none" stroke="{theme.BLUE}" stroke-width="2"/>'
    body += _text(LABEL - 8, 26, f"{top:.3g}") + _text(LABEL - 8, height - 16, "0")
    body += _text(LABEL, height - 2, f"epsilon in total, over {len(spent)} rounds", "start")
    return _svg(height, body, "privacy budget")
