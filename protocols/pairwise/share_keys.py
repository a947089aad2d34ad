"""Round 1, ShareKeys: Shamir shares of both secrets, sealed from neighbour to neighbour."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from protocols.entropy import Entropy
from protocols.pairwise import messages as m
from protocols.pairwise import states
from protocols.pairwise import validation as check
from protocols.pairwise.advertise_keys import check_directory
from protocols.pairwise.graph import GraphSpec
from protocols.pairwise.reveal_randomness import graph_of, joint_seed
from protocols.pairwise.steps import ClientStep, Outbound, Relayed, ServerStep, SharesAccepted
from protocols.primitives import aead, shamir
from protocols.secret import Secret
from protocols.suites import PrivateKey, Suite
from protocols.wire import check_context


def client_step(
    state: states.ExpectShareKeysRequest, context: bytes, request: m.ShareKeysRequest, entropy: Entropy
) -> ClientStep:
    """Complete graph: check the directory and deal shares to everybody in it."""
    check_context(context, state.me.params.hash())
    session = check_directory(state.me, state.advertised, request.directory)
    graph = GraphSpec(tuple(entry.client for entry in request.directory), 0, b"")
    commitments = {entry.client: entry.commitment for entry in request.directory if entry.commitment}
    return _deal_to_neighbours(state, session, request.directory, graph, b"", commitments, state.part, entropy)


def client_step_sparse(
    state: states.ExpectNeighboursRequest, context: bytes, request: m.NeighboursRequest, entropy: Entropy
) -> ClientStep:
    """Sparse graph: check all parts of the joint seed, find the neighbours, and deal shares to them."""
    check_context(context, state.session)
    params = state.me.params
    _, published = m.CODEC.decode(state.directory, m.limits_at_client(params))
    directory = cast("m.RevealRandomnessRequest", published).directory
    check.check_parts(params, {entry.client: entry.commitment for entry in directory}, request.parts)
    seed = joint_seed(params, state.session, request.parts)
    graph = graph_of(params, tuple(entry.client for entry in directory), seed)
    return _deal_to_neighbours(state, state.session, directory, graph, seed, {}, Secret(b""), entropy)


def _deal_to_neighbours(
    state: states.ExpectShareKeysRequest | states.ExpectNeighboursRequest,
    session: bytes,
    directory: tuple[m.AdvertisedKeys, ...],
    graph: GraphSpec,
    seed_of_all: bytes,
    commitments: dict[int, bytes],
    part: Secret,
    entropy: Entropy,
) -> ClientStep:
    """Draw the self-mask seed and deal shares of it and of the mask key."""
    me, cipher = state.me, state.me.params.cipher_suite
    near = set(graph.build().neighbours(me.client))
    neighbours = {entry.client: entry for entry in directory if entry.client in near}
    enc_key = cipher.agreement.load(state.enc_secret.reveal())
    mask_key = cipher.agreement.load(state.mask_secret.reveal())
    agreed = {other: check.check_initiated(enc_key, entry.enc_key, other) for other, entry in neighbours.items()}
    offers = {other: _offers(me.client, enc_key, mask_key, entry, entropy) for other, entry in neighbours.items()}
    seed = Secret(entropy.take(shamir.SECRET_BYTES, "self-mask-seed"))
    seed_hash, dealt, own_share = _deal(me, session, seed, state.mask_secret, agreed, offers, entropy)
    following = states.ExpectMaskedInputRequest(
        me=me,
        session=session,
        graph=graph,
        joint_seed=seed_of_all,
        commitments=commitments,
        enc_secret=state.enc_secret,
        mask_secret=state.mask_secret,
        self_mask_seed=seed,
        own_share=own_share,
        neighbours=neighbours,
        channel_keys={}
        if cipher.agreement.offer_bytes
        else {other: channel_key(cipher, secret, session, other, me.client) for other, secret in agreed.items()},
    )
    message = m.ShareKeys(part.reveal(), seed_hash, dealt)
    return ClientStep(following, (m.CODEC.encode(session, message),))


def _offers(client: int, enc_key: PrivateKey, mask_key: PrivateKey, to: m.AdvertisedKeys, entropy: Entropy) -> bytes:
    """Make the offers for the share channel to a neighbour and, from the lower id, for the pairwise mask."""
    offers = enc_key.offer(to.enc_key, entropy)
    return offers + mask_key.offer(to.mask_key, entropy) if client < to.client else offers


def channel_key(cipher: Suite, agreed: bytes, session: bytes, sender: int, receiver: int) -> Secret:
    """Derive the key of one direction of the share channel between two clients."""
    return Secret(cipher.derive(agreed, "share-channel", session, sender, receiver))


def associated_data(cipher: Suite, session: bytes, dealer: int, holder: int) -> bytes:
    """Bind a sealed pair to protocol, session (hence parameters and round), sender and receiver."""
    return cipher.statement("share", session, dealer, holder)


def _deal(
    me: states.Self,
    session: bytes,
    seed: Secret,
    mask_secret: Secret,
    agreed: Mapping[int, bytes],
    offers: Mapping[int, bytes],
    entropy: Entropy,
) -> tuple[bytes, tuple[m.DealtShares, ...], Secret]:
    """Share both secrets among the neighbours and this client itself: (hash of the seed, entries, own share).

    The point of a share is its holder's id. Drawn are the coefficients for the seed, those for the key, the nonces.
    """
    cipher, threshold = me.params.cipher_suite, me.params.threshold
    holders = sorted([*agreed, me.client])
    seed_hash = check.self_mask_hash(cipher, session, me.client, seed.reveal())
    seed_shares = shamir.share(seed.reveal(), threshold, holders, entropy)
    key_shares = shamir.share(mask_secret.reveal(), threshold, holders, entropy)
    dealt: list[m.DealtShares] = []
    own_share = Secret(b"")
    for holder, *elements in zip(holders, seed_shares, key_shares, strict=True):
        pair = m.SharePair(me.client, holder, *map(shamir.encode_element, elements))
        sealed = b""
        if holder == me.client:
            own_share = Secret(pair.self_mask_share + pair.mask_key_share)
        else:
            key = channel_key(cipher, agreed[holder], session, me.client, holder)
            associated = associated_data(cipher, session, me.client, holder)
            sealed = aead.seal(key.reveal(), msgspec.msgpack.encode(pair), associated, entropy)
        hashes = check.share_hashes(cipher, session, pair)
        offered = offers.get(holder, b"")
        statement = check.dealt_statement(session, me.client, holder, seed_hash, hashes, offered, sealed)
        dealt.append(m.DealtShares(holder, offered, sealed, *hashes, me.sign("share-keys", *statement)))
    return seed_hash, tuple(dealt), own_share


def server_collect(state: states.CollectShareKeys, client: int, message: m.ShareKeys) -> ServerStep:
    """Take one dealer's shares."""
    check.check_in_phase(state.advertised, client, "ShareKeys")
    digest = hashlib.sha256(msgspec.msgpack.encode(message)).digest()
    if client in state.shared:
        check.check_same_again(state.shared[client].digest, digest, client)
        return ServerStep(state)
    terms = state.terms
    commitment = b"" if terms.params.sparse else state.advertised[client].commitment
    check.check_part(terms.params, commitment, client, message.part)
    holders = state.graph.build().holders(client)
    check.check_dealt_shares(terms.params, terms.roster, state.session, client, message, holders)
    dealing = states.Dealing(
        digest=digest,
        part=message.part,
        self_mask_hash=message.self_mask_hash,
        hashes=b"".join(entry.self_mask_share_hash + entry.mask_key_share_hash for entry in message.dealt),
        offers=tuple(entry.offers for entry in message.dealt)
        if terms.params.cipher_suite.agreement.offer_bytes
        else (),
    )
    entries = tuple(_relayed(client, message.self_mask_hash, entry) for entry in message.dealt)
    following = msgspec.structs.replace(state, shared={**state.shared, client: dealing})
    return ServerStep(following, events=(SharesAccepted(client, entries),))


def _relayed(dealer: int, seed_hash: bytes, entry: m.DealtShares) -> bytes:
    hashes = (entry.self_mask_share_hash, entry.mask_key_share_hash)
    relayed = m.RelayedShares(dealer, seed_hash, entry.offers, entry.sealed, *hashes, entry.signature)
    return msgspec.msgpack.encode(relayed)


def server_end(state: states.CollectShareKeys, relayed: Relayed) -> ServerStep:
    """Pass every sealed pair on to its holder, if both ends are in U2."""
    shared = dict(sorted(state.shared.items()))
    ids = tuple(shared)
    parts = tuple(m.RevealedPart(client, dealing.part) for client, dealing in shared.items() if dealing.part)
    graph = state.graph.build()

    def request(holder: int) -> bytes:
        entries = tuple(
            msgspec.Raw(relayed(dealer, bisect_left(graph.holders(dealer), holder)))
            for dealer in graph.neighbours(holder)
            if dealer in shared
        )
        message = m.MaskedInputRequest(ids, cast(Any, entries), parts, state.terms.model_hash)
        return m.CODEC.encode(state.session, message)

    seed = joint_seed(state.terms.params, state.session, parts) if parts else state.joint_seed
    following = states.CollectMaskedInput(state.terms, state.session, state.graph, seed, state.advertised, shared, {})
    return ServerStep(following, Outbound(ids, request))
