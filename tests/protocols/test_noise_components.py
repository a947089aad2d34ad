"""Removable noise: what is drawn, what is revealed of it after any drop-outs, and what never is."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pytest

from protocols import Secret
from protocols.pairwise import Phase
from protocols.pairwise.noise import Chain
from protocols.primitives import merkle
from secagg.attack.network import Network, inside, read_frame
from tests.support.cohort import ACTIVE, CURIOUS, JOINT, SPARSE_ACTIVE, SPARSE_CURIOUS, Cohort, Variant, make_cohort


def noisy(variant: Variant, n: int | None = None, threshold: int | None = None, **more: Any) -> Cohort:
    """A cohort with as many removable components as can be of use."""
    plain = make_cohort(variant, n, threshold, **more).params
    return make_cohort(variant, n, threshold, noise_components=len(plain.clients) - plain.least_survivors, **more)


def reveal(seeds: Mapping[int, tuple[Secret, ...]]) -> dict[int, list[bytes]]:
    return {client: [seed.reveal() for seed in found] for client, found in seeds.items()}


class Drawn:
    """What every client of a network will draw its noise from, looked up while it wants input."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.seeds: dict[int, list[bytes]] = {}
        self.links: dict[int, list[bytes]] = {}
        network.tampers.append(self._look)

    def _look(self, delivery: Any) -> list[bytes]:
        if delivery.upward and delivery.phase is Phase.SHARE_KEYS:
            state = inside(self.network.clients[delivery.client])
            params = state.me.params
            about = (params.cipher_suite, state.session, delivery.client)
            chain = Chain(*about, 1, params.noise_components, state.noise_link)
            self.links[delivery.client] = [link.reveal() for link in chain.links()]
            self.seeds[delivery.client] = [seed.reveal() for seed in chain.seeds()]
        return [delivery.frame]


def shares_said(network: Network, client: int) -> list[bytes]:
    """Every frame that ``client`` sent in answer to the unmasking question."""
    return [d.frame for d in network.transcript if d.upward and d.client == client and d.phase is Phase.UNMASKING]


def check_revealed(network: Network, drawn: Drawn, survivors: tuple[int, ...]) -> None:
    """The seeds of components j > D of exactly the survivors; and of no link before that any share was said."""
    params = network.cohort.params
    missing = len(params.clients) - len(survivors)
    found = reveal(network.server.revealed_noise)
    assert found == {client: drawn.seeds[client][missing:] for client in survivors}
    for holder in network.cohort.ids:
        for frame in shares_said(network, holder):
            answer = read_frame(frame)[1]
            removed = missing < params.noise_components
            near = set(network.graph.build().holders(holder)) if network.graph else set()
            assert [entry.dealer for entry in answer.noise_shares] == [c for c in survivors if c in near and removed]


@pytest.mark.parametrize("variant", [CURIOUS, ACTIVE, JOINT, SPARSE_CURIOUS, SPARSE_ACTIVE], ids=str)
def test_the_seeds_that_come_off_are_those_that_were_drawn(variant: Variant) -> None:
    cohort = noisy(variant) if variant.sparse else noisy(variant, 6, 4)
    network = Network(cohort)
    drawn = Drawn(network)
    network.run()
    check_revealed(network, drawn, cohort.ids)
    assert all(len(seeds) == cohort.params.noise_components for seeds in drawn.seeds.values())
    every = [seed for seeds in drawn.seeds.values() for seed in seeds]
    assert len(set(every)) == len(every)


@pytest.mark.fast
@pytest.mark.parametrize("size", range(1, 18))
def test_a_path_proves_its_leaf_and_no_other(size: int) -> None:
    def join(left: bytes, right: bytes) -> bytes:
        return sha256(left + right).digest()

    leaves = [bytes([number]) * 32 for number in range(size)]
    root = merkle.root(leaves, join)
    for place in range(size):
        path = merkle.path(leaves, place, join)
        assert len(path) <= 32 * (size - 1).bit_length()
        assert merkle.climb(leaves[place], place, size, path, join) == root
        assert merkle.climb(bytes(31) + b"\xff", place, size, path, join) != root
        assert merkle.climb(leaves[place], place, size, path + bytes(32), join) is None
        if path:
            assert merkle.climb(leaves[place], place, size, path[:-1], join) is None
        for other in set(range(size)) - {place}:
            assert merkle.climb(leaves[place], other, size, path, join) != root
