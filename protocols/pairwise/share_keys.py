"""Round 1, ShareKeys: Shamir shares of every secret, sealed from neighbour to neighbour."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from protocols.entropy import Entropy
from protocols.pairwise import messages as m
from protocols.pairwise import states
from protocols.pairwise import validation as check
from protocols.pairwise.advertise_keys import check_directory
from protocols.pairwise.graph import GraphSpec
from protocols.pairwise.noise import Chain
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
    """Draw the self-mask seed and the first link of the noise, and deal shares of them and of the mask key."""
    me, cipher = state.me, state.me.params.cipher_suite
    near = set(graph.build().neighbours(me.client))
    neighbours = {entry.client: entry for entry in directory if entry.client in near}
    enc_key = cipher.agreement.load(state.enc_secret.reveal())
    mask_key = cipher.agreement.load(state.mask_secret.reveal())
    agreed = {other: check.check_initiated(enc_key, entry.enc_key, other) for other, entry in neighbours.items()}
    offers = {other: _offers(me.client, enc_key, mask_key, entry, entropy) for other, entry in neighbours.items()}
    seed = Secret(entropy.take(shamir.SECRET_BYTES, "self-mask-seed"))
    components = me.params.noise_components
    link = Secret(entropy.take(shamir.SECRET_BYTES, "noise-link") if components else b"")
    chain = Chain(cipher, session, me.client, 1, components, link)
    dealing = Secrets(seed, state.mask_secret, chain)
    dealt, own_share = _deal(me, session, dealing, agreed, offers, entropy)
    following = states.ExpectMaskedInputRequest(
        me=me,
        session=session,
        graph=graph,
        joint_seed=seed_of_all,
        commitments=commitments,
        enc_secret=state.enc_secret,
        mask_secret=state.mask_secret,
        self_mask_seed=seed,
        noise_link=link,
        own_share=own_share,
        neighbours=neighbours,
        channel_keys={}
        if cipher.agreement.offer_bytes
        else {other: channel_key(cipher, secret, session, other, me.client) for other, secret in agreed.items()},
    )
    message = m.ShareKeys(part.reveal(), *dealing.commitments(), dealt)
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


@dataclass(frozen=True)
class Secrets:
    """What one dealer shares; an empty link makes a chain of no links."""

    seed: Secret
    mask_key: Secret
    noise: Chain

    def commitments(self) -> tuple[bytes, bytes]:
        """Return what is published of the secrets: (hash of the seed, end of the chain or empty)."""
        noise = self.noise
        seed_hash = check.self_mask_hash(noise.cipher, noise.session, noise.client, self.seed.reveal())
        return seed_hash, noise.commitment()

    def share(self, threshold: int, holders: Sequence[int], entropy: Entropy) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Give every holder's shares: of the seed, of the key, of all links one behind the other.

        The point of a share is its holder's id. Drawn are the coefficients for the seed, the key, and link by link.
        """
        seed_shares = shamir.share(self.seed.reveal(), threshold, holders, entropy)
        key_shares = shamir.share(self.mask_key.reveal(), threshold, holders, entropy)
        links = [shamir.share(link.reveal(), threshold, holders, entropy) for link in self.noise.links()]
        for place in range(len(holders)):
            noise_shares = b"".join(shamir.encode_element(shares[place]) for shares in links)
            yield shamir.encode_element(seed_shares[place]), shamir.encode_element(key_shares[place]), noise_shares


def _deal(
    me: states.Self,
    session: bytes,
    secrets: Secrets,
    agreed: Mapping[int, bytes],
    offers: Mapping[int, bytes],
    entropy: Entropy,
) -> tuple[tuple[m.DealtShares, ...], Secret]:
    """Share the secrets among the neighbours and this client itself, and draw the nonces: (entries, own shares)."""
    cipher, threshold = me.params.cipher_suite, me.params.threshold
    holders = sorted([*agreed, me.client])
    commitments = secrets.commitments()
    dealt: list[m.DealtShares] = []
    own_share = Secret(b"")
    for holder, shares in zip(holders, secrets.share(threshold, holders, entropy), strict=True):
        pair = m.SharePair(me.client, holder, *shares)
        sealed = b""
        if holder == me.client:
            own_share = Secret(b"".join(shares))
        else:
            key = channel_key(cipher, agreed[holder], session, me.client, holder)
            associated = associated_data(cipher, session, me.client, holder)
            sealed = aead.seal(key.reveal(), msgspec.msgpack.encode(pair), associated, entropy)
        hashes = check.share_hashes(cipher, session, pair)
        offered = offers.get(holder, b"")
        statement = check.dealt_statement(session, me.client, holder, commitments, hashes, offered, sealed)
        dealt.append(m.DealtShares(holder, offered, sealed, *hashes, me.sign("share-keys", *statement)))
    return tuple(dealt), own_share


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
        noise_commitment=message.noise_commitment,
        hashes=b"".join(b"".join(entry.hashes) for entry in message.dealt),
        offers=tuple(entry.offers for entry in message.dealt)
        if terms.params.cipher_suite.agreement.offer_bytes
        else (),
    )
    entries = tuple(msgspec.msgpack.encode(relayed_entry(client, message, entry)) for entry in message.dealt)
    following = msgspec.structs.replace(state, shared={**state.shared, client: dealing})
    return ServerStep(following, events=(SharesAccepted(client, entries),))


def relayed_entry(dealer: int, message: m.ShareKeys, entry: m.DealtShares) -> m.RelayedShares:
    """Return one entry of a dealer's message in the form in which its holder receives it."""
    return m.RelayedShares(dealer, *message.commitments, entry.offers, entry.sealed, *entry.hashes, entry.signature)


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
