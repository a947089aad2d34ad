"""Pictures of an audit, as SVG written by hand: an auditor installs nothing to see them."""

from __future__ import annotations

import math
from html import escape

from secagg import theme
from secagg.audit.budget import Spent
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


def budget(spent: list[Spent]) -> str:
    """Draw epsilon of every round (bars) and in total (line) against what is promised (dashed); "" for nothing."""
    if not spent:
        return ""
    most, height = max(*(one.total for one in spent), spent[-1].promised), 220
    if not math.isfinite(most):
        return "<p>The cost is not bounded.</p>"
    low, high, step = height - 40, 20, (WIDTH - LABEL - 10) / len(spent)

    def level(epsilon: float) -> float:
        return low - (low - high) * epsilon / most

    parts, points = [], []
    for place, one in enumerate(spent):
        x, colour = LABEL + place * step, theme.ORANGE if one.round.opened else "#bbb"
        bar = level(0) - level(one.epsilon)
        parts.append(_box(x + 1, level(one.epsilon), max(step - 2, 1), bar, colour, f"{one.epsilon:.4g} in this round"))
        points.append(f"{x + step / 2:.1f},{level(one.total):.1f}")
        if len(spent) <= 30:
            parts.append(
                f'<circle cx="{x + step / 2:.1f}" cy="{level(one.total):.1f}" r="3" fill="{theme.BLUE}">'
                f"<title>{one.total:.4g} so far</title></circle>"
            )
    dash = level(spent[-1].promised)
    parts += [
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{theme.BLUE}" stroke-width="2"/>',
        f'<line x1="{LABEL}" x2="{WIDTH - 10}" y1="{dash:.1f}" y2="{dash:.1f}" stroke="{theme.VERMILION}" '
        'stroke-width="2" stroke-dasharray="7 5"/>',
        *(_text(LABEL - 8, level(value) + 4, f"{value:.3g}") for value in {0.0, most, spent[-1].promised}),
        _text(LABEL, low + 16, "first round", "start"),
    ]
    names = ((theme.BLUE, "in total"), (theme.ORANGE, "in one round"), ("#bbb", "charged, not opened"))
    for place, (colour, name) in enumerate((*names, (theme.VERMILION, "promised"))):
        parts.append(_box(LABEL + 120 + 170 * place, low + 24, 12, 12, colour, name))
        parts.append(_text(LABEL + 138 + 170 * place, low + 34, name, "start"))
    return _svg(height, "".join(parts), "epsilon by round and in total")
