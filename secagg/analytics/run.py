"""One call: every site in this process, the real protocol between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secagg.analytics.answers import Answers
from secagg.analytics.query import Query
from secagg.analytics.questions import Question
from secagg.analytics.records import Columns
from secagg.attempts import run_attempts
from secagg.contribution import Contribution
from secagg.errors import UsageError
from secagg.session import ClientSession


def run(
    query: Query | Question,
    sites: Mapping[Any, Columns],
    *,
    dropouts: Mapping[Any, str] | None = None,
    **settings: Any,
) -> Answers:
    """Answer a query over sites that live in one process.

    Args:
        query: what is asked; one question stands for a query of it alone.
        sites: each site's rows, by name.
        dropouts: name of a site -> the phase that it does not complete.
        settings: further arguments of ``RoundConfig``, such as ``threshold``.

    Raises:
        UsageError: no sites, or records that lack a column.
        RoundRefused: too few sites stayed.
    """
    asked = query if isinstance(query, Query) else Query(query)
    if not sites:
        raise UsageError("there are no sites to ask")
    names = list(sites)
    if unknown := [name for name in dropouts or {} if name not in sites]:
        raise UsageError(f"there is no site {unknown[0]!r} to drop out")
    gone = {names.index(name) + 1: phase for name, phase in (dropouts or {}).items()}
    config = asked.round_config(range(1, len(names) + 1), **settings)

    def contribute(client: int, session: ClientSession) -> Contribution:
        return session.prepare(asked.contribute(sites[names[client - 1]]))

    opened, _ = run_attempts(config, asked.hash, contribute, dropouts=gone)
    return asked.result(opened)
