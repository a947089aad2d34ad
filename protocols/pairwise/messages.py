"""The wire messages, in the order in which they are sent (Bonawitz et al. 2017, figure 4).

Requests go from the server to a client, the plain names from a client to the server. Ids in lists ascend strictly.
Signatures have 64 bytes in a round with a roster and 0 bytes in a round without (the round decides, not the peer).
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import msgspec

from protocols.pairwise.params import CHUNK_ELEMENTS, MAX_CLIENTS, ClientId, RoundParams
from protocols.primitives import aead, merkle, shamir, signing
from protocols.wire import Bytes32, Codec, Message

Signature = Annotated[bytes, msgspec.Meta(max_length=signing.SIGNATURE_BYTES)]
PublicKey = Annotated[bytes, msgspec.Meta(max_length=4096)]
Offers = Annotated[bytes, msgspec.Meta(max_length=8192)]
Part = Annotated[bytes, msgspec.Meta(max_length=32)]
Element = Annotated[bytes, msgspec.Meta(min_length=shamir.ELEMENT_BYTES, max_length=shamir.ELEMENT_BYTES)]

NoiseShares = Annotated[bytes, msgspec.Meta(max_length=shamir.ELEMENT_BYTES * MAX_CLIENTS)]
"""One element for each removable component of noise, one behind the other; the round decides how many."""

Commitment = Annotated[bytes, msgspec.Meta(max_length=32)]
"""32 bytes, or empty in a round without what it commits to (the round decides)."""


def most_sealed(components: int) -> int:
    """Bound the bytes of a sealed ``SharePair``: its elements, two ids and their MessagePack headers."""
    return aead.OVERHEAD_BYTES + 88 + shamir.ELEMENT_BYTES * components


Sealed = Annotated[bytes, msgspec.Meta(max_length=most_sealed(MAX_CLIENTS))]
"""A sealed ``SharePair``; its length follows from the round."""


class Phase(Enum):
    """The phases of the paper, by the client message that each collects."""

    ADVERTISE_KEYS = "advertise-keys"
    REVEAL_RANDOMNESS = "reveal-randomness"
    SHARE_KEYS = "share-keys"
    MASKED_INPUT = "masked-input"
    CONSISTENCY_CHECK = "consistency-check"
    UNMASKING = "unmasking"


class AdvertiseKeys(Message, frozen=True):
    """Round 0, client: two fresh public keys, signed by the long-term identity in a round with a roster.

    ``commitment`` hides this client's part of the joint seed; it is empty in a round without one.
    """

    enc_key: PublicKey
    mask_key: PublicKey
    commitment: Part
    signature: Signature


class AdvertisedKeys(Message, frozen=True):
    """One entry of the key directory."""

    client: ClientId
    enc_key: PublicKey
    mask_key: PublicKey
    commitment: Part
    signature: Signature


class RevealRandomnessRequest(Message, frozen=True):
    """Server, sparse graph only: the complete directory U1; its hash is the session id."""

    directory: Annotated[tuple[AdvertisedKeys, ...], msgspec.Meta(max_length=MAX_CLIENTS)]


class RevealRandomness(Message, frozen=True):
    """Client, sparse graph only: its part of the joint seed."""

    part: Bytes32


class RevealedPart(Message, frozen=True):
    """One client's part of the joint seed."""

    client: ClientId
    part: Bytes32


class NeighboursRequest(Message, frozen=True):
    """Round 1, server, sparse graph only: all parts of the joint seed, from which follows who is whose neighbour."""

    parts: Annotated[tuple[RevealedPart, ...], msgspec.Meta(max_length=MAX_CLIENTS)]


class ShareKeysRequest(Message, frozen=True):
    """Round 1, server, complete graph: the complete directory U1; its hash is the session id."""

    directory: Annotated[tuple[AdvertisedKeys, ...], msgspec.Meta(max_length=MAX_CLIENTS)]


class SharePair(Message, frozen=True):
    """Plaintext of a sealed share: who gave it to whom, one share of each secret, and of each link of the noise."""

    dealer: ClientId
    holder: ClientId
    self_mask_share: Element
    mask_key_share: Element
    noise_shares: NoiseShares


class DealtShares(Message, frozen=True):
    """What a dealer publishes for one holder: the sealed pair (empty for itself) and hashes of the shares in it.

    ``offers`` is the dealer's offer for its share channel, followed by the one for the pairwise mask if its id is the
    lower one; empty in suites that need none. ``noise_shares_root`` is the root of the hash tree over the shares of all
    links of the noise: of one holder's shares no more than one is ever shown.
    """

    holder: ClientId
    offers: Offers
    sealed: Sealed
    self_mask_share_hash: Bytes32
    mask_key_share_hash: Bytes32
    noise_shares_root: Commitment
    signature: Signature

    @property
    def hashes(self) -> tuple[bytes, bytes, bytes]:
        """The hashes of the shares: (self mask, mask key, noise)."""
        return self.self_mask_share_hash, self.mask_key_share_hash, self.noise_shares_root


class ShareKeys(Message, frozen=True):
    """Round 1, client: a hash of the self-mask seed, and a share of every secret for every neighbour and itself.

    ``part`` reveals this client's part of the joint seed, in a complete graph that makes one; else it is empty.
    ``noise_commitment`` is the end of its chain of noise seeds, in a round with removable noise; else it is empty.
    """

    part: Part
    self_mask_hash: Bytes32
    noise_commitment: Commitment
    dealt: Annotated[tuple[DealtShares, ...], msgspec.Meta(max_length=MAX_CLIENTS)]

    @property
    def commitments(self) -> tuple[bytes, bytes]:
        """What the dealer published of its secrets: (hash of the self-mask seed, end of the chain of its noise)."""
        return self.self_mask_hash, self.noise_commitment


class RelayedShares(Message, frozen=True):
    """A dealer's entry for this client, as the server passes it on."""

    dealer: ClientId
    self_mask_hash: Bytes32
    noise_commitment: Commitment
    offers: Offers
    sealed: Sealed
    self_mask_share_hash: Bytes32
    mask_key_share_hash: Bytes32
    noise_shares_root: Commitment
    signature: Signature

    @property
    def commitments(self) -> tuple[bytes, bytes]:
        """What the dealer published of its secrets: (hash of the self-mask seed, end of the chain of its noise)."""
        return self.self_mask_hash, self.noise_commitment

    @property
    def hashes(self) -> tuple[bytes, bytes, bytes]:
        """The hashes of the shares: (self mask, mask key, noise)."""
        return self.self_mask_share_hash, self.mask_key_share_hash, self.noise_shares_root


class MaskedInputRequest(Message, frozen=True):
    """Round 2, server: who shared keys (U2), the shares meant for this client, and the model being trained.

    ``parts`` completes the joint seed in a complete graph that makes one; else it is empty.
    """

    shared: Annotated[tuple[ClientId, ...], msgspec.Meta(max_length=MAX_CLIENTS)]
    relayed: Annotated[tuple[RelayedShares, ...], msgspec.Meta(max_length=MAX_CLIENTS)]
    parts: Annotated[tuple[RevealedPart, ...], msgspec.Meta(max_length=MAX_CLIENTS)]
    model_hash: Bytes32


class MaskedInput(Message, frozen=True):
    """Round 2, client: one chunk of one masked vector, bit-packed (the paper's y_u).

    The paper leaves it unsigned; in a round with a roster it is signed, so that nobody on the way can change a sum.
    """

    vector: Annotated[int, msgspec.Meta(ge=0)]
    offset: Annotated[int, msgspec.Meta(ge=0)]
    payload: bytes
    signature: Signature


class ConsistencyCheckRequest(Message, frozen=True):
    """Round 3, server, active adversary only: the survivors U3."""

    survivors: Annotated[tuple[ClientId, ...], msgspec.Meta(max_length=MAX_CLIENTS)]


class ConsistencyCheck(Message, frozen=True):
    """Round 3, client: its signature on (session, model, survivors)."""

    signature: Signature


class SurvivorSignature(Message, frozen=True):
    """One client's signature on the survivor list."""

    client: ClientId
    signature: Signature


class UnmaskingRequest(Message, frozen=True):
    """Round 4, server: survivors U3 and dropped U2 - U3; with a roster, the signatures of U4 on the survivors."""

    survivors: Annotated[tuple[ClientId, ...], msgspec.Meta(max_length=MAX_CLIENTS)]
    dropped: Annotated[tuple[ClientId, ...], msgspec.Meta(max_length=MAX_CLIENTS)]
    signatures: Annotated[tuple[SurvivorSignature, ...], msgspec.Meta(max_length=MAX_CLIENTS)]


class RevealedShare(Message, frozen=True):
    """One share of one dealer; the list it stands in says which secret, and no dealer stands in both."""

    dealer: ClientId
    share: Element


class RevealedNoise(Message, frozen=True):
    """One share of the one link of a survivor's noise that is opened, and its path to the published root."""

    dealer: ClientId
    share: Element
    path: Annotated[bytes, msgspec.Meta(max_length=merkle.HASH_BYTES * (MAX_CLIENTS - 1).bit_length())]


class Unmasking(Message, frozen=True):
    """Round 4, client: shares of the self-mask seeds of survivors and of the mask keys of the dropped.

    ``noise_shares`` is of survivors, too: empty if no noise is to be removed.
    """

    self_mask_shares: Annotated[tuple[RevealedShare, ...], msgspec.Meta(max_length=MAX_CLIENTS)]
    mask_key_shares: Annotated[tuple[RevealedShare, ...], msgspec.Meta(max_length=MAX_CLIENTS)]
    noise_shares: Annotated[tuple[RevealedNoise, ...], msgspec.Meta(max_length=MAX_CLIENTS)]


class Abort(Message, frozen=True):
    """Server: the round is over without a result."""

    reason: Annotated[str, msgspec.Meta(max_length=256)]


CODEC = Codec(
    {
        1: AdvertiseKeys,
        2: ShareKeysRequest,
        3: ShareKeys,
        4: MaskedInputRequest,
        5: MaskedInput,
        6: ConsistencyCheckRequest,
        7: ConsistencyCheck,
        8: UnmaskingRequest,
        9: Unmasking,
        10: RevealRandomnessRequest,
        11: RevealRandomness,
        12: NeighboursRequest,
        15: Abort,
    }
)


def limits_at_server(params: RoundParams) -> dict[type[Message], int]:
    """Return the largest acceptable body, in bytes, of every message a server receives in this round."""
    holders, agreement = params.most_holders, params.cipher_suite.agreement
    path = merkle.HASH_BYTES * params.noise_components.bit_length()
    chunk = max(min(vector.length, CHUNK_ELEMENTS) * vector.bits for vector in params.vectors)
    return {
        AdvertiseKeys: 192 + 2 * agreement.public_bytes,
        RevealRandomness: 64,
        ShareKeys: 192 + holders * (448 + 2 * agreement.offer_bytes + shamir.ELEMENT_BYTES * params.noise_components),
        MaskedInput: 128 + chunk // 8,
        ConsistencyCheck: 128,
        Unmasking: 64 + holders * (128 + path),
    }


def limits_at_client(params: RoundParams) -> dict[type[Message], int]:
    """Return the largest acceptable body, in bytes, of every message a client receives in this round."""
    clients, agreement = len(params.clients), params.cipher_suite.agreement
    relayed = 512 + 2 * agreement.offer_bytes + shamir.ELEMENT_BYTES * params.noise_components
    directory = 64 + clients * (128 + 2 * agreement.public_bytes)
    return {
        ShareKeysRequest: directory,
        RevealRandomnessRequest: directory,
        NeighboursRequest: 64 + clients * 48,
        MaskedInputRequest: 128 + clients * 48 + params.most_holders * relayed,
        ConsistencyCheckRequest: 64 + clients * 4,
        UnmaskingRequest: 64 + clients * 96,
        Abort: 2048,
    }
