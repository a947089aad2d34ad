"""Round 4, Unmasking: shares of the self masks of survivors and of the mask keys of the dropped, never both of one.

In a round with removable noise, also a share of one link of every survivor's noise (``noise.py``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

import msgspec

from protocols.entropy import Entropy
from protocols.pairwise import masking, noise, states
from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.pairwise.consistency_check import survivor_statement
from protocols.pairwise.masked_input import complete
from protocols.pairwise.steps import ClientStep, Outbound, ServerStep, to_all
from protocols.primitives import shamir
from protocols.secret import Secret
from protocols.wire import check_context

_SELF_MASK = slice(None, shamir.ELEMENT_BYTES)
_MASK_KEY = slice(shamir.ELEMENT_BYTES, 2 * shamir.ELEMENT_BYTES)
_NOISE = slice(2 * shamir.ELEMENT_BYTES, None)


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
    near = set(state.held_shares) & set(request.survivors)
    check.check_survivor_signatures(me.params, me.policy, statement, near, request.survivors, request.signatures)
    answer = m.Unmasking(
        self_mask_shares=_reveal(state.held_shares, request.survivors, _SELF_MASK),
        mask_key_shares=_reveal(state.held_shares, request.dropped, _MASK_KEY),
        noise_shares=_reveal_noise(state, request.survivors),
    )
    return ClientStep(states.Completed(request.survivors), (m.CODEC.encode(state.session, answer),))


def _reveal(held: Mapping[int, Secret], dealers: tuple[int, ...], part: slice) -> tuple[m.RevealedShare, ...]:
    return tuple(m.RevealedShare(dealer, held[dealer].reveal()[part]) for dealer in dealers if dealer in held)


def _reveal_noise(state: states.ExpectUnmaskingRequest, survivors: tuple[int, ...]) -> tuple[m.RevealedNoise, ...]:
    """Give one share of the first link that comes off, of each survivor near this client; of nobody else anything.

    The number of the link follows from the list that is answered for (and, in an active round, was signed).
    """
    number = noise.first_removed(state.me.params, survivors)
    if number is None:
        return ()
    revealed = []
    for dealer in survivors:
        if dealer in state.held_shares:
            tree = noise.ShareTree(state.me.params.cipher_suite, state.session, dealer, state.me.client)
            share, path = tree.open(state.held_shares[dealer].reveal()[_NOISE], number)
            revealed.append(m.RevealedNoise(dealer, share, path))
    return tuple(revealed)


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
    if not state.graph.sparse or state.terms.params.everybody_signs:
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
    packed += b"".join(entry.share for entry in message.noise_shares)
    removes = noise.first_removed(state.terms.params, state.survivors) is not None
    check.check_answer(client, message, *state.dealers(client), noise=removes)
    if client in state.answers:
        check.check_same_again(state.answers[client], packed, client)
        return ServerStep(state)
    _check_openings(state, client, message)
    return ServerStep(msgspec.structs.replace(state, answers={**state.answers, client: packed}))


def _check_openings(state: states.CollectUnmasking, client: int, message: m.Unmasking) -> None:
    """Check that every share in an answer is the one that its dealer published for this holder."""
    params, cipher = state.terms.params, state.terms.params.cipher_suite
    for place, kind, entries in ((0, "self-mask", message.self_mask_shares), (1, "mask-key", message.mask_key_shares)):
        for entry in entries:
            opened = check.share_hash(cipher, state.session, kind, entry.dealer, client, entry.share)
            check.check_opening(state.published(entry.dealer, client)[place], opened, client, entry.dealer)
    number = noise.first_removed(params, state.survivors)
    for revealed in message.noise_shares:
        tree = noise.ShareTree(cipher, state.session, revealed.dealer, client)
        root = tree.opened_root(revealed.share, number, params.noise_components, revealed.path) if number else None
        check.check_opening(state.published(revealed.dealer, client)[2], root, client, revealed.dealer)


def server_end(state: states.CollectUnmasking) -> ServerStep:
    """Put the secrets together: every survivor's self-mask seed, and every dropped client's pairwise seeds.

    And the first link of every survivor's noise that comes off; it leads to the end of the chain that was published.
    """
    cipher, session, opener = state.terms.params.cipher_suite, state.session, _Opener(state)
    number = noise.first_removed(state.terms.params, state.survivors)
    self_masks: dict[int, Secret] = {}
    noise_links: dict[int, Secret] = {}
    for dealer in state.survivors:
        seed = opener.secret(dealer)
        found = None if seed is None else check.self_mask_hash(cipher, session, dealer, seed.reveal())
        self_masks[dealer] = check.check_secret(state.shared[dealer].self_mask_hash, found, seed, dealer)
        if number is not None:
            link = opener.noise_link(dealer)
            end = None if link is None else _chain(state, dealer, number, link).commitment()
            noise_links[dealer] = check.check_secret(state.shared[dealer].noise_commitment, end, link, dealer)
    pairwise: list[tuple[int, int, Secret]] = []
    for dealer in state.dropped:
        alive = _surviving_neighbours(state, dealer)
        if not alive:
            continue  # no mask of this client is left in the sum
        secret = opener.secret(dealer)
        found = None if secret is None else cipher.agreement.load(secret.reveal()).public_key()
        secret = check.check_secret(state.advertised[dealer].mask_key, found, secret, dealer)
        mask_key = cipher.agreement.load(secret.reveal())
        for other in alive:
            public = state.advertised[other].mask_key
            if dealer < other:
                agreed = check.check_initiated(mask_key, public, other)
            else:
                agreed = check.check_responded(mask_key, public, state.mask_offer(other, dealer), other)
            pairwise.append((other, dealer, masking.pairwise_seed(cipher, session, agreed, dealer, other)))
    about = (state.terms, session, state.joint_seed, state.survivors, state.dropped)
    return ServerStep(states.Opened(*about, self_masks, tuple(pairwise), noise_links))


def _chain(state: states.CollectUnmasking | states.Opened, dealer: int, number: int, link: Secret) -> noise.Chain:
    params = state.terms.params
    return noise.Chain(params.cipher_suite, state.session, dealer, number, params.noise_components, link)


def removed_noise(state: states.Opened) -> dict[int, tuple[Secret, ...]]:
    """Return every survivor's seeds of components D + 1 .. K: none of them if K or more clients are missing."""
    number = noise.first_removed(state.terms.params, state.survivors)
    if number is None:
        return dict.fromkeys(state.survivors, ())
    return {dealer: _chain(state, dealer, number, link).seeds() for dealer, link in state.noise_links.items()}


class _Opener:
    """Puts secrets together from the packed answers, as they are needed."""

    def __init__(self, state: states.CollectUnmasking) -> None:
        self._answers, self._threshold = state.answers, state.terms.params.threshold
        self._graph = state.graph.build()
        everybody = (state.survivors, state.dropped)
        self._order = {h: state.dealers(h) if state.graph.sparse else everybody for h in state.answers}

    def secret(self, dealer: int) -> Secret | None:
        """The self-mask seed of a survivor or the mask key of a dropped client; ``None`` if the shares hold none."""
        return self._open(dealer, of_noise=False)

    def noise_link(self, survivor: int) -> Secret | None:
        """The link of a survivor's noise that was asked for; ``None`` if the shares hold none."""
        return self._open(survivor, of_noise=True)

    def _open(self, dealer: int, *, of_noise: bool) -> Secret | None:
        elements = {}
        for holder in self._graph.holders(dealer):
            if holder in self._order:
                survivors, dropped = self._order[holder]
                place = bisect_left(survivors, dealer)
                if place == len(survivors) or survivors[place] != dealer:
                    place = len(survivors) + bisect_left(dropped, dealer)
                elements[holder] = place + (len(survivors) + len(dropped) if of_noise else 0)
        try:
            shares = {holder: shamir.decode_element(self._share(holder, place)) for holder, place in elements.items()}
            return Secret(shamir.reconstruct(shares, self._threshold))
        except shamir.ReconstructionError:
            return None

    def _share(self, holder: int, place: int) -> bytes:
        return self._answers[holder][place * shamir.ELEMENT_BYTES : (place + 1) * shamir.ELEMENT_BYTES]


def enough_answers(state: states.CollectUnmasking) -> bool:
    """Tell whether every secret that is needed has a threshold of answers around its dealer.

    A survivor's noise is shared among the holders of its self-mask seed: what opens one opens the other.
    """
    threshold, graph = state.terms.params.threshold, state.graph.build()
    if not state.graph.sparse:
        return len(state.answers) >= threshold
    needed = [d for d in state.dropped if _surviving_neighbours(state, d)] + list(state.survivors)
    return all(sum(h in state.answers for h in graph.holders(d)) >= threshold for d in needed)


def _surviving_neighbours(state: states.CollectUnmasking, dealer: int) -> list[int]:
    alive = set(state.survivors)
    return [other for other in state.graph.build().neighbours(dealer) if other in alive]


def terms_left(state: states.Opened) -> list[masking.MaskTerm]:
    """Return the masks that still stand in the sum of the survivors, each with the sign that takes it off."""
    terms = [masking.self_mask(client, seed) for client, seed in state.self_masks.items()]
    terms += [masking.pairwise_mask(survivor, dropped, seed) for survivor, dropped, seed in state.pairwise]
    return [term.negated() for term in terms]
