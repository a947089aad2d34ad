"""A masked vector alone tells nothing: exactly, on toy rings, and statistically, on real lanes.

The exact part uses the library's own sign convention (``pairwise_mask``) with masks enumerated instead of drawn: given
the sum, the masked values of the clients are uniform if and only if the graph is connected. Self masks are left out:
they only add to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product

import numpy as np
import pytest

from protocols import Secret
from protocols.pairwise import Client, LocalPolicy, RoundParams, Server, VectorSpec
from protocols.pairwise.masking import pairwise_mask

MODEL = bytes(32)


def masked(
    inputs: tuple[int, ...], edges: tuple[tuple[int, int], ...], masks: tuple[int, ...], ring: int
) -> tuple[int, ...]:
    """What leaves the clients 1..n when the mask of each edge is given."""
    values = list(inputs)
    for (u, v), mask in zip(edges, masks, strict=True):
        for client, other in ((u, v), (v, u)):
            term = pairwise_mask(client, other, Secret(b""))
            values[client - 1] += -mask if term.negative else mask
    return tuple(value % ring for value in values)


def views(inputs: tuple[int, ...], edges: tuple[tuple[int, int], ...], ring: int) -> Counter[tuple[int, ...]]:
    return Counter(masked(inputs, edges, masks, ring) for masks in product(range(ring), repeat=len(edges)))


def is_connected(clients: int, edges: tuple[tuple[int, int], ...]) -> bool:
    group = {client: client for client in range(1, clients + 1)}
    for u, v in edges:
        old, new = group[u], group[v]
        group = {client: new if mark == old else mark for client, mark in group.items()}
    return len(set(group.values())) == 1


def graphs(clients: int) -> Iterator[tuple[tuple[int, int], ...]]:
    pairs = list(combinations(range(1, clients + 1), 2))
    for chosen in product((False, True), repeat=len(pairs)):
        yield tuple(pair for pair, taken in zip(pairs, chosen, strict=True) if taken)


def uniform_given_the_sum(inputs: tuple[int, ...], edges: tuple[tuple[int, int], ...], ring: int) -> bool:
    seen = views(inputs, edges, ring)
    same_sum = ring ** (len(inputs) - 1)
    return len(seen) == same_sum and len(set(seen.values())) == 1


@pytest.mark.fast
def test_every_graph_on_four_clients_over_z3() -> None:
    for edges in graphs(4):
        assert uniform_given_the_sum((0, 1, 2, 1), edges, 3) == is_connected(4, edges), edges


@pytest.mark.fast
def test_inputs_of_the_same_sum_look_the_same_on_the_complete_graph_over_z2() -> None:
    edges = tuple(combinations(range(1, 6), 2))
    by_sum: dict[int, list[Counter[tuple[int, ...]]]] = {0: [], 1: []}
    for inputs in product(range(2), repeat=5):
        by_sum[sum(inputs) % 2].append(views(inputs, edges, 2))
    for same in by_sum.values():
        assert all(view == same[0] for view in same)
    assert not set(by_sum[0][0]) & set(by_sum[1][0])


@pytest.mark.fast
def test_masks_cancel_in_the_sum() -> None:
    edges = tuple(combinations(range(1, 5), 2))
    for masks in product(range(2), repeat=len(edges)):
        assert sum(masked((1, 0, 1, 1), edges, masks, 5)) % 5 == 3


# -- real lanes ------------------------------------------------------------------------------------------------------

LENGTH = 1 << 20
# Chi-square of 256 bins (255 degrees of freedom), one in a million on each side.
CHI_SQUARE = (161.65, 377.08)


def what_left(values: np.ndarray, modulus: int = 1 << 64) -> np.ndarray:
    """Mask ``values`` in a real round of three clients and read back what left client 1."""
    params = RoundParams(
        study="uniform", round_index=0, clients=(1, 2, 3), threshold=3, vectors=(VectorSpec("x", LENGTH, modulus),)
    )
    server = Server(params, MODEL)
    clients = {client: Client(params, LocalPolicy(), client) for client in params.clients}
    for client, machine in clients.items():
        server.receive(client, machine.start())
    for client, request in server.advance():
        (frame,) = clients[client].receive(request)
        server.receive(client, frame)
    for client, request in server.advance():
        clients[client].receive(request)
    for frame in clients[1].submit({"x": values}, MODEL):
        server.receive(1, frame)
    return server._accumulator.totals()[0]


INPUTS = {
    "zero": np.zeros(LENGTH, dtype=np.uint64),
    "constant": np.full(LENGTH, 0x0123_4567_89AB_CDEF, dtype=np.uint64),
    "largest": np.full(LENGTH, 2**64 - 1, dtype=np.uint64),
    "sparse": (np.arange(LENGTH) % 1000 == 0).astype(np.uint64),
}


@pytest.mark.parametrize("name", INPUTS)
def test_every_byte_of_a_masked_lane_is_uniform(name: str) -> None:
    lanes = what_left(INPUTS[name])
    for position, column in enumerate(lanes.view(np.uint8).reshape(-1, 8).T):
        counts = np.bincount(column, minlength=256)
        statistic = float(((counts - LENGTH / 256) ** 2).sum() / (LENGTH / 256))
        assert CHI_SQUARE[0] < statistic < CHI_SQUARE[1], position


def test_residues_of_an_odd_modulus_are_uniform() -> None:
    residues = what_left(np.full(LENGTH, 250, dtype=np.uint64), modulus=251)
    counts = np.bincount(residues.astype(np.int64), minlength=251)
    assert counts.size == 251
    statistic = float(((counts - LENGTH / 251) ** 2).sum() / (LENGTH / 251))
    assert 157 < statistic < 371  # 250 degrees of freedom, one in a million on each side


def test_masked_values_do_not_follow_the_input(rng: np.random.Generator) -> None:
    values = rng.integers(0, 2**63, LENGTH, dtype=np.uint64)
    first, second = what_left(values), what_left(values)
    for left, right in ((values, first), (values, second), (first, second)):
        correlation = np.corrcoef(left.astype(np.float64), right.astype(np.float64))[0, 1]
        assert abs(correlation) < 0.0049
    assert not (first == second).any()
