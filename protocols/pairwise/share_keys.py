"""Round 1, ShareKeys: Shamir shares of both secrets, sealed from neighbour to neighbour."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from protocols.entropy import Entropy
from protocols.pairwise import messages as m
from protocols.pairwise import states
from protocols.pairwise import validation as check
from protocols.pairwise.advertise_keys import session_id
from protocols.pairwise.graph import CompleteGraph
from protocols.pairwise.steps import ClientStep, ServerStep
from protocols.primitives import aead, shamir
from protocols.secret import Secret
from protocols.suites import Suite
from protocols.wire import check_context


def client_step(
    state: states.ExpectShareKeysRequest, context: bytes, request: m.ShareKeysRequest, entropy: Entropy
) -> ClientStep:
    """Check the directory, draw the self-mask seed and deal shares of it and of the mask key."""
    me, params, cipher = state.me, state.me.params, state.me.params.cipher_suite
    check_context(context, params.hash())
    check.check_directory_ids(params, request.directory)
    check.check_own_entry(request.directory, me.client, state.advertised)
    check.check_directory_size(params, request.directory)
    check.check_directory_keys(request.directory)
    check.check_directory_signatures(params, me.policy, request.directory, me.client)

    session = session_id(params, request.directory)
    keys = {entry.client: entry for entry in request.directory}
    enc_key = cipher.agreement.load(state.enc_secret.reveal())
    agreed = {
        other: check.check_agreement(enc_key, keys[other].enc_key, other)
        for other in CompleteGraph(keys).neighbours(me.client)
    }
    seed = Secret(entropy.take(shamir.SECRET_BYTES, "self-mask-seed"))
    message, own_share = _deal(me, session, seed, state.mask_secret, agreed, entropy)
    following = states.ExpectMaskedInputRequest(
        me=me,
        session=session,
        mask_secret=state.mask_secret,
        self_mask_seed=seed,
        own_share=own_share,
        mask_keys={client: entry.mask_key for client, entry in keys.items()},
        channel_keys={
            other: _channel_key(cipher, secret, session, other, me.client) for other, secret in agreed.items()
        },
    )
    return ClientStep(following, (m.CODEC.encode(session, message),))


def _channel_key(cipher: Suite, agreed: bytes, session: bytes, sender: int, receiver: int) -> Secret:
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
    entropy: Entropy,
) -> tuple[m.ShareKeys, Secret]:
    """Share both secrets among the neighbours and this client itself; return the message and the own share."""
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
            key = _channel_key(cipher, agreed[holder], session, me.client, holder)
            associated = associated_data(cipher, session, me.client, holder)
            sealed = aead.seal(key.reveal(), msgspec.msgpack.encode(pair), associated, entropy)
        hashes = check.share_hashes(cipher, session, pair)
        signature = me.sign("share-keys", *check.dealt_statement(session, me.client, holder, seed_hash, hashes))
        dealt.append(m.DealtShares(holder, sealed, *hashes, signature))
    return m.ShareKeys(seed_hash, tuple(dealt)), own_share


def server_collect(state: states.CollectShareKeys, client: int, message: m.ShareKeys) -> ServerStep:
    """Take one dealer's shares."""
    check.check_in_phase(state.advertised, client, "ShareKeys")
    if client in state.shared:
        check.check_same_again(state.shared[client], message, client)
        return ServerStep(state)
    holders = sorted([*CompleteGraph(state.advertised).neighbours(client), client])
    check.check_dealt_shares(state.terms.params, state.terms.roster, state.session, client, message, holders)
    return ServerStep(msgspec.structs.replace(state, shared={**state.shared, client: message}))


def server_end(state: states.CollectShareKeys) -> ServerStep:
    """Pass every sealed pair on to its holder, if both ends are in U2."""
    shared = dict(sorted(state.shared.items()))
    ids = tuple(shared)
    relayed: dict[int, list[m.RelayedShares]] = {client: [] for client in ids}
    for dealer, message in shared.items():
        for entry in message.dealt:
            if entry.holder in relayed and entry.holder != dealer:
                hashes = (entry.self_mask_share_hash, entry.mask_key_share_hash)
                relayed[entry.holder].append(
                    m.RelayedShares(dealer, message.self_mask_hash, entry.sealed, *hashes, entry.signature)
                )
    following = states.CollectMaskedInput(state.terms, state.session, state.advertised, shared, {})
    outbound = []
    for client in ids:
        request = m.MaskedInputRequest(ids, tuple(relayed[client]), state.terms.model_hash)
        outbound.append((client, m.CODEC.encode(state.session, request)))
    return ServerStep(following, tuple(outbound))
