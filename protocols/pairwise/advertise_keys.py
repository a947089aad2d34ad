"""Round 0, AdvertiseKeys: two fresh public keys from everybody (Bonawitz et al. 2017, figure 4)."""

from __future__ import annotations

import msgspec

from protocols.entropy import Entropy
from protocols.errors import ParameterError
from protocols.pairwise import messages as m
from protocols.pairwise import states
from protocols.pairwise import validation as check
from protocols.pairwise.graph import GraphSpec
from protocols.pairwise.params import LocalPolicy, RoundParams
from protocols.pairwise.steps import ClientStep, ServerStep, to_all
from protocols.primitives import signing
from protocols.secret import Secret


def client_start(
    params: RoundParams, policy: LocalPolicy, client: int, entropy: Entropy, identity: Secret | None = None
) -> ClientStep:
    """Judge the proposed round by the local policy and advertise two fresh public keys.

    Args:
        params: the round that the server proposes.
        policy: what this client insists on.
        client: this client's id.
        entropy: source of the two key pairs.
        identity: 32-byte Ed25519 secret of the roster identity; needed in an active round.

    Raises:
        RemoteProtocolError: rules C1 to C9 and C30.
        ParameterError: an active round without the identity that the roster names for this client.
    """
    check.check_params(params, policy, client)
    if params.adversary == "active":
        key = policy.roster.key(client) if policy.roster is not None else None
        if identity is None or signing.public_key(identity.reveal()) != key:
            raise ParameterError(f"client {client} needs the identity secret that belongs to its key on the roster")
    me = states.Self(client, params, policy, identity if params.adversary == "active" else None)
    enc_secret, enc_key = params.cipher_suite.key_pair(entropy, "enc-key")
    mask_secret, mask_key = params.cipher_suite.key_pair(entropy, "mask-key")
    part = Secret(entropy.take(32, "joint-randomness") if params.commits else b"")
    commitment = check.part_commitment(params, client, part.reveal()) if params.commits else b""
    signature = me.sign("advertise-keys", params.hash(), client, enc_key, mask_key, commitment)
    advertised = m.AdvertiseKeys(enc_key, mask_key, commitment, signature)
    kind = states.ExpectRevealRandomnessRequest if params.sparse else states.ExpectShareKeysRequest
    state = kind(me, enc_secret, mask_secret, part, advertised)
    return ClientStep(state, (m.CODEC.encode(params.hash(), advertised),))


def server_collect(state: states.CollectAdvertiseKeys, client: int, message: m.AdvertiseKeys) -> ServerStep:
    """Take one client's keys."""
    if client in state.advertised:
        check.check_same_again(state.advertised[client], message, client)
        return ServerStep(state)
    known = {key for keys in state.advertised.values() for key in (keys.enc_key, keys.mask_key)}
    check.check_advertised_keys(state.terms.params, state.terms.roster, client, message, known)
    return ServerStep(msgspec.structs.replace(state, advertised={**state.advertised, client: message}))


def server_end(state: states.CollectAdvertiseKeys) -> ServerStep:
    """Publish the directory U1."""
    terms, params = state.terms, state.terms.params
    advertised = dict(sorted(state.advertised.items()))
    directory = tuple(
        m.AdvertisedKeys(client, keys.enc_key, keys.mask_key, keys.commitment, keys.signature)
        for client, keys in advertised.items()
    )
    session = session_id(params, directory)
    following: states.ServerState
    request: m.ShareKeysRequest | m.RevealRandomnessRequest
    if params.sparse:
        following = states.CollectRevealRandomness(terms, session, advertised, {})
        request = m.RevealRandomnessRequest(directory)
    else:
        graph = GraphSpec(tuple(advertised), 0, b"")
        following = states.CollectShareKeys(terms, session, graph, b"", advertised, {})
        request = m.ShareKeysRequest(directory)
    frame = m.CODEC.encode(params.hash(), request)
    return ServerStep(following, to_all(tuple(advertised), frame))


def session_id(params: RoundParams, directory: tuple[m.AdvertisedKeys, ...]) -> bytes:
    """Hash the parameters and the complete ordered key list; every client recomputes it.

    An entry is (client, enc_key, mask_key, commitment, signature).
    """
    entries = tuple((e.client, e.enc_key, e.mask_key, e.commitment, e.signature) for e in directory)
    return params.cipher_suite.hash("session", params.hash(), entries)


def check_directory(me: states.Self, advertised: m.AdvertiseKeys, directory: tuple[m.AdvertisedKeys, ...]) -> bytes:
    """Check the key directory by rules C10 to C14 and return the session id that it makes."""
    check.check_directory_ids(me.params, directory)
    check.check_own_entry(directory, me.client, advertised)
    check.check_directory_size(me.params, me.policy, directory)
    check.check_directory_keys(me.params, directory)
    check.check_directory_signatures(me.params, me.policy, directory, me.client)
    return session_id(me.params, directory)
