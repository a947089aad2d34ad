"""Round 2, MaskedInputCollection: the vectors, masked, chunk by chunk."""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocols.entropy import Entropy
from protocols.errors import LocalProtocolError
from protocols.pairwise import masking, states
from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.pairwise.params import RoundParams, VectorSpec
from protocols.pairwise.reveal_randomness import joint_seed
from protocols.pairwise.share_keys import associated_data, channel_key
from protocols.pairwise.steps import ChunkAccepted, ClientStep, Event, InputComplete, ServerStep
from protocols.primitives import aead, bitpack, prg, residues
from protocols.secret import Secret
from protocols.wire import check_context


def client_step(
    state: states.ExpectMaskedInputRequest, context: bytes, request: m.MaskedInputRequest, entropy: Entropy
) -> ClientStep:
    """Open the neighbours' shares and agree on the pairwise seeds; nothing is sent until the caller has input."""
    del entropy
    me, cipher = state.me, state.me.params.cipher_suite
    check_context(context, state.session)
    check.check_shared_ids(state.graph.clients, request.shared, me.client)
    check.check_shared_size(me.params, state.graph.clients, request.shared)
    in_round = set(request.shared)
    present = [other for other in state.neighbours if other in in_round]
    check.check_relayed(me.params, me.client, request.relayed, present)
    check.check_parts(me.params, state.commitments, request.parts)
    seed = joint_seed(me.params, state.session, request.parts) if state.commitments else state.joint_seed

    held = {me.client: state.own_share}
    for entry in request.relayed:
        check.check_share_signed(me.params, me.policy, state.session, entry, me.client)
        pair = check.check_share_pair(me.params, _open(state, entry), entry.dealer, me.client)
        check.check_published_share(me.params, state.session, entry, pair)
        held[entry.dealer] = Secret(pair.self_mask_share + pair.mask_key_share + pair.noise_shares)
    mask_key = cipher.agreement.load(state.mask_secret.reveal())
    seeds = {}
    for entry in request.relayed:
        other = entry.dealer
        public, offer = state.neighbours[other].mask_key, entry.offers[cipher.agreement.offer_bytes :]
        if me.client < other:
            agreed = check.check_initiated(mask_key, public, other)
        else:
            agreed = check.check_responded(mask_key, public, offer, other)
        seeds[other] = masking.pairwise_seed(cipher, state.session, agreed, me.client, other)
    following = states.ExpectInput(
        me=me,
        session=state.session,
        graph=state.graph,
        joint_seed=seed,
        shared=request.shared,
        model_hash=request.model_hash,
        self_mask_seed=state.self_mask_seed,
        noise_link=state.noise_link,
        pairwise_seeds=seeds,
        held_shares=held,
        next_stretch=(0, 0),
    )
    return ClientStep(following)


def _open(state: states.ExpectMaskedInputRequest, entry: m.RelayedShares) -> m.SharePair | None:
    """Unseal a dealer's pair, or give ``None`` if it is not one for this client."""
    me, cipher, dealer = state.me, state.me.params.cipher_suite, entry.dealer
    associated = associated_data(cipher, state.session, dealer, me.client)
    key = state.channel_keys.get(dealer)
    if key is None:
        enc_key = cipher.agreement.load(state.enc_secret.reveal())
        offer = entry.offers[: cipher.agreement.offer_bytes]
        agreed = check.check_responded(enc_key, state.neighbours[dealer].enc_key, offer, dealer)
        key = channel_key(cipher, agreed, state.session, dealer, me.client)
    try:
        plain = aead.open_sealed(key.reveal(), entry.sealed, associated)
        return msgspec.msgpack.decode(plain, type=m.SharePair)
    except (aead.OpenError, msgspec.DecodeError):
        return None


def expected_stretch(state: states.ExpectInput) -> tuple[VectorSpec, int, int]:
    """Return (vector, start, stop) of the piece of input that ``client_mask_stretch`` takes next."""
    vector, start = state.next_stretch
    spec = state.me.params.vectors[vector]
    return spec, start, spec.stretch_end(start)


def client_mask_stretch(state: states.ClientState, values: NDArray[np.uint64], model_hash: bytes) -> ClientStep:
    """Mask the next stretch of input and give the frames that carry it, one per chunk.

    Args:
        state: ``ExpectInput``.
        values: ``uint64`` of the length that ``expected_stretch`` tells; reduced
            modulo a power of two, and required to be below any other modulus.
        model_hash: 32-byte hash of the model that this client trained.

    Frames are to be journalled before they are sent: afterwards they are resent byte for byte or never. The machine
    moves on with every stretch, so no range of a mask is ever used twice.

    Raises:
        LocalProtocolError: another state, or values of another type or length.
        RemoteProtocolError: rule C20, the server speaks of another model.
    """
    if not isinstance(state, states.ExpectInput):
        raise LocalProtocolError(f"no input can be taken in {type(state).__name__}")
    check.check_model(state.model_hash, model_hash)
    spec, start, stop = expected_stretch(state)
    if values.dtype != np.uint64 or values.shape != (stop - start,):
        raise LocalProtocolError(
            f"vector {spec.name!r} takes {stop - start} values of uint64 next, not {values.shape} of {values.dtype}"
        )
    if not residues.is_power_of_two(spec.modulus) and int(values.max()) >= spec.modulus:
        raise LocalProtocolError(f"vector {spec.name!r} takes residues below {spec.modulus}")
    masked = prg.aligned_words(len(values))
    masked[:] = values
    client = state.me.client
    terms = [masking.self_mask(client, state.self_mask_seed)]
    terms += [masking.pairwise_mask(client, other, seed) for other, seed in state.pairwise_seeds.items()]
    context = masking.MaskContext(state.me.params.cipher_suite, state.session, model_hash)
    masking.add_masks(masked, spec, start, terms, context)
    chunks = [(low, masked[low - start : spec.chunk_end(low) - start]) for low in spec.chunk_starts(start, stop)]
    frames = tuple(_frame(state, low, bitpack.pack(chunk, spec.bits)) for low, chunk in chunks)
    return ClientStep(_after_stretch(state, stop), frames)


def _frame(state: states.ExpectInput, start: int, payload: bytes) -> bytes:
    """Sign one chunk and put it in a frame."""
    vector = state.next_stretch[0]
    statement = check.chunk_statement(
        state.session, state.model_hash, vector, start, hashlib.sha256(payload).digest() if state.me.identity else b""
    )
    message = m.MaskedInput(vector, start, payload, state.me.sign("masked-input", *statement))
    return m.CODEC.encode(state.session, message)


def _after_stretch(state: states.ExpectInput, stop: int) -> states.ClientState:
    """Move on to the next stretch, or forget the masks and wait for the server's next question."""
    vector = state.next_stretch[0]
    if stop < state.me.params.vectors[vector].length:
        return msgspec.structs.replace(state, next_stretch=(vector, stop))
    if vector + 1 < len(state.me.params.vectors):
        return msgspec.structs.replace(state, next_stretch=(vector + 1, 0))
    kept = (state.me, state.session, state.graph, state.shared, state.model_hash, state.held_shares)
    if state.me.params.adversary == "active":
        return states.ExpectConsistencyCheckRequest(*kept)
    return states.ExpectUnmaskingRequest(*kept, signed=None)


def chunk_plan(params: RoundParams) -> list[tuple[int, int]]:
    """Return (vector, offset) of every chunk of an input, in the order in which they are sent."""
    return [(vector, start) for vector, spec in enumerate(params.vectors) for start in spec.chunk_starts()]


def server_collect(state: states.CollectMaskedInput, client: int, message: m.MaskedInput) -> ServerStep:
    """Take one chunk; the input counts once its last chunk is here."""
    check.check_in_phase(state.shared, client, "MaskedInput")
    plan = chunk_plan(state.terms.params)
    received = state.received.get(client, ())
    digest = hashlib.sha256(message.payload).digest()
    place = (message.vector, message.offset)
    if place in plan[: len(received)]:
        check.check_same_again(received[plan.index(place)], digest, client)
        return ServerStep(state)
    expected = plan[len(received)] if len(received) < len(plan) else None
    terms = state.terms
    check.check_chunk(terms.params.vectors, expected, message, client)
    statement = check.chunk_statement(state.session, terms.model_hash, message.vector, message.offset, digest)
    check.check_chunk_signed(terms.params, terms.roster, client, statement, message.signature)
    following = msgspec.structs.replace(state, received={**state.received, client: (*received, digest)})
    events: tuple[Event, ...] = (ChunkAccepted(client, message.vector, message.offset, message.payload),)
    if len(received) + 1 == len(plan):
        events += (InputComplete(client),)
    return ServerStep(following, events=events)


def complete(state: states.CollectMaskedInput) -> tuple[int, ...]:
    """Return the clients whose whole input is here, ascending (U3 if the phase ended now)."""
    chunks = len(chunk_plan(state.terms.params))
    return tuple(sorted(client for client, received in state.received.items() if len(received) == chunks))
