"""Degree and threshold of the sparse graph: the published table, our stricter conditions, and the bounds themselves."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from protocols import ParameterError
from protocols.pairwise.finder import (
    any_above,
    any_below,
    connectivity_bits,
    find,
    most_marked,
    reference,
)
from protocols.pairwise.graph import CompleteGraph, GraphSpec, HararyGraph
from protocols.pairwise.params import Adversary

RATES: list[tuple[float, float, Adversary]] = [
    (0.05, 0.05, "curious"),
    (0.05, 0.05, "active"),
    (0.33, 0.05, "curious"),
    (0.05, 0.33, "active"),
    (0.33, 0.33, "curious"),
]
PUBLISHED = {
    100: [(12, 6), (16, 11), (34, 29), (72, 39), (68, 34)],
    1_000: [(30, 17), (52, 37), (78, 60), (398, 223), (286, 150)],
    10_000: [(34, 20), (62, 44), (92, 70), (746, 420), (422, 221)],
    100_000: [(36, 21), (68, 48), (102, 77), (882, 496), (480, 251)],
}
MORE_PUBLISHED = {100: (32, 21), 200: (46, 30), 500: (60, 39), 1_000: (68, 44), 10_000: (80, 51)}
SHIPPED = {
    # The rows that 2t > k + 1 + a and rule C29 change; all curious rows are as published.
    (100, 0.05, 0.05): ((16, 11), (22, 15)),
    (100, 0.05, 0.33): ((72, 39), (74, 41)),
    (100, 0.20, 0.20): ((62, 42), (78, 50)),
    (200, 0.05, 0.05): ((30, 21), (38, 25)),
    (500, 0.05, 0.05): ((44, 31), (50, 35)),
    (500, 0.20, 0.20): ((220, 150), (222, 152)),
    (1_000, 0.05, 0.05): ((52, 37), (58, 41)),
    (10_000, 0.05, 0.05): ((62, 44), (68, 48)),
}


@pytest.mark.parametrize("clients", PUBLISHED)
def test_the_published_table(clients: int) -> None:
    assert [reference(clients, *rates) for rates in RATES] == PUBLISHED[clients]


@pytest.mark.parametrize("clients", MORE_PUBLISHED)
def test_more_published_rows(clients: int) -> None:
    assert reference(clients, 0.2, 0.1, "curious") == MORE_PUBLISHED[clients]


@pytest.mark.slow
def test_the_published_table_for_a_million() -> None:
    rows = [(38, 22), (74, 52), (110, 83), (970, 545), (518, 270)]
    assert [reference(1_000_000, *rates) for rates in RATES] == rows


@pytest.mark.parametrize("clients", [100, 1_000, 10_000])
@pytest.mark.parametrize("rates", [rates for rates in RATES if rates[2] == "curious"], ids=str)
def test_curious_rows_are_as_published(clients: int, rates: tuple[float, float, Adversary]) -> None:
    found = find(clients, math.floor(rates[0] * clients), math.floor(rates[1] * clients), "curious")
    assert (found.degree, found.threshold) == reference(clients, *rates)


@pytest.mark.parametrize("row", SHIPPED, ids=str)
def test_active_rows_that_differ(row: tuple[int, float, float]) -> None:
    clients, corrupt, dropped = row
    published, shipped = SHIPPED[row]
    assert reference(clients, corrupt, dropped, "active") == published
    found = find(clients, math.floor(corrupt * clients), math.floor(dropped * clients), "active")
    assert (found.degree, found.threshold) == shipped
    assert 2 * found.threshold > found.degree + 1 + found.corrupt_neighbours


def test_a_published_row_lets_both_secrets_fall() -> None:
    """N = 100, (16, 11): five corrupt of the 17 holders answer twice, the other twelve once: 22 = 2 x 11 shares."""
    degree, threshold = PUBLISHED[100][1]
    corrupt = most_marked(100, 5, degree, 41)
    honest = degree + 1 - corrupt
    assert honest + 2 * corrupt >= 2 * threshold


@pytest.mark.parametrize("clients", [64, 100, 300])
@pytest.mark.parametrize("adversary", ["curious", "active"])
def test_every_bound_of_a_certificate_has_a_margin(clients: int, adversary: Adversary) -> None:
    found = find(clients, clients // 20, clients // 20, adversary, absent=clients // 20)
    assert found.bounds or found.complete
    assert all(bound.margin >= 0 for bound in found.bounds)


def test_two_fewer_neighbours_would_not_do() -> None:
    found = find(1_000, 50, 50, "curious")
    around = most_marked(1_000, 50, found.degree - 2, 41)
    fails_to_connect = connectivity_bits(1_000, 100, found.degree - 2) < 41
    assert fails_to_connect or any_below(1_000, 950, found.degree - 2, around + 1) < 20


@pytest.mark.parametrize("clients", range(3, 64))
def test_small_cohorts_get_the_complete_graph(clients: int) -> None:
    found = find(clients, 0, 0, "curious")
    assert found.complete
    assert found.threshold >= 3


@pytest.mark.parametrize(
    ("clients", "corrupt", "dropped", "adversary"),
    [(3, 1, 1, "active"), (10, 4, 6, "curious"), (10, 3, 4, "active"), (200, 80, 60, "active"), (5, 0, 5, "curious")],
)
def test_infeasible_settings_say_so(clients: int, corrupt: int, dropped: int, adversary: Adversary) -> None:
    with pytest.raises(ParameterError, match=r"infeasible|leave nobody"):
        find(clients, corrupt, dropped, adversary)


def test_absent_clients_are_among_the_dropped() -> None:
    with pytest.raises(ParameterError, match="not among"):
        find(100, 5, 5, "curious", absent=6)


# -- the bounds, against enumeration and simulation -------------------------------------------------------------------


def test_hypergeometric_tails_by_enumeration() -> None:
    clients, marked, draws = 9, 4, 3
    counts = Counter(sum(x < marked for x in drawn) for drawn in combinations(range(clients), draws))
    total = sum(counts.values())
    for value in range(draws + 1):
        above = sum(n for found, n in counts.items() if found > value) / total * clients
        below = sum(n for found, n in counts.items() if found < value) / total * clients
        assert any_above(clients, marked, draws, value) == pytest.approx(-math.log2(above) if above else math.inf)
        assert any_below(clients, marked, draws, value) == pytest.approx(-math.log2(below) if below else math.inf)


def test_connectivity_bound_holds_by_enumeration() -> None:
    """All ways to remove 4 of 9 from a ring of degree 4: the share that falls apart is below the union bound."""
    clients, removed, degree = 9, 4, 4
    split = 0
    ways = list(combinations(range(clients), removed))
    for gone in ways:
        split += not connected(clients, degree, set(range(clients)) - set(gone))
    assert 0 < split / len(ways) <= 2 ** -connectivity_bits(clients, removed, degree)


def connected(clients: int, degree: int, present: set[int]) -> bool:
    """Whether ``present`` places of a ring are connected, by walking it."""
    seen, todo = set(), [min(present)]
    while todo:
        place = todo.pop()
        if place not in seen:
            seen.add(place)
            steps = [(place + sign * step) % clients for step in range(1, degree // 2 + 1) for sign in (1, -1)]
            todo += [other for other in steps if other in present]
    return seen == present


def test_most_marked_is_the_least_that_meets_the_bound() -> None:
    for bits in (5.0, 12.5, 41.0):
        least = most_marked(300, 30, 40, bits)
        assert any_above(300, 30, 40, least) >= bits
        assert least == 0 or any_above(300, 30, 40, least - 1) < bits


def test_corrupt_neighbours_stay_below_the_bound_on_random_graphs(rng: np.random.Generator) -> None:
    """With 6 bits the bound fails for at most one graph in 64."""
    clients, corrupt, degree, graphs = 60, 12, 16, 400
    least = most_marked(clients, corrupt, degree, 6)
    bad = set(range(1, corrupt + 1))
    exceeded = 0
    for _ in range(graphs):
        graph = HararyGraph(range(1, clients + 1), degree, rng.bytes(32))
        exceeded += max(len(bad & set(graph.neighbours(client))) for client in range(1, clients + 1)) > least
    # 400 / 64 is 6.25; a binomial of that mean exceeds 20 with a probability below 1e-5.
    assert exceeded <= 20


def test_an_honest_survivor_in_every_run_means_connected(rng: np.random.Generator) -> None:
    clients, degree = 30, 8
    graph = HararyGraph(range(1, clients + 1), degree, rng.bytes(32))
    checked = 0
    for _ in range(3_000):
        present = set(rng.permutation(np.arange(1, clients + 1))[: rng.integers(8, 25)].tolist())
        if graph.fewest_in_a_run(present) >= 1:
            places = {graph._ring.index(client) for client in present}
            assert connected(clients, degree, places)
            checked += 1
    assert checked > 100


# -- the graphs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("clients", "degree"), [(10, 2), (11, 4), (64, 8), (101, 22)])
def test_harary_graph_is_regular_and_undirected(clients: int, degree: int, rng: np.random.Generator) -> None:
    ids = sorted(rng.choice(np.arange(1, 60_000), clients, replace=False).tolist())
    graph = HararyGraph(ids, degree, rng.bytes(32))
    for client in ids:
        near = graph.neighbours(client)
        assert len(near) == degree
        assert client not in near
        assert list(near) == sorted(near)
        assert all(client in graph.neighbours(other) for other in near)
        assert graph.holders(client) == tuple(sorted((*near, client)))


def test_every_pair_is_equally_likely(rng: np.random.Generator) -> None:
    clients, degree, graphs = 12, 4, 3_000
    counts = np.zeros((clients, clients))
    for _ in range(graphs):
        graph = HararyGraph(range(1, clients + 1), degree, rng.bytes(32))
        for client in range(1, clients + 1):
            for other in graph.neighbours(client):
                counts[client - 1, other - 1] += 1
    expected = graphs * degree / (clients - 1)
    pairs = counts[np.triu_indices(clients, 1)]
    statistic = float(((pairs - expected) ** 2 / (expected * (1 - degree / (clients - 1)))).sum())
    assert statistic < 150  # chi-square, 66 pairs: about 66, above 137 with a probability of 1e-6


def test_the_seed_decides_the_graph() -> None:
    ids = tuple(range(1, 41))
    one, same, other = (HararyGraph(ids, 6, bytes([s]) * 32) for s in (1, 1, 2))
    assert one._ring == same._ring
    assert one._ring != other._ring


@pytest.mark.parametrize(("clients", "degree"), [(10, 3), (10, 0), (10, 10), (10, 12)])
def test_impossible_degrees(clients: int, degree: int) -> None:
    with pytest.raises(ValueError, match="even degree"):
        HararyGraph(range(1, clients + 1), degree, bytes(32))


def test_a_degree_that_leaves_nobody_out_is_the_complete_graph() -> None:
    assert isinstance(GraphSpec((1, 2, 3, 4), 3, b"").build(), CompleteGraph)
    assert isinstance(GraphSpec((1, 2, 3, 4), 0, b"").build(), CompleteGraph)
    assert isinstance(GraphSpec((1, 2, 3, 4), 2, bytes(32)).build(), HararyGraph)
    assert CompleteGraph((1, 2, 3)).neighbours(2) == (1, 3)
