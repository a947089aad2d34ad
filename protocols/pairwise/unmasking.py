"""Round 4, Unmasking: shares of the self masks of survivors and of the mask keys of the dropped, never both of one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping

import msgspec

from protocols.entropy import Entropy
from protocols.pairwise import masking, states
from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.pairwise.consistency_check import survivor_statement
from protocols.pairwise.masked_input import complete
from protocols.pairwise.steps import ClientStep, Outbound, ServerStep, to_all
from protocols.primitives import shamir
from protocols.secret import Secret
from protocols.wire import check_context

_SELF_MASK = slice(None, shamir.ELEMENT_BYTES)
_MASK_KEY = slice(shamir.ELEMENT_BYTES, None)


def client_step(
    state: states.ExpectUnmaskingRequest, context: bytes, request: m.UnmaskingRequest, entropy: Entropy
) -> ClientStep:
    """Answer the one unmasking question; every share is forgotten afterwards."""
    del entropy
    me = state.me
    check_context(context, state.session)
    check.check_survivors(me.params, state.shared, request.survivors, me.client)
    check.check_connected(me.params, me.policy, state.graph, request.survivors)
    check.check_partition(state.shared, request.survivors, request.dropped)
    if state.signed is not None:
        check.check_same_survivors(state.signed, request.survivors)
    statement = survivor_statement(state.session, state.model_hash, request.survivors)
    signers = set(state.held_shares) & set(request.survivors)
    check.check_survivor_signatures(me.params, me.policy, statement, signers, request.signatures)
    answer = m.Unmasking(
        self_mask_shares=_reveal(state.held_shares, request.survivors, _SELF_MASK),
        mask_key_shares=_reveal(state.held_shares, request.dropped, _MASK_KEY),
    )
    return ClientStep(states.Completed(request.survivors), (m.CODEC.encode(state.session, answer),))


def _reveal(held: Mapping[int, Secret], dealers: tuple[int, ...], part: slice) -> tuple[m.RevealedShare, ...]:
    return tuple(m.RevealedShare(dealer, held[dealer].reveal()[part]) for dealer in dealers if dealer in held)


def server_begin(state: states.CollectMaskedInput | states.CollectConsistencyCheck) -> ServerStep:
    """Put the one unmasking question: to all survivors, or in an active round to those that signed."""
    signatures = state.signatures if isinstance(state, states.CollectConsistencyCheck) else {}
    survivors = state.survivors if isinstance(state, states.CollectConsistencyCheck) else complete(state)
    asked = tuple(sorted(signatures)) or survivors
    following = states.CollectUnmasking(
        state.terms, state.session, state.graph, state.joint_seed, state.advertised, state.shared, survivors, asked, {}
    )
    dropped = following.dropped
    signed = [m.SurvivorSignature(client, signatures[client]) for client in sorted(signatures)]
    if not state.graph.sparse:
        frame = m.CODEC.encode(state.session, m.UnmaskingRequest(survivors, dropped, tuple(signed)))
        return ServerStep(following, to_all(asked, frame))

    def request(client: int) -> bytes:
        near = set(state.graph.build().holders(client))
        around = tuple(entry for entry in signed if entry.client in near)
        return m.CODEC.encode(state.session, m.UnmaskingRequest(survivors, dropped, around))

    return ServerStep(following, Outbound(asked, request))


def server_collect(state: states.CollectUnmasking, client: int, message: m.Unmasking) -> ServerStep:
    """Take one answer; every share in it must be the one that its dealer published for this holder."""
    check.check_in_phase(state.asked, client, "Unmasking")
    packed = b"".join(entry.share for entry in (*message.self_mask_shares, *message.mask_key_shares))
    if client in state.answers:
        check.check_answer(client, message, *state.dealers(client))
        check.check_same_again(state.answers[client], packed, client)
        return ServerStep(state)
    check.check_answer(client, message, *state.dealers(client))
    cipher = state.terms.params.cipher_suite
    for entry in message.self_mask_shares:
        published = state.published(entry.dealer, client)[0]
        opened = check.share_hash(cipher, state.session, "self-mask", entry.dealer, client, entry.share)
        check.check_opening(published, opened, client, entry.dealer)
    for entry in message.mask_key_shares:
        published = state.published(entry.dealer, client)[1]
        opened = check.share_hash(cipher, state.session, "mask-key", entry.dealer, client, entry.share)
        check.check_opening(published, opened, client, entry.dealer)
    return ServerStep(msgspec.structs.replace(state, answers={**state.answers, client: packed}))


def server_end(state: states.CollectUnmasking) -> ServerStep:
    """Put the secrets together: every survivor's self-mask seed, and every dropped client's pairwise seeds."""
    cipher, threshold = state.terms.params.cipher_suite, state.terms.params.threshold
    shares_of = _opened_shares(state)
    self_masks: dict[int, Secret] = {}
    for dealer in state.survivors:
        seed = _reconstruct(shares_of(dealer), threshold)
        found = None if seed is None else check.self_mask_hash(cipher, state.session, dealer, seed.reveal())
        self_masks[dealer] = check.check_secret(state.shared[dealer].self_mask_hash, found, seed, dealer)
    pairwise: list[tuple[int, int, Secret]] = []
    for dealer in state.dropped:
        alive = _surviving_neighbours(state, dealer)
        if not alive:
            continue  # no mask of this client is left in the sum
        secret = _reconstruct(shares_of(dealer), threshold)
        found = None if secret is None else cipher.agreement.load(secret.reveal()).public_key()
        secret = check.check_secret(state.advertised[dealer].mask_key, found, secret, dealer)
        mask_key = cipher.agreement.load(secret.reveal())
        for other in alive:
            public = state.advertised[other].mask_key
            if dealer < other:
                agreed = check.check_initiated(mask_key, public, other)
            else:
                agreed = check.check_responded(mask_key, public, state.mask_offer(other, dealer), other)
            pairwise.append((other, dealer, masking.pairwise_seed(cipher, state.session, agreed, dealer, other)))
    opened = states.Opened(
        state.terms, state.session, state.joint_seed, state.survivors, state.dropped, self_masks, tuple(pairwise)
    )
    return ServerStep(opened)


def _opened_shares(state: states.CollectUnmasking) -> Callable[[int], dict[int, bytes]]:
    """Give a function from a dealer to its opened shares by holder, read from the packed answers as they are needed."""
    size, graph = shamir.ELEMENT_BYTES, state.graph.build()
    everybody = (state.survivors, state.dropped)
    order = {h: state.dealers(h) if state.graph.sparse else everybody for h in state.answers}

    def shares_of(dealer: int) -> dict[int, bytes]:
        found = {}
        for holder in graph.holders(dealer):
            if holder in order:
                survivors, dropped = order[holder]
                place = bisect_left(survivors, dealer)
                if place == len(survivors) or survivors[place] != dealer:
                    place = len(survivors) + bisect_left(dropped, dealer)
                found[holder] = state.answers[holder][place * size : (place + 1) * size]
        return found

    return shares_of


def enough_answers(state: states.CollectUnmasking) -> bool:
    """Tell whether every secret that is needed has a threshold of answers around its dealer."""
    threshold, graph = state.terms.params.threshold, state.graph.build()
    if not state.graph.sparse:
        return len(state.answers) >= threshold
    needed = [d for d in state.dropped if _surviving_neighbours(state, d)] + list(state.survivors)
    return all(sum(h in state.answers for h in graph.holders(d)) >= threshold for d in needed)


def _surviving_neighbours(state: states.CollectUnmasking, dealer: int) -> list[int]:
    alive = set(state.survivors)
    return [other for other in state.graph.build().neighbours(dealer) if other in alive]


def _reconstruct(shares: Mapping[int, bytes], threshold: int) -> Secret | None:
    """Put a dealer's secret together, or give ``None`` if the shares hold none."""
    try:
        elements = {holder: shamir.decode_element(share) for holder, share in shares.items()}
        return Secret(shamir.reconstruct(elements, threshold))
    except shamir.ReconstructionError:
        return None


def terms_left(state: states.Opened) -> list[masking.MaskTerm]:
    """Return the masks that still stand in the sum of the survivors, each with the sign that takes it off."""
    terms = [masking.self_mask(client, seed) for client, seed in state.self_masks.items()]
    terms += [masking.pairwise_mask(survivor, dropped, seed) for survivor, dropped, seed in state.pairwise]
    return [term.negated() for term in terms]
