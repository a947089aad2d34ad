"""Receipts: what a site saw of a round and said in it, signed with its identity and chained to its last receipt.

A coordinator's log is the coordinator's word. A receipt is the site's: with it, a site that kept nothing else can later
show which survivors it was told of and what it revealed, and an auditor can compare both words.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec

from protocols.errors import LocalProtocolError
from protocols.pairwise import messages as m
from protocols.pairwise.params import ClientId, RoundParams
from protocols.secret import Secret
from protocols.suites import CLASSICAL, Context
from protocols.wire import Message

Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Signature = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{128})?$")]

NOTHING = "0" * 64
"""Stands for the receipt before the first, and for a result that the site was not told."""

ENCODED, NOISED = "encoded", "noise"
"""What only a site can know, and says: that it clipped and quantized as configured; that it added its noise."""


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One site's word on one round.

    Attributes:
        client: the site.
        study, round_index, attempt: which round.
        params_hash: hash of the parameters that it judged and accepted.
        session: session id, which it computed from the key directory that it was shown.
        model_hash: hash of the model that it trained.
        shared: U2 as it was told.
        survivors: U3 as it was told, when it answered.
        inputs: hash of its own masked input (``input_hash``), or zeros.
        self_masks: of whom it revealed a share of the self-mask seed.
        mask_keys: of whom it revealed a share of the mask key.
        noise: of whom it revealed a share of a link of the noise.
        result: hash of the sum that it was told, or zeros.
        attests: what only the site can know, as words: `ENCODED`, and `NOISED` in a private round.
        previous: hash of its receipt before this one (``receipt_hash``), or zeros.
        signature: by the site's identity, over all of the above; empty in a round without identities.
    """

    client: ClientId
    study: str
    round_index: int
    attempt: int
    params_hash: Hash
    session: Hash
    model_hash: Hash
    shared: tuple[ClientId, ...]
    survivors: tuple[ClientId, ...]
    inputs: Hash
    self_masks: tuple[ClientId, ...]
    mask_keys: tuple[ClientId, ...]
    noise: tuple[ClientId, ...]
    result: Hash
    attests: tuple[str, ...]
    previous: Hash
    signature: Signature


def receipt_statement(receipt: Receipt) -> tuple[Context, ...]:
    """Return what the signature (usage ``"receipt"``) covers: every field before it, hashes as bytes."""
    return (
        receipt.client,
        receipt.study,
        receipt.round_index,
        receipt.attempt,
        *(bytes.fromhex(value) for value in (receipt.params_hash, receipt.session, receipt.model_hash)),
        receipt.shared,
        receipt.survivors,
        bytes.fromhex(receipt.inputs),
        receipt.self_masks,
        receipt.mask_keys,
        receipt.noise,
        bytes.fromhex(receipt.result),
        receipt.attests,
        bytes.fromhex(receipt.previous),
    )


def is_signed(receipt: Receipt, key: bytes) -> bool:
    """Tell whether the owner of the identity ``key`` signed this receipt."""
    return CLASSICAL.verify(key, bytes.fromhex(receipt.signature), "receipt", *receipt_statement(receipt))


def receipt_hash(receipt: Receipt) -> str:
    """Return the hash that the next receipt names: SHA-256 of the receipt's JSON, signature included."""
    return hashlib.sha256(msgspec.json.encode(receipt)).hexdigest()


def input_hash(chunks: tuple[tuple[int, int, str], ...]) -> str:
    """Hash a masked input: (vector, offset, SHA-256 of the payload in hex) of every chunk, in order."""
    return hashlib.sha256(msgspec.json.encode(chunks)).hexdigest()


def read_any(params: RoundParams, frame: bytes) -> tuple[bytes, Message]:
    """Decode a frame of either side: (context, message).

    Raises:
        CodecError: no frame of this round.
    """
    return m.CODEC.decode(frame, {**m.limits_at_server(params), **m.limits_at_client(params)})


class ReceiptKeeper:
    """Watches one site's frames in one round and writes its receipt.

    Hand in only what the site's machine accepted (``received``) and what left the site (``sent``).

    Args:
        params: the round.
        client: the site.
        previous: hash of the site's last receipt in this study, or zeros.
    """

    def __init__(self, params: RoundParams, client: int, previous: str = NOTHING) -> None:
        self._params, self._client, self._previous = params, client, previous
        self._session = self._model_hash = NOTHING
        self._shared: tuple[int, ...] = ()
        self._survivors: tuple[int, ...] = ()
        self._chunks: tuple[tuple[int, int, str], ...] = ()
        self._answer: m.Unmasking | None = None

    def received(self, frame: bytes) -> None:
        """Take note of a frame from the server."""
        context, message = read_any(self._params, frame)
        if isinstance(message, m.MaskedInputRequest):
            self._session, self._model_hash = context.hex(), message.model_hash.hex()
            self._shared = message.shared
        elif isinstance(message, m.UnmaskingRequest):
            self._survivors = message.survivors

    def sent(self, frame: bytes) -> None:
        """Take note of a frame to the server; one that is sent again is noted once."""
        _, message = read_any(self._params, frame)
        if isinstance(message, m.MaskedInput):
            chunk = (message.vector, message.offset, hashlib.sha256(message.payload).hexdigest())
            if chunk not in self._chunks:
                self._chunks += (chunk,)
        elif isinstance(message, m.Unmasking):
            self._answer = message

    @property
    def answered(self) -> bool:
        """Whether the site saw the round through, so that a receipt can be written."""
        return self._answer is not None

    def receipt(self, identity: Secret | None, result: str = NOTHING, attests: tuple[str, ...] = ()) -> Receipt:
        """Return the signed receipt, once the site has answered.

        Args:
            identity: 32-byte Ed25519 secret of the roster identity; ``None`` in a round without identities.
            result: hash of the sum that the site was told (``recorder.result_hash``), in hex.
            attests: see ``Receipt``.

        Raises:
            LocalProtocolError: the site has not answered yet.
        """
        if self._answer is None:
            raise LocalProtocolError("a receipt is written when the site has answered the unmasking")
        params = self._params
        unsigned = Receipt(
            client=self._client,
            study=params.study,
            round_index=params.round_index,
            attempt=params.attempt,
            params_hash=params.hash().hex(),
            session=self._session,
            model_hash=self._model_hash,
            shared=self._shared,
            survivors=self._survivors,
            inputs=input_hash(self._chunks),
            self_masks=tuple(entry.dealer for entry in self._answer.self_mask_shares),
            mask_keys=tuple(entry.dealer for entry in self._answer.mask_key_shares),
            noise=tuple(entry.dealer for entry in self._answer.noise_shares),
            result=result,
            attests=attests,
            previous=self._previous,
            signature="",
        )
        if identity is None:
            return unsigned
        signature = params.cipher_suite.sign(identity, "receipt", *receipt_statement(unsigned))
        return msgspec.structs.replace(unsigned, signature=signature.hex())
