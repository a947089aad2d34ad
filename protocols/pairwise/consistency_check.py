"""Round 3, ConsistencyCheck: in an active round, survivors sign the survivor list (Bonawitz et al. 2017, section 6)."""

from __future__ import annotations

import msgspec

from protocols.entropy import Entropy
from protocols.pairwise import messages as m
from protocols.pairwise import states
from protocols.pairwise import validation as check
from protocols.pairwise.masked_input import complete
from protocols.pairwise.steps import ClientStep, ServerStep, to_all
from protocols.suites import Context
from protocols.wire import check_context


def survivor_statement(session: bytes, model_hash: bytes, survivors: tuple[int, ...]) -> tuple[Context, ...]:
    """Return what a survivor signs: the session, the model it trained, and U3."""
    return (session, model_hash, survivors)


def client_step(
    state: states.ExpectConsistencyCheckRequest,
    context: bytes,
    request: m.ConsistencyCheckRequest,
    entropy: Entropy,
) -> ClientStep:
    """Sign the survivor list, once."""
    del entropy
    me = state.me
    check_context(context, state.session)
    check.check_survivors(me.params, state.shared, request.survivors, me.client)
    check.check_connected(me.params, me.policy, state.graph, request.survivors)
    statement = survivor_statement(state.session, state.model_hash, request.survivors)
    following = states.ExpectUnmaskingRequest(
        me, state.session, state.graph, state.shared, state.model_hash, state.held_shares, signed=request.survivors
    )
    answer = m.ConsistencyCheck(me.sign("survivors", *statement))
    return ClientStep(following, (m.CODEC.encode(state.session, answer),))


def server_begin(state: states.CollectMaskedInput) -> ServerStep:
    """Close the masked inputs and ask the survivors to sign their list."""
    survivors = complete(state)
    following = states.CollectConsistencyCheck(
        state.terms, state.session, state.graph, state.joint_seed, state.advertised, state.shared, survivors, {}
    )
    frame = m.CODEC.encode(state.session, m.ConsistencyCheckRequest(survivors))
    return ServerStep(following, to_all(tuple(survivors), frame))


def server_collect(state: states.CollectConsistencyCheck, client: int, message: m.ConsistencyCheck) -> ServerStep:
    """Take one signature."""
    check.check_in_phase(state.survivors, client, "ConsistencyCheck")
    terms = state.terms
    statement = survivor_statement(state.session, terms.model_hash, state.survivors)
    check.check_consistency_signature(terms.params, terms.roster, client, statement, message.signature)
    return ServerStep(msgspec.structs.replace(state, signatures={**state.signatures, client: message.signature}))
