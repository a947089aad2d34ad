"""Removable noise: what comes off after any drop-outs is what was drawn, and of the rest nothing is ever said.

What clients drew is computed anew from their randomness, by the second implementation (tests/reference/naive.py).
"""

from __future__ import annotations

from fractions import Fraction
from hashlib import sha256
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from protocols import LocalProtocolError, ParameterError, RemoteProtocolError, Secret
from protocols.pairwise import Client, Phase, Rule, states
from protocols.pairwise import messages as m
from protocols.pairwise.noise import Chain, first_removed
from protocols.primitives import merkle
from quant.noise import Sharing
from secagg.attack.network import Delivery, Network, edit, inside, read_frame
from tests.protocols.test_dropouts_exhaustive import explore, outcome_of
from tests.reference import naive
from tests.support.cohort import (
    ACTIVE,
    CURIOUS,
    JOINT,
    MODEL,
    NOISY,
    SPARSE_ACTIVE,
    SPARSE_CURIOUS,
    Cohort,
    Variant,
    make_cohort,
)
from tests.vectors.document import write_params

NOBODY_COLLUDES = {"colluders": 0}


def noisy(variant: Variant, n: int | None = None, threshold: int | None = None, **more: Any) -> Cohort:
    """A cohort with as many removable components as can be of use."""
    plain = make_cohort(variant, n, threshold, **more).params
    return make_cohort(variant, n, threshold, noise_components=len(plain.clients) - plain.least_survivors, **more)


def reveal(seeds: tuple[Secret, ...]) -> list[bytes]:
    return [seed.reveal() for seed in seeds]


class Drawn:
    """All noise of one client: links and seeds of components 1 .. K, and every holder's share of every link."""

    def __init__(self, network: Network, client: int, session: bytes) -> None:
        params, entropy = network.cohort.params, network.clients[client]._entropy
        fields = {name: getattr(params, name) for name in params.__struct_fields__}
        (link,) = entropy.drawn("noise-link")
        links, self.seeds = naive.Round(write_params(fields)).noise(link, session, client, 1)
        self.links = links[:-1]
        assert network.graph is not None
        coefficients = [int.from_bytes(draw, "little") for draw in entropy.drawn("shamir-coefficient")]
        degree = params.threshold - 1
        self.shares: dict[int, list[bytes]] = {holder: [] for holder in network.graph.build().holders(client)}
        for number, secret in enumerate(self.links):
            own = coefficients[(2 + number) * degree : (3 + number) * degree]
            polynomial = [int.from_bytes(secret, "little"), *own]
            for holder, held in self.shares.items():
                value = sum(a * holder**power for power, a in enumerate(polynomial)) % naive.PRIME
                held.append(value.to_bytes(33, "little"))


def check_noise(network: Network, survivors: tuple[int, ...] | None) -> None:
    """Check what came off, and every byte that every client sent in the round.

    Args:
        network: after the round.
        survivors: U3, or ``None`` if no sum was opened.
    """
    params, state = network.cohort.params, inside(network.server)
    if network.graph is None:
        return  # nobody has drawn any noise
    shared = [c for c, machine in network.clients.items() if machine._entropy.drawn("noise-link")]
    drawn = {client: Drawn(network, client, state.session) for client in shared}
    components = params.noise_components
    if survivors is not None:
        missing = len(params.clients) - len(survivors)
        assert set(network.server.revealed_noise) == set(survivors)
        for client, seeds in network.server.revealed_noise.items():
            assert reveal(seeds) == drawn[client].seeds[missing:]
    for delivery in network.transcript:
        if not delivery.upward:
            continue
        answer = read_frame(delivery.frame)[1] if delivery.phase is Phase.UNMASKING else None
        expected: dict[int, bytes] = {}
        if answer is not None:
            told = state.survivors  # of a round that stayed short of answers, too
            number = len(params.clients) - len(told) + 1
            for dealer in told if number <= components else ():
                if delivery.client in drawn[dealer].shares:
                    expected[dealer] = drawn[dealer].shares[delivery.client][number - 1]
            assert {entry.dealer: entry.share for entry in answer.noise_shares} == expected
        for dealer, noise in drawn.items():
            for secret in (*noise.links, *noise.seeds):
                assert secret not in delivery.frame
            for share in (share for held in noise.shares.values() for share in held):
                assert (share in delivery.frame) == (share == expected.get(dealer)), (delivery, dealer)


def exhaust(cohort: Cohort) -> set[int]:
    """Run every schedule; returns the numbers of missing clients that occurred in opened sums."""
    missing = set()
    for network, _, outcome in explore(Network(cohort), {}):
        survivors = None if isinstance(outcome, LocalProtocolError) else network.server.survivors
        check_noise(network, survivors)
        if survivors is not None:
            missing.add(len(cohort.ids) - len(survivors))
    return missing


SMALL = [
    (CURIOUS, 4, 3, {}),
    (ACTIVE, 4, 3, {}),
    (JOINT, 4, 3, {}),
    (CURIOUS, 5, 3, {}),
]


@pytest.mark.parametrize(("variant", "n", "threshold", "policy"), SMALL, ids=str)
def test_every_schedule_of_a_small_cohort(variant: Variant, n: int, threshold: int, policy: dict[str, int]) -> None:
    """Every pattern of drop-outs at every phase, those who vanish before the unmasking answer included."""
    assert exhaust(noisy(variant, n, threshold, policy=policy)) == set(range(n - threshold + 1))


@pytest.mark.slow
@pytest.mark.parametrize("variant", [ACTIVE, SPARSE_CURIOUS, SPARSE_ACTIVE], ids=str)
def test_every_schedule_of_a_larger_cohort(variant: Variant) -> None:
    cohort = noisy(variant) if variant.sparse else noisy(variant, 5, 3, policy=NOBODY_COLLUDES)
    assert max(exhaust(cohort)) == cohort.params.noise_components


@pytest.mark.parametrize("variant", [CURIOUS, ACTIVE, JOINT, SPARSE_CURIOUS, SPARSE_ACTIVE], ids=str)
def test_sampled_schedules(variant: Variant, rng: np.random.Generator) -> None:
    ids = (2, 3, 700, 40000, 40001, 65535)
    cohort = noisy(variant, ids=ids, threshold=3, policy=NOBODY_COLLUDES if variant.active else None)
    if not variant.sparse and variant.active:
        cohort = noisy(variant, ids=ids, threshold=4, policy=NOBODY_COLLUDES)
    last = len(variant.phases)
    opened = 0
    for _ in range(25):
        drawn = rng.choice(last + 1, size=6, p=[0.03] * last + [1 - 0.03 * last])
        network = Network(cohort)
        outcome = outcome_of(network, dict(zip(ids, map(int, drawn), strict=True)))
        survivors = None if isinstance(outcome, LocalProtocolError) else network.server.survivors
        check_noise(network, survivors)
        opened += survivors is not None
    assert opened


def test_many_components(rng: np.random.Generator) -> None:
    """Trees of every shape up to 17 shares, whichever link is opened."""
    for components in (3, 5, 8, 17):
        n = components + 3
        cohort = make_cohort(CURIOUS, n, 3, noise_components=components)
        missing = int(rng.integers(0, components + 1))
        gone = set(rng.choice(cohort.ids, size=missing, replace=False).tolist())
        network = Network(cohort)
        network.run({client: 2 if client in gone else 9 for client in cohort.ids})
        check_noise(network, tuple(client for client in cohort.ids if client not in gone))


def test_more_may_be_missing_than_there_are_components() -> None:
    cohort = make_cohort(CURIOUS, 5, 3, noise_components=1)
    for gone in ((), (5,), (4, 5)):
        network = Network(cohort)
        network.run({client: 2 if client in gone else 9 for client in cohort.ids})
        survivors = tuple(client for client in cohort.ids if client not in gone)
        check_noise(network, survivors)
        assert {len(seeds) for seeds in network.server.revealed_noise.values()} == {max(1 - len(gone), 0)}


def test_a_survivor_that_never_answers_keeps_no_noise_in_the_sum() -> None:
    """Its link is put together by the others, in the same single answer."""
    for variant in (CURIOUS, ACTIVE):
        cohort = noisy(variant, 5, 3 if variant is CURIOUS else 4)
        network = Network(cohort)
        network.run({client: len(variant.phases) - (client == 2) for client in cohort.ids})
        assert [d.client for d in network.transcript if d.upward and d.phase is Phase.UNMASKING] == [1, 3, 4, 5]
        check_noise(network, cohort.ids)


def test_what_comes_off_is_what_the_noise_was_sized_for() -> None:
    """The components that ``quant`` wants removed are those whose seeds become known."""
    cohort = noisy(CURIOUS, 6, 3)
    sharing = Sharing(Fraction(100), clients=6, least=3, colluders=1)
    assert len(sharing.components) == cohort.params.noise_components
    for gone in range(4):
        network = Network(cohort)
        network.run({client: 2 if client <= gone else 9 for client in cohort.ids})
        for seeds in network.server.revealed_noise.values():
            assert len(seeds) == len(sharing.removable(6 - gone))


# -- the machines ------------------------------------------------------------------------------------------------------


def test_seeds_are_told_while_input_is_wanted_and_gone_afterwards() -> None:
    cohort = noisy(ACTIVE, 5, 4)
    network = Network(cohort)
    network.until(Phase.SHARE_KEYS)
    client = network.clients[1]
    with pytest.raises(LocalProtocolError, match="no seeds of noise in ExpectMaskedInputRequest"):
        _ = client.noise_seeds
    client.receive(dict(network.server.advance())[1])
    seeds, link = reveal(client.noise_seeds), inside(client).noise_link.reveal()
    assert len(seeds) == cohort.params.noise_components
    assert all(len(seed) == 32 for seed in seeds)
    restored = Client.restore(client.snapshot(), ledger=client._ledger)
    assert reveal(restored.noise_seeds) == seeds
    for _ in client.submit(cohort.inputs[1], MODEL):
        pass
    with pytest.raises(LocalProtocolError, match="no seeds of noise in ExpectConsistencyCheckRequest"):
        _ = client.noise_seeds
    assert not [secret for secret in (link, *seeds) if secret in client.snapshot()]


def test_a_round_without_noise_has_no_seeds() -> None:
    network = Network(make_cohort(CURIOUS))
    network.until(Phase.SHARE_KEYS)
    client = network.clients[1]
    client.receive(dict(network.server.advance())[1])
    assert client.noise_seeds == ()
    network = Network(make_cohort(CURIOUS))
    with pytest.raises(LocalProtocolError):
        _ = network.server.revealed_noise
    network.run()
    assert network.server.revealed_noise == dict.fromkeys(network.cohort.ids, ())


def test_a_server_that_is_restored_knows_what_came_off() -> None:
    cohort = noisy(CURIOUS, 5, 3)
    network = Network(cohort)
    network.run_until_end()
    for _ in range(2):
        network.server.state = states.restore_server(states.snapshot(network.server.state))
        if network.server.status.phase is not None:
            network.server.advance()
    check_noise(network, cohort.ids)


def test_no_frame_says_how_much_comes_off() -> None:
    """A holder counts itself: whatever survivors a server names, the answer is for a list of that length."""
    cohort = noisy(CURIOUS, 6, 3)
    for survivors in ((1, 2, 3), (1, 2, 3, 5), (1, 2, 3, 4, 6), cohort.ids):
        dropped = tuple(client for client in cohort.ids if client not in survivors)
        network = Network(cohort)
        network.until(Phase.MASKED_INPUT)
        session = inside(network.server).session
        frame = m.CODEC.encode(session, m.UnmaskingRequest(survivors, dropped, ()))
        (answer,) = network.clients[1].receive(frame)
        held = Drawn(network, 1, session).shares[1]
        shares = {entry.dealer: entry.share for entry in read_frame(answer)[1].noise_shares}
        number = first_removed(cohort.params, survivors)
        assert number == (None if len(survivors) == 3 else 7 - len(survivors))
        assert tuple(shares) == (() if number is None else survivors)
        if number is not None:
            assert shares[1] == held[number - 1]


@pytest.mark.parametrize("components", [-1, 3, 100])
def test_more_components_than_can_stay_are_refused(components: int) -> None:
    with pytest.raises(ParameterError, match="removable components"):
        make_cohort(CURIOUS, 5, 3, noise_components=components)


def test_in_a_sparse_graph_the_least_survivors_count() -> None:
    assert make_cohort(SPARSE_CURIOUS, noise_components=2).params.noise_components == 2
    with pytest.raises(ParameterError, match="6 - 4 clients can be missing"):
        make_cohort(SPARSE_CURIOUS, noise_components=3)


# -- lies --------------------------------------------------------------------------------------------------------------


def test_a_false_share_of_noise_names_its_holder_and_costs_nothing() -> None:
    """The others' answers are enough: the sum opens, and the noise comes off, without the liar's."""

    def lie(answer: m.Unmasking) -> m.Unmasking:
        first, *rest = answer.noise_shares
        wrong = m.RevealedNoise(first.dealer, bytes(33), first.path)
        return m.Unmasking(answer.self_mask_shares, answer.mask_key_shares, (wrong, *rest))

    network = Network(noisy(CURIOUS, 5, 3), tampers=[edit(m.Unmasking, lie, client=2)])
    network.run()
    ((client, error),) = network.rejected
    assert isinstance(error, RemoteProtocolError)
    assert (client, error.rule, error.culprit) == (2, Rule.OPENING_AS_PUBLISHED, 2)
    check_noise_without_frames(network)


def check_noise_without_frames(network: Network) -> None:
    session = inside(network.server).session
    for client, seeds in network.server.revealed_noise.items():
        assert reveal(seeds) == Drawn(network, client, session).seeds


def test_an_answer_said_again_is_taken_and_another_is_not() -> None:
    network = Network(noisy(ACTIVE, 5, 4)).until(Phase.UNMASKING)
    (said,) = [d for d in network.transcript if d.upward and d.phase is Phase.UNMASKING and d.client == 3]
    before = states.snapshot(network.server.state)
    network.server.receive(3, said.frame)
    assert states.snapshot(network.server.state) == before
    context, answer = read_frame(said.frame)
    entry = answer.noise_shares[0]
    other = (m.RevealedNoise(entry.dealer, bytes(33), entry.path), *answer.noise_shares[1:])
    changed = m.Unmasking(answer.self_mask_shares, answer.mask_key_shares, other)
    with pytest.raises(RemoteProtocolError) as refusal:
        network.server.receive(3, m.CODEC.encode(context, changed))
    assert refusal.value.rule is Rule.SAID_ONCE


def test_signatures_of_most_members_are_asked_for_where_neighbourhoods_could_differ() -> None:
    """On a sparse graph with noise the server shows all signatures; without noise, those of the neighbourhood."""
    for components in (0, 2):
        network = Network(make_cohort(SPARSE_ACTIVE, noise_components=components))
        network.run()
        asked = [read_frame(d.frame)[1] for d in network.transcript if not d.upward and d.phase is Phase.UNMASKING]
        assert {len(request.signatures) for request in asked} == {6 if components else 5}


def few_signatures(kept: int) -> Network:
    def change(request: m.UnmaskingRequest) -> m.UnmaskingRequest:
        return m.UnmaskingRequest(request.survivors, request.dropped, request.signatures[:kept])

    network = Network(noisy(SPARSE_ACTIVE, 12, min_survivors=8), tampers=[edit(m.UnmaskingRequest, change)])
    network.until(Phase.UNMASKING)
    return network


def test_the_bound_on_signatures_is_exact() -> None:
    """Twelve members, nobody colludes: seven signatures are more than half, six are not."""
    assert len(few_signatures(6).refusals) == 12
    enough = few_signatures(7)
    answered = set(enough.clients) - set(enough.refusals)
    assert answered  # those with t of the seven around them
    for refusal in few_signatures(6).refusals.values():
        assert isinstance(refusal, RemoteProtocolError)
        assert refusal.rule is Rule.SURVIVORS_SIGNED


@pytest.mark.fast
@pytest.mark.parametrize("n", range(3, 9))
@pytest.mark.parametrize("c", [0, 1, 2])
def test_no_two_lists_have_the_signatures_of_most_members(n: int, c: int) -> None:
    """By exhaustion: honest members sign one of two lists or none, colluders both."""
    needed = (n + c) // 2 + 1
    for first in range(n - c + 1):
        for second in range(n - c - first + 1):
            assert min(first, second) + c < needed
    assert (n - c) // 2 + c == needed - 1  # which is what one signature less would ask for


# -- sizes and forms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("components", [0, 1, 7])
@pytest.mark.parametrize("variant", [CURIOUS, SPARSE_ACTIVE], ids=str)
def test_sizes_are_within_the_limits_and_not_far_below(variant: Variant, components: int) -> None:
    n = 12
    more = {"min_survivors": 5, "threshold": 3} if variant.sparse else {"threshold": 5}
    network = Network(make_cohort(variant, n, noise_components=components, **more))
    network.run()
    params = network.cohort.params
    limits = {**m.limits_at_server(params), **m.limits_at_client(params)}
    largest: dict[type, int] = {}
    for delivery in network.transcript:
        kind = type(read_frame(delivery.frame)[1])
        largest[kind] = max(largest.get(kind, 0), len(delivery.frame) - 40)
    assert all(size <= limits[kind] for kind, size in largest.items())
    for kind in (m.ShareKeys, m.MaskedInputRequest, m.Unmasking):
        assert limits[kind] < 4 * largest[kind] + 512, kind


def test_without_noise_nothing_is_sent_for_it() -> None:
    """A round without noise pays for it with empty fields: two bytes each."""
    sizes = {}
    for components in (0, 1):
        network = Network(make_cohort(CURIOUS, 5, 3, noise_components=components))
        network.run()
        sizes[components] = {
            phase: sum(len(d.frame) for d in network.transcript if d.phase is phase) for phase in Phase
        }
    assert sizes[0][Phase.ADVERTISE_KEYS] == sizes[1][Phase.ADVERTISE_KEYS]
    # Up: a commitment, five roots, four sealed shares. Down: four times all of that.
    grown = sizes[1][Phase.SHARE_KEYS] - sizes[0][Phase.SHARE_KEYS]
    assert grown == 5 * (32 + 5 * 32 + 4 * 33)
    assert sizes[1][Phase.UNMASKING] - sizes[0][Phase.UNMASKING] == 5 * 5 * (1 + 1 + 2 + 33 + 2)


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
        assert merkle.climb(b"\xff" * 32, place, size, path, join) != root
        assert merkle.climb(leaves[place], place, size, path + bytes(32), join) is None
        if path:
            assert merkle.climb(leaves[place], place, size, path[:-1], join) is None
        for other in set(range(size)) - {place}:
            assert merkle.climb(leaves[place], other, size, path, join) != root
    for one, other in combinations(range(size), 2):
        swapped = list(leaves)
        swapped[one], swapped[other] = swapped[other], swapped[one]
        assert merkle.root(swapped, join) != root


@pytest.mark.fast
def test_a_link_gives_all_later_ones_and_no_earlier_one() -> None:
    params = make_cohort(NOISY).params
    about = (params.cipher_suite, bytes(32), 1)
    whole = Chain(*about, 1, 6, Secret(b"\1" * 32))
    links, seeds = whole.links(), whole.seeds()
    every = [*map(Secret.reveal, links), *map(Secret.reveal, seeds), whole.commitment()]
    assert len(set(every)) == 13
    for number in range(1, 7):
        tail = Chain(*about, number, 6, links[number - 1])
        assert tail.links() == links[number - 1 :]
        assert tail.seeds() == seeds[number - 1 :]
        assert tail.commitment() == whole.commitment()
        said = {secret.reveal() for secret in (*tail.links(), *tail.seeds())} | {tail.commitment()}
        assert not said & {secret.reveal() for secret in (*links[: number - 1], *seeds[: number - 1])}
    none = Chain(*about, 1, 0, Secret(b""))
    assert (none.links(), none.seeds(), none.commitment()) == ((), (), b"")


def test_secrets_of_noise_do_not_print() -> None:
    cohort = noisy(CURIOUS, 5, 3)
    network = Network(cohort)
    texts: list[str] = []

    def look(delivery: Delivery) -> list[bytes]:
        texts.append(repr(network.server.state) + "".join(repr(c.state) for c in network.clients.values()))
        return [delivery.frame]

    network.tampers.append(look)
    network.run()
    texts.append(repr(network.server.state) + repr(network.server.revealed_noise))
    shown = "".join(texts)
    session = inside(network.server).session
    for client in cohort.ids:
        drawn = Drawn(network, client, session)
        for secret in (*drawn.links, *drawn.seeds):
            assert repr(secret)[2:-1] not in shown
            assert secret.hex() not in shown


def test_the_relay_and_the_server_forget_noise_with_the_round() -> None:
    network = Network(noisy(CURIOUS, 5, 3))
    network.until(Phase.MASKED_INPUT)
    session = inside(network.server).session
    links = [Drawn(network, client, session).links for client in network.cohort.ids]
    network.server.abort("enough")
    left = states.snapshot(network.server.state)
    assert not [link for found in links for link in found if link in left]
