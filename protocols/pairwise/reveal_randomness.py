"""Joint randomness: everybody commits in AdvertiseKeys and reveals now, so nobody chooses the seed.

A sparse graph needs the seed before keys are shared and takes a phase of its own; a complete graph that makes a seed
for the layers above reveals along with ShareKeys. A missing or false part ends the attempt; clients take part in few
attempts (rule C30), so that whoever withholds parts can choose among few seeds.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from protocols.entropy import Entropy
from protocols.pairwise import messages as m
from protocols.pairwise import states
from protocols.pairwise import validation as check
from protocols.pairwise.advertise_keys import check_directory
from protocols.pairwise.graph import GraphSpec
from protocols.pairwise.params import RoundParams
from protocols.pairwise.steps import ClientStep, ServerStep, to_all
from protocols.wire import check_context


def joint_seed(params: RoundParams, session: bytes, parts: Iterable[m.RevealedPart]) -> bytes:
    """Hash all parts into the 32-byte seed of the round; derive a key for each use of it."""
    return params.cipher_suite.hash("joint-seed", session, tuple((entry.client, entry.part) for entry in parts))


def graph_of(params: RoundParams, clients: tuple[int, ...], seed: bytes) -> GraphSpec:
    """Return the graph that a joint seed makes on U1."""
    return GraphSpec(clients, params.degree, params.cipher_suite.hash("graph", seed))


def client_step(
    state: states.ExpectRevealRandomnessRequest, context: bytes, request: m.RevealRandomnessRequest, entropy: Entropy
) -> ClientStep:
    """Check the directory and reveal this client's part."""
    del entropy
    me = state.me
    check_context(context, me.params.hash())
    session = check_directory(me, state.advertised, request.directory)
    directory = m.CODEC.encode(context, request)
    following = states.ExpectNeighboursRequest(me, session, state.enc_secret, state.mask_secret, directory)
    return ClientStep(following, (m.CODEC.encode(session, m.RevealRandomness(state.part.reveal())),))


def server_collect(state: states.CollectRevealRandomness, client: int, message: m.RevealRandomness) -> ServerStep:
    """Take one part; it must be the one committed to."""
    check.check_in_phase(state.advertised, client, "RevealRandomness")
    if client in state.parts:
        check.check_same_again(state.parts[client], message.part, client)
        return ServerStep(state)
    check.check_part(state.terms.params, state.advertised[client].commitment, client, message.part)
    return ServerStep(msgspec.structs.replace(state, parts={**state.parts, client: message.part}))


def server_end(state: states.CollectRevealRandomness) -> ServerStep:
    """Publish all parts: from them follows who is whose neighbour."""
    terms = state.terms
    parts = tuple(m.RevealedPart(client, state.parts[client]) for client in sorted(state.parts))
    seed = joint_seed(terms.params, state.session, parts)
    graph = graph_of(terms.params, tuple(state.advertised), seed)
    following = states.CollectShareKeys(terms, state.session, graph, seed, state.advertised, {})
    frame = m.CODEC.encode(state.session, m.NeighboursRequest(parts))
    return ServerStep(following, to_all(tuple(state.advertised), frame))
