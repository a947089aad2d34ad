"""Rules C21 to C26, C29 and S7: who survived, and what may be opened."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from protocols.pairwise import finder
from protocols.pairwise.graph import GraphSpec, HararyGraph
from protocols.pairwise.messages import SurvivorSignature
from protocols.pairwise.params import LocalPolicy, Roster, RoundParams, threshold_against_server
from protocols.pairwise.validation.rules import Rule, ascending, refuse, signed
from protocols.suites import Context


def check_survivors(params: RoundParams, shared: Collection[int], survivors: Sequence[int], client: int) -> None:
    """C21 to C23: U3 ascends and lies in U2, reaches the threshold, and holds this client."""
    if not ascending(survivors) or not set(survivors) <= set(shared):
        refuse(Rule.SURVIVOR_IDS, "the survivor list repeats, reorders or invents clients")
    if len(survivors) < params.least_survivors:
        refuse(
            Rule.SURVIVORS_ENOUGH,
            f"{len(survivors)} survivors, fewer than {params.least_survivors}: nothing may be opened",
        )
    if client not in survivors:
        refuse(Rule.SURVIVOR_SELF, "the survivor list leaves out this client, which has sent its input")


def check_connected(params: RoundParams, policy: LocalPolicy, graph: GraphSpec, survivors: Collection[int]) -> None:
    """C29: the honest survivors of a sparse graph are connected, whoever the server let drop out.

    An active server sees the graph before it says who dropped out, and could cut a victim off by naming its
    neighbours. Any k/2 in a row on the ring must therefore keep more survivors than there can be corrupt among them:
    then every such run holds an honest survivor, and the honest survivors form a connected ring.
    """
    built = graph.build()
    if params.adversary == "curious" or not isinstance(built, HararyGraph):
        return
    bits = finder.graph_bits(policy.sigma, policy.max_attempts)
    corrupt = finder.most_marked(len(graph.clients), policy.colluders, graph.degree // 2, bits)
    kept = built.fewest_in_a_run(survivors)
    if kept <= corrupt:
        refuse(
            Rule.SURVIVORS_CONNECTED,
            f"a run of {graph.degree // 2} neighbours keeps {kept} survivors, of which {corrupt} may be corrupt: "
            "somebody could be cut off",
        )


def check_partition(shared: Collection[int], survivors: Sequence[int], dropped: Sequence[int]) -> None:
    """C26: everybody in U2 either survived or dropped, nobody both, and dropped ids ascend."""
    if not ascending(dropped) or set(survivors) & set(dropped) or set(survivors) | set(dropped) != set(shared):
        refuse(
            Rule.SURVIVORS_OR_DROPPED,
            "survivors and dropped do not split the clients that shared keys into two parts",
        )


def check_same_survivors(signed: Sequence[int], requested: Sequence[int]) -> None:
    """C24: the survivors to be unmasked are those whose list this client signed."""
    if tuple(signed) != tuple(requested):
        refuse(Rule.SURVIVORS_AS_SIGNED, "the server asks to unmask other survivors than those that were signed")


def check_survivor_signatures(
    params: RoundParams,
    policy: LocalPolicy,
    statement: tuple[Context, ...],
    near: Collection[int],
    survivors: Collection[int],
    signatures: Sequence[SurvivorSignature],
) -> None:
    """C25: at least t of the survivors ``near`` (neighbours and oneself) signed the same session, model and list.

    Where noise may come off in a sparse graph, so did more than (n + c) / 2 of all: neighbourhoods might agree on lists
    of different sizes, this many members cannot. In a round without a roster there are no signatures at all.
    """
    signers = [entry.client for entry in signatures]
    active = params.adversary == "active"
    needed, in_all = (params.threshold if active else 0), 0
    electorate = set(near)
    if params.everybody_signs:
        electorate = set(survivors)
        in_all = threshold_against_server(len(params.clients), params.adversary, policy.colluders)
    nearby = len(electorate.intersection(near, signers))
    if not ascending(signers) or not electorate.issuperset(signers) or nearby < needed or len(signers) < in_all:
        refuse(
            Rule.SURVIVORS_SIGNED,
            f"fewer than {needed} survivors nearby or {in_all} in all signed the survivor list, or others did",
        )
    for entry in signatures:
        if not signed(params, policy.roster, entry.client, entry.signature, "survivors", statement):
            refuse(Rule.SURVIVORS_SIGNED, f"the signature of client {entry.client} on the survivors is not valid")


def check_consistency_signature(
    params: RoundParams,
    roster: Roster | None,
    client: int,
    statement: tuple[Context, ...],
    signature: bytes,
) -> None:
    """S7."""
    if not signed(params, roster, client, signature, "survivors", statement):
        refuse(Rule.CONSISTENCY_SIGNED, f"the signature of client {client} on the survivors is not valid", client)
