"""One call: every site in this process, the real protocol between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocols.pairwise import default_threshold
from secagg.analytics.answers import Answers
from secagg.analytics.query import Query
from secagg.analytics.questions import Question
from secagg.analytics.records import Columns
from secagg.attempts import run_attempts
from secagg.contribution import Contribution
from secagg.errors import UsageError
from secagg.privacy import Goal, SitePrivacy
from secagg.session import ClientSession


def run(
    query: Query | Question,
    sites: Mapping[Any, Columns],
    *,
    epsilon: float | None = None,
    delta: float = 1e-5,
    colluders: int = 1,
    threshold: int | None = None,
    confidence: float = 0.95,
    budgets: Mapping[Any, SitePrivacy] | None = None,
    dropouts: Mapping[Any, str] | None = None,
    **settings: Any,
) -> Answers:
    """Answer a query over sites that live in one process.

    Args:
        query: what is asked; one question stands for a query of it alone.
        sites: each site's rows, by name.
        epsilon: promised to every patient of every site for this one release; None for exact answers.
        delta: of the promise.
        colluders: sites assumed to add no noise; at least 1.
        threshold: fewest sites that must stay to the end; by default floor(2n/3) + 1.
        confidence: of each interval of a private answer.
        budgets: every site's ledger and policy, by name; by default each has just what is promised here.
        dropouts: name of a site -> the phase that it does not complete.
        settings: further arguments of ``RoundConfig``, such as ``study`` and ``round_index``, which name the release
            in the ledgers.

    Raises:
        UsageError: no sites, records that lack a column, or a promise that no noise keeps.
        RoundRefused: too few sites stayed.
        secagg.privacy.PrivacyRefused: a site's policy or budget says no.
    """
    asked = query if isinstance(query, Query) else Query(query)
    if not sites:
        raise UsageError("there are no sites to ask")
    names, goal = list(sites), None
    for given in (dropouts or {}, budgets or {}):
        if unknown := [name for name in given if name not in sites]:
            raise UsageError(f"there is no site {unknown[0]!r}")
    clients = {name: number for number, name in enumerate(names, start=1)}
    if epsilon is not None:
        least = threshold or default_threshold(len(names), "curious", colluders)
        goal = Goal(epsilon=epsilon, delta=delta, releases=1, least_survivors=least, colluders=colluders)
    config = asked.round_config(tuple(clients.values()), goal, threshold=threshold, colluders=colluders, **settings)
    terms, privacy = config.privacy_terms, None
    if terms is not None:
        known = budgets or {}
        privacy = {number: known.get(name) or SitePrivacy.rehearsal(terms) for name, number in clients.items()}

    def contribute(client: int, session: ClientSession) -> Contribution:
        rows = sites[names[client - 1]]
        if goal is not None:  # charged and drawn before the rows are looked at
            return session.prepare(lambda: asked.contribute(rows, private=True))
        return session.prepare(asked.contribute(rows))

    gone = {clients[name]: phase for name, phase in (dropouts or {}).items()}
    opened, _ = run_attempts(config, asked.hash, contribute, dropouts=gone, privacy=privacy)
    return asked.result(opened, confidence=confidence)
