"""The three steps over sessions, as a transport of one's own would take them."""

from __future__ import annotations

import pytest

from protocols import RemoteProtocolError
from secagg import ClientSession, ServerSession
from secagg.analytics import Count, Mean, Query, run
from secagg.privacy import Goal, SitePrivacy

QUERY = Query(Count(), Mean(column="age", low=0, high=120, resolution=1.0), patient="id")
ROWS = {number: {"id": list(range(60)), "age": [20 + number + row for row in range(60)]} for number in range(1, 5)}


def opened(goal: Goal | None, asked: dict[int, Query]):
    config = QUERY.round_config(tuple(ROWS), goal, study="counts")
    terms = config.privacy_terms
    server = ServerSession(config, QUERY.hash)
    sites = {
        number: ClientSession(config, number, privacy=None if terms is None else SitePrivacy.rehearsal(terms))
        for number in ROWS
    }
    for number, site in sites.items():
        server.receive(number, site.start())
    for number, request in server.advance():
        for frame in sites[number].receive(request):
            server.receive(number, frame)
    for number, request in server.advance():
        sites[number].receive(request)
        query = asked[number]
        given = query.contribute(ROWS[number], private=goal is not None)
        for frame in sites[number].submit(given, query.hash):
            server.receive(number, frame)
    for number, request in server.advance():
        for frame in sites[number].receive(request):
            server.receive(number, frame)
    server.advance()
    return server.result()


def test_exact():
    answers = QUERY.result(opened(None, dict.fromkeys(ROWS, QUERY)))
    assert answers == run(QUERY, ROWS)
    assert answers["count"].value == 240


def test_private():
    goal = Goal(epsilon=1.0, delta=1e-5, releases=1, least_survivors=3, colluders=1)
    answers = QUERY.result(opened(goal, dict.fromkeys(ROWS, QUERY)), confidence=0.5)
    count = answers["count"]["count"]
    assert answers.confidence == 0.5
    assert abs(count.value - 240) < 8 * count.deviation < 100
    assert answers.claim is not None
    assert answers.claim.epsilon <= 1.0


def test_a_site_that_was_asked_otherwise_is_not_heard():
    """The same number of coordinates, another question: the hash of the query is bound into the masks."""
    other = Query(Count(), Mean(column="age", low=0, high=90, resolution=1.0), patient="id")
    assert other.round_config(tuple(ROWS)).params == QUERY.round_config(tuple(ROWS)).params
    with pytest.raises(RemoteProtocolError, match="C20"):
        opened(None, dict.fromkeys(ROWS, QUERY) | {3: other})
