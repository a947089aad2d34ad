"""What a malicious server or client does with removable noise: client 1 is the victim, client 2 lies.

The server's prize is a sum together with more of the noise in it than may come off; a client's, that somebody innocent
is blamed, or that other noise comes off than was committed to.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from protocols.pairwise import Client, MemoryLedger
from protocols.pairwise import messages as m
from protocols.pairwise.graph import HararyGraph
from protocols.pairwise.noise import Chain
from protocols.pairwise.reveal_randomness import graph_of, joint_seed
from protocols.primitives import shamir
from protocols.wire import Message
from secagg.attack.adversary import Attacker, AttackFailedError, same
from secagg.attack.client_attacks import (
    LIAR,
    answer_falsely,
    change_dealt,
    expect_innocent_blamed,
    expect_round_lost,
    publish_another_share,
    raise_what_stopped,
)
from secagg.attack.cohort import Cohort
from secagg.attack.network import Network, inside
from secagg.attack.server_attacks import VICTIM

Change = Callable[[m.Unmasking], Message]


def noisy(cohort: Cohort) -> Cohort:
    """The same round with as many removable components as can be of use, if it has none.

    Raises:
        IndexError: nobody may be missing, so no noise is ever removed.
    """
    most = len(cohort.params.clients) - cohort.params.least_survivors
    if cohort.params.noise_components:
        return cohort
    if not most:
        raise IndexError("nobody may be missing")
    return cohort.with_params(noise_components=most)


# -- a malicious server ----------------------------------------------------------------------------------------------


def open_more_noise_after_a_restore(cohort: Cohort) -> None:
    """Two questions, each in order by itself: first one client is missing, then nobody is.

    The first opens the sum over those who are there; the second the link that leaves noise for one client more. In
    between, the clients are restored from backups that do not know of the first; their ledgers do.
    """
    cohort = noisy(cohort)
    ledgers = {client: MemoryLedger() for client in cohort.ids}
    attacker = Attacker(cohort, clients=cohort.clients(ledgers)).reach_inputs()
    fewer, lost = cohort.ids[:-1], cohort.ids[-1]
    for client in fewer:
        attacker.send_survivors(client, fewer)
    backups = {client: machine.snapshot() for client, machine in attacker.clients.items()}
    for client in fewer:
        attacker.send_unmasking(client, fewer, (lost,))
    for client in fewer:
        attacker.clients[client] = Client.restore(backups[client], ledger=ledgers[client])
        attacker.send_unmasking(client, cohort.ids, ())
    same(attacker.recover_sum(fewer, (lost,)), cohort.sum_of(fewer))
    attacker.noise_chain(VICTIM, 1)


def let_regions_disagree(cohort: Cohort) -> None:
    """One half of the ring is told that nobody is missing; the other half, around the one who is, that it is.

    In each neighbourhood t clients sign the same list. The sum is opened without the missing client; of those deep in
    the first half, noise comes off as if it were there.
    """
    cohort = noisy(cohort)
    attacker = Attacker(cohort).reach_inputs()
    seed = joint_seed(cohort.params, attacker.session(VICTIM), attacker.revealed())
    graph = graph_of(cohort.params, cohort.ids, seed).build()
    if not isinstance(graph, HararyGraph):
        raise AttackFailedError("the graph is complete")
    ring, half = graph._ring, len(cohort.ids) // 2
    lost = ring[half + half // 2]
    fewer = tuple(client for client in cohort.ids if client != lost)
    told = {client: cohort.ids if place < half else fewer for place, client in enumerate(ring) if client != lost}
    for client, survivors in told.items():
        attacker.send_survivors(client, survivors)
    for client, survivors in told.items():
        signers = {other for other, view in told.items() if view == survivors}
        near = signers & set(graph.holders(client))
        if len(near) >= cohort.params.threshold:
            dropped = () if survivors == cohort.ids else (lost,)
            attacker.send_unmasking(client, survivors, dropped, sorted(near & attacker.signatures.keys()))
    same(attacker.recover_sum(fewer, (lost,)), cohort.sum_of(fewer))
    attacker.noise_chain(ring[half // 2], 1)


# -- malicious clients -----------------------------------------------------------------------------------------------


def commit_to_no_noise(cohort: Cohort) -> None:
    """The liar commits to no noise. The prize: the server takes that for a dealing, and all others give up."""
    network = Network(noisy(cohort), tampers=[change_dealt(0, published={"noise_commitment": b""})])
    network.until(m.Phase.SHARE_KEYS)
    for _, error in network.rejected:
        raise error
    network.step()
    expect_round_lost(network)


def publish_another_root(cohort: Cohort) -> None:
    """The liar deals the victim shares of noise other than the published ones. The prize: the victim is blamed."""
    publish_another_share(noisy(cohort), "noise_shares_root")


def answer_without_noise(cohort: Cohort) -> None:
    """The liar leaves the victim's noise out of its answer. The prize: the victim is blamed as a bad dealer."""

    def change(answer: m.Unmasking) -> Message:
        kept = tuple(entry for entry in answer.noise_shares if entry.dealer != VICTIM)
        return msgspec.structs.replace(answer, noise_shares=kept)

    expect_innocent_blamed(answer_falsely(noisy(cohort), change), VICTIM)


def change_a_link(cohort: Cohort) -> Change:
    """Move the victim's link by one: the liar knows with which weight its share enters."""
    points = cohort.ids[: cohort.params.threshold]
    weight = shamir.lagrange_at_zero(points)[points.index(LIAR)]

    def moved(entry: m.RevealedNoise) -> m.RevealedNoise:
        if entry.dealer != VICTIM:
            return entry
        share = shamir.decode_element(entry.share) + pow(weight, -1, shamir.PRIME)
        return msgspec.structs.replace(entry, share=shamir.encode_element(share % shamir.PRIME))

    return lambda answer: msgspec.structs.replace(answer, noise_shares=tuple(map(moved, answer.noise_shares)))


def reveal_a_false_link(cohort: Cohort) -> None:
    """The liar reveals a share of noise that it was not dealt. The prize: the victim is blamed as a bad dealer."""
    cohort = noisy(cohort)
    expect_innocent_blamed(answer_falsely(cohort, change_a_link(cohort)), VICTIM)


def remove_other_noise(cohort: Cohort) -> None:
    """The same. The prize: other noise comes off than the victim has added."""
    cohort = noisy(cohort)
    expect_other_noise(answer_falsely(cohort, change_a_link(cohort)), VICTIM)


def commit_to_other_noise(cohort: Cohort) -> None:
    """The liar commits to a chain other than the one it deals. The prize: noise comes off that it never chose."""
    network = Network(noisy(cohort), tampers=[change_dealt(0, published={"noise_commitment": bytes(32)})])
    network.until(m.Phase.UNMASKING)
    expect_other_noise(network, LIAR)


def expect_other_noise(network: Network, dealer: int) -> None:
    """The prize: the server takes off noise that is not the dealer's."""
    raise_what_stopped(network)
    published = inside(network.server).shared[dealer].noise_commitment
    network.finish()
    opened, params = inside(network.server), network.cohort.params
    about = (params.cipher_suite, opened.session, dealer)
    if Chain(*about, 1, params.noise_components, opened.noise_links[dealer]).commitment() == published:
        raise AttackFailedError("it is the dealer's own noise that comes off")
