"""The states of both machines, named after what they wait for, and the tables of legal transitions.

A state is an immutable value and holds only what later phases need: a secret disappears from the machine when its
state is left. States never cross the wire; ``snapshot`` encodes them for the owner's own disk.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import msgspec

from protocols.errors import LocalProtocolError
from protocols.pairwise import messages as m
from protocols.pairwise.graph import GraphSpec
from protocols.pairwise.params import LocalPolicy, Roster, RoundParams, decode_field, encode_field
from protocols.secret import Secret
from protocols.suites import Context


class State(msgspec.Struct, frozen=True, tag=True):
    """Base of all states."""


# -- client --------------------------------------------------------------------------------------------------------


class Self(msgspec.Struct, frozen=True):
    """Who a client is and what it agreed to, the same in all its states."""

    client: int
    params: RoundParams
    policy: LocalPolicy
    identity: Secret | None

    def sign(self, usage: str, *statement: Context) -> bytes:
        """Sign with the long-term identity; the empty signature where the round has no identities."""
        if self.identity is None:
            return b""
        return self.params.cipher_suite.sign(self.identity, usage, *statement)


class ExpectShareKeysRequest(State, frozen=True):
    """Keys were advertised (complete graph). ``part`` is this client's part of the joint seed, or empty."""

    me: Self
    enc_secret: Secret
    mask_secret: Secret
    part: Secret
    advertised: m.AdvertiseKeys


class ExpectRevealRandomnessRequest(State, frozen=True):
    """Keys were advertised (sparse graph)."""

    me: Self
    enc_secret: Secret
    mask_secret: Secret
    part: Secret
    advertised: m.AdvertiseKeys


class ExpectNeighboursRequest(State, frozen=True):
    """The part of the joint seed was revealed.

    ``directory`` is the server's frame, read again once the graph is known: neighbours are few, members many.
    """

    me: Self
    session: bytes
    enc_secret: Secret
    mask_secret: Secret
    directory: bytes


class ExpectMaskedInputRequest(State, frozen=True):
    """Shares were dealt; ``own_share`` stays here. ``noise_link`` is the first link of this client's noise, or empty.

    ``channel_keys`` open what each neighbour sends; in a suite with offers they wait for the neighbours' offers.
    ``commitments`` waits for the parts of a joint seed that a complete graph reveals only now.
    """

    me: Self
    session: bytes
    graph: GraphSpec
    joint_seed: bytes
    commitments: dict[int, bytes]
    enc_secret: Secret
    mask_secret: Secret
    self_mask_seed: Secret
    noise_link: Secret
    own_share: Secret
    neighbours: dict[int, m.AdvertisedKeys]
    channel_keys: dict[int, Secret]


class ExpectInput(State, frozen=True):
    """Everything is agreed; the caller hands in its vectors. ``next_stretch`` is (vector, offset).

    ``held_shares`` has, by dealer, a share of its self-mask seed, of its mask key, of each link of its noise, in a row.
    """

    me: Self
    session: bytes
    graph: GraphSpec
    joint_seed: bytes
    shared: tuple[int, ...]
    model_hash: bytes
    self_mask_seed: Secret
    noise_link: Secret
    pairwise_seeds: dict[int, Secret]
    held_shares: dict[int, Secret]
    next_stretch: tuple[int, int]


class ExpectConsistencyCheckRequest(State, frozen=True):
    """The whole masked input was handed out (active adversary only)."""

    me: Self
    session: bytes
    graph: GraphSpec
    shared: tuple[int, ...]
    model_hash: bytes
    held_shares: dict[int, Secret]


class ExpectUnmaskingRequest(State, frozen=True):
    """Waiting for the one unmasking question; ``signed`` is the survivor list signed before, in an active round."""

    me: Self
    session: bytes
    graph: GraphSpec
    shared: tuple[int, ...]
    model_hash: bytes
    held_shares: dict[int, Secret]
    signed: tuple[int, ...] | None


class Completed(State, frozen=True):
    """The client answered; it holds no secret any more."""

    survivors: tuple[int, ...]


class Aborted(State, frozen=True):
    """The round ended without this machine's result; no secret is held."""

    reason: str


ClientState = (
    ExpectShareKeysRequest
    | ExpectRevealRandomnessRequest
    | ExpectNeighboursRequest
    | ExpectMaskedInputRequest
    | ExpectInput
    | ExpectConsistencyCheckRequest
    | ExpectUnmaskingRequest
    | Completed
    | Aborted
)

CLIENT_TRANSITIONS: dict[tuple[type[State], type], tuple[type[State], ...]] = {
    (ExpectShareKeysRequest, m.ShareKeysRequest): (ExpectMaskedInputRequest,),
    (ExpectRevealRandomnessRequest, m.RevealRandomnessRequest): (ExpectNeighboursRequest,),
    (ExpectNeighboursRequest, m.NeighboursRequest): (ExpectMaskedInputRequest,),
    (ExpectMaskedInputRequest, m.MaskedInputRequest): (ExpectInput,),
    (ExpectInput, m.MaskedInput): (ExpectInput, ExpectConsistencyCheckRequest, ExpectUnmaskingRequest),
    (ExpectConsistencyCheckRequest, m.ConsistencyCheckRequest): (ExpectUnmaskingRequest,),
    (ExpectUnmaskingRequest, m.UnmaskingRequest): (Completed,),
    (ExpectShareKeysRequest, m.Abort): (Aborted,),
    (ExpectRevealRandomnessRequest, m.Abort): (Aborted,),
    (ExpectNeighboursRequest, m.Abort): (Aborted,),
    (ExpectMaskedInputRequest, m.Abort): (Aborted,),
    (ExpectInput, m.Abort): (Aborted,),
    (ExpectConsistencyCheckRequest, m.Abort): (Aborted,),
    (ExpectUnmaskingRequest, m.Abort): (Aborted,),
}
"""Every legal (state, message) pair of a client and the states it may lead to. ``MaskedInput`` is the caller's own."""


# -- server --------------------------------------------------------------------------------------------------------


class Terms(msgspec.Struct, frozen=True):
    """What the server was set up with, the same in all its states."""

    params: RoundParams
    roster: Roster | None
    model_hash: bytes


class CollectAdvertiseKeys(State, frozen=True):
    """Round 0."""

    terms: Terms
    advertised: dict[int, m.AdvertiseKeys]


class CollectRevealRandomness(State, frozen=True):
    """Sparse graph only: everybody in U1 must reveal its part of the joint seed."""

    terms: Terms
    session: bytes
    advertised: dict[int, m.AdvertiseKeys]
    parts: dict[int, bytes]


class Dealing(msgspec.Struct, frozen=True):
    """What the server keeps of one dealer's ``ShareKeys``, packed, since there are n k of its entries in a round.

    Attributes:
        digest: SHA-256 of the message.
        part: the dealer's part of the joint seed, or empty.
        self_mask_hash: hash of its self-mask seed.
        noise_commitment: the end of its chain of noise links, or empty.
        hashes: per holder, ascending, the hashes of its shares as ``DealtShares.hashes`` has them: 64 or 96 bytes.
        offers: the offers to each holder, ascending; empty in a suite without offers.
    """

    digest: bytes
    part: bytes
    self_mask_hash: bytes
    noise_commitment: bytes
    hashes: bytes
    offers: tuple[bytes, ...]


class CollectShareKeys(State, frozen=True):
    """Round 1."""

    terms: Terms
    session: bytes
    graph: GraphSpec
    joint_seed: bytes
    advertised: dict[int, m.AdvertiseKeys]
    shared: dict[int, Dealing]


class CollectMaskedInput(State, frozen=True):
    """Round 2; ``received`` holds the hashes of each client's chunks so far."""

    terms: Terms
    session: bytes
    graph: GraphSpec
    joint_seed: bytes
    advertised: dict[int, m.AdvertiseKeys]
    shared: dict[int, Dealing]
    received: dict[int, tuple[bytes, ...]]


class CollectConsistencyCheck(State, frozen=True):
    """Round 3, active adversary only."""

    terms: Terms
    session: bytes
    graph: GraphSpec
    joint_seed: bytes
    advertised: dict[int, m.AdvertiseKeys]
    shared: dict[int, Dealing]
    survivors: tuple[int, ...]
    signatures: dict[int, bytes]


class CollectUnmasking(State, frozen=True):
    """Round 4; ``answers`` holds each client's shares in a row: in the order of ``dealers``, then those of noise."""

    terms: Terms
    session: bytes
    graph: GraphSpec
    joint_seed: bytes
    advertised: dict[int, m.AdvertiseKeys]
    shared: dict[int, Dealing]
    survivors: tuple[int, ...]
    asked: tuple[int, ...]
    answers: dict[int, bytes]

    @property
    def dropped(self) -> tuple[int, ...]:
        """U2 - U3, ascending."""
        return tuple(sorted(set(self.shared) - set(self.survivors)))

    def dealers(self, holder: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return (survivors, dropped) whose shares ``holder`` has: its neighbours and itself, ascending."""
        near = set(self.graph.build().holders(holder))
        return tuple(d for d in self.survivors if d in near), tuple(d for d in self.dropped if d in near)

    def published(self, dealer: int, holder: int) -> tuple[bytes, bytes, bytes]:
        """Return what ``dealer`` published for ``holder``: hashes of (self-mask, mask-key, noise) shares."""
        size = 96 if self.terms.params.noise_components else 64
        place = size * bisect_left(self.graph.build().holders(dealer), holder)
        hashes = self.shared[dealer].hashes[place : place + size]
        return hashes[:32], hashes[32:64], hashes[64:]

    def mask_offer(self, dealer: int, holder: int) -> bytes:
        """Return the offer that ``dealer`` made ``holder`` for their pairwise mask."""
        one = self.terms.params.cipher_suite.agreement.offer_bytes
        if not one:
            return b""
        return self.shared[dealer].offers[bisect_left(self.graph.build().holders(dealer), holder)][one:]


class Opened(State, frozen=True):
    """All secrets needed are known: ``self_masks`` of survivors and the pairwise seeds left in the sum.

    ``joint_seed`` is the 32-byte seed that the clients made together, or empty.
    ``pairwise`` lists (surviving client, dropped neighbour, seed).
    ``noise_links`` has of every survivor the first link of its noise that comes off; empty if all of it stays.
    """

    terms: Terms
    session: bytes
    joint_seed: bytes
    survivors: tuple[int, ...]
    dropped: tuple[int, ...]
    self_masks: dict[int, Secret]
    pairwise: tuple[tuple[int, int, Secret], ...]
    noise_links: dict[int, Secret]


ServerState = (
    CollectAdvertiseKeys
    | CollectRevealRandomness
    | CollectShareKeys
    | CollectMaskedInput
    | CollectConsistencyCheck
    | CollectUnmasking
    | Opened
    | Aborted
)

SERVER_TRANSITIONS: dict[tuple[type[State], type], tuple[type[State], ...]] = {
    (CollectAdvertiseKeys, m.AdvertiseKeys): (CollectAdvertiseKeys,),
    (CollectRevealRandomness, m.RevealRandomness): (CollectRevealRandomness,),
    (CollectShareKeys, m.ShareKeys): (CollectShareKeys,),
    (CollectMaskedInput, m.MaskedInput): (CollectMaskedInput,),
    (CollectConsistencyCheck, m.ConsistencyCheck): (CollectConsistencyCheck,),
    (CollectUnmasking, m.Unmasking): (CollectUnmasking,),
}
"""Every message that a server state collects."""

SERVER_ADVANCES: dict[type[State], tuple[type[State], ...]] = {
    CollectAdvertiseKeys: (CollectShareKeys, CollectRevealRandomness),
    CollectRevealRandomness: (CollectShareKeys,),
    CollectShareKeys: (CollectMaskedInput,),
    CollectMaskedInput: (CollectConsistencyCheck, CollectUnmasking),
    CollectConsistencyCheck: (CollectUnmasking,),
    CollectUnmasking: (Opened,),
}
"""Where the caller's ``advance`` leads from each state."""


# -- snapshots -----------------------------------------------------------------------------------------------------


def _encode_secret(value: Any) -> Any:
    return value.reveal() if isinstance(value, Secret) else encode_field(value)


def _decode_secret(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, bytes):
        return Secret(value)
    return decode_field(kind, value)


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_encode_secret)
_CLIENT_DECODER = msgspec.msgpack.Decoder(ClientState, dec_hook=_decode_secret)
_SERVER_DECODER = msgspec.msgpack.Decoder(ServerState, dec_hook=_decode_secret)


def snapshot(state: ClientState | ServerState) -> bytes:
    """Encode a state for its owner's disk. The bytes hold the round's secrets: keep them where keys are kept."""
    return _ENCODER.encode(state)


def restore_client(data: bytes) -> ClientState:
    """Read back a client's snapshot.

    Raises:
        LocalProtocolError: not a client snapshot of this version.
    """
    return _restore(_CLIENT_DECODER, data)  # type: ignore[no-any-return]


def restore_server(data: bytes) -> ServerState:
    """Read back a server's snapshot.

    Raises:
        LocalProtocolError: not a server snapshot of this version.
    """
    return _restore(_SERVER_DECODER, data)  # type: ignore[no-any-return]


def _restore(decoder: msgspec.msgpack.Decoder[Any], data: bytes) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, NotImplementedError, OverflowError, RecursionError, ValueError):
        raise LocalProtocolError("these bytes are not a snapshot of this machine and version") from None
