"""The ``secagg audit`` command."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from secagg import theme
from secagg.audit.audit import audit_file
from secagg.audit.display import show, to_json
from secagg.audit.html import audit_html
from secagg.errors import UsageError


def audit_command(
    transcript: Annotated[Path, typer.Argument(help="transcript.jsonl of a study, or the receipts of one site.")],
    roster: Annotated[
        Path | None,
        typer.Option(help="TOML with tables members or site (id, key): the identities that you know."),
    ] = None,
    receipts: Annotated[
        Path | None, typer.Option(help="Receipts that a site kept: each must be in the transcript.")
    ] = None,
    running: Annotated[bool, typer.Option("--running", help="The study goes on: it need not have ended.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a report for an impact assessment here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> int:
    """Verify a transcript from its public records alone. Exit code 1 if any claim is broken.

    Example: secagg audit run/transcript.jsonl --roster roster.toml --html audit.html
    """
    report, found = audit_file(transcript, roster=roster, own=receipts, running=running)
    if html is not None:
        try:
            html.write_text(audit_html(report, found), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {str(html)!r}: {error.strerror or error}") from None
    if json:
        sys.stdout.write(jsonlib.dumps(to_json(report, found)) + "\n")
    else:
        console = theme.output()
        show(report, found, console)
        if html is None:
            console.print("next: --html audit.html writes the report for an impact assessment; secagg attack tries it")
        else:
            console.print(f"next: open {html} in a browser")
    return 1 if report.broken else 0
