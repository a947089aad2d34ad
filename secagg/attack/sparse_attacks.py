"""Attacks on the sparse graph of SecAgg+: whoever chooses neighbours, or drop-outs around a victim, isolates it."""

from __future__ import annotations

from protocols.pairwise.graph import HararyGraph
from protocols.pairwise.reveal_randomness import graph_of, joint_seed
from secagg.attack.adversary import Attacker, AttackFailedError, same
from secagg.attack.cohort import Cohort
from secagg.attack.server_attacks import VICTIM


def choose_the_neighbours(cohort: Cohort, tries: int = 200_000) -> None:
    """Biased graph: a colluder reveals, last, the part that gives the victim none but colluders as neighbours."""
    colluders = cohort.ids[-cohort.params.degree :]
    attacker = Attacker(cohort, colluders=colluders)
    attacker.advertise()
    for client in cohort.ids:
        attacker.send_directory(client)
    for attempt in range(tries):
        parts = attacker.revealed(**{f"c{colluders[0]}": attempt.to_bytes(32, "big")})
        seed = joint_seed(cohort.params, attacker.session(VICTIM), parts)
        if graph_of(cohort.params, cohort.ids, seed).build().neighbours(VICTIM) == colluders:
            break
    else:
        raise AttackFailedError("no part gives that graph")
    for client in cohort.ids:
        attacker.send_parts(client, parts)
    for client in cohort.ids:
        attacker.send_shares(client)
        attacker.hear_input(client)
    attacker.loot_colluders()
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


def cut_the_ring(cohort: Cohort) -> None:
    """The server names as dropped the neighbours on both sides of a short stretch of the ring.

    The masks of those within cancel among themselves. The prize: the sum of these few, fewer than may be opened.
    """
    attacker = Attacker(cohort).reach_inputs()
    seed = joint_seed(cohort.params, attacker.session(VICTIM), attacker.revealed())
    graph = graph_of(cohort.params, cohort.ids, seed).build()
    if not isinstance(graph, HararyGraph):
        raise AttackFailedError("the graph is complete")
    ring, reach = graph._ring, cohort.params.degree // 2
    few = ring[reach : reach + 3]
    dropped = tuple(sorted(ring[:reach] + ring[reach + 3 : 2 * reach + 3]))
    survivors = tuple(client for client in cohort.ids if client not in dropped)
    for client in survivors:
        attacker.send_survivors(client, survivors)
    for client in survivors:
        near = {client, *attacker.neighbours(client)}
        attacker.send_unmasking(client, survivors, dropped, sorted(near & attacker.signatures.keys()))
    same(attacker.recover_sum(sorted(few), dropped), cohort.sum_of(few))


def hide_the_neighbours(cohort: Cohort) -> None:
    """The victim alone is told that none of its neighbours shared keys, so it masks with its self mask only.

    For the others the round is an honest one without drop-outs, in which they open the self masks of everybody.
    """
    attacker = Attacker(cohort)
    attacker.advertise()
    for client in cohort.ids:
        attacker.send_directory(client)
    for client in cohort.ids:
        attacker.send_parts(client)
    for client in cohort.ids:
        near = attacker.neighbours(client) if client == VICTIM else ()
        attacker.send_shares(client, [other for other in cohort.ids if other not in near])
        attacker.hear_input(client)
    others = [client for client in cohort.ids if client != VICTIM]
    for client in others:
        attacker.send_survivors(client, cohort.ids)
    for client in others:
        around = {client, *attacker.neighbours(client)}
        attacker.send_unmasking(client, cohort.ids, (), sorted(around & attacker.signatures.keys()))
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])
