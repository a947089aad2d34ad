"""What ``secagg attack`` shows on a terminal, and its report with plots."""

from __future__ import annotations

from html import escape

from rich.console import Console
from rich.table import Table
from rich.text import Text

from secagg import theme
from secagg.attack import plots
from secagg.attack.outcomes import Outcome, Result
from secagg.attack.setting import Setting

COLOURS = {Outcome.STOPPED: theme.GREEN, Outcome.NOT_APPLICABLE: theme.GREY, Outcome.POSSIBLE: theme.VERMILION}


def headline(setting: Setting, results: list[Result]) -> str:
    """Say in one sentence what was attacked and what came out."""
    possible = sum(result.outcome is Outcome.POSSIBLE for result in results)
    stopped = sum(result.outcome is Outcome.STOPPED for result in results)
    return (
        f"{setting.clients} sites, threshold {setting.least}, {setting.protocol}, {setting.colluders} colluding, "
        f"{setting.adversary} server: {stopped} attacks stopped, {possible} possible"
    )


def show(setting: Setting, results: list[Result], console: Console) -> None:
    """Print one row for every attack, and what to change."""
    console.print(headline(setting, results))
    rows = Table(header_style="bold")
    rows.add_column("", no_wrap=True)
    rows.add_column("attack", ratio=3)
    rows.add_column("end", no_wrap=True)
    rows.add_column("by", ratio=4)
    rows.add_column("change", ratio=4)
    for result in results:
        end = Text(result.outcome.value, style=COLOURS[result.outcome])
        rows.add_row(str(result.number or "-"), result.name, end, Text(result.by), Text(result.change))
    console.print(rows)


def attack_html(setting: Setting, results: list[Result]) -> str:
    """Write the results as one HTML page with inline styles and pictures."""
    rows = "\n".join(
        f"<tr><td>{result.number or '-'}</td><td>{escape(result.name)}</td>"
        f'<td class="end" style="color:{COLOURS[result.outcome]}">{result.outcome.value}</td>'
        f"<td>{escape(result.by)}</td><td>{escape(result.change)}</td></tr>"
        for result in results
    )
    plots = "".join(
        f"<section><h2>{escape(result.name)}</h2>{_plot(result)}</section>" for result in results if result.curve
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>secagg attack</title>'
        f"<style>{theme.PAGE_STYLE}</style></head><body><h1>{escape(headline(setting, results))}</h1>"
        "<p>Numbers are those of the list in SECURITY.md. Attacks on the protocol ran against real machines with "
        "random inputs; <em>stopped</em> names the rule that refused.</p>"
        '<section class="long"><table class="text"><thead><tr><th></th><th>attack</th><th>end</th><th>by</th>'
        "<th>change</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></section>{plots}</body></html>\n"
    )


def _plot(result: Result) -> str:
    if result.number:
        return f"<p>{escape(result.by)}</p>{plots.bounds(result.curve)}"
    return plots.shares(result.curve)
