"""Cipher suites: a registry of primitives, and the one function through which every key and hash is derived.

A suite is a row: code point, name, primitives. Code points from 0xFF00 on are for tests and are refused by
``LocalPolicy`` unless named there. Every derivation and every hash carries the protocol label, the suite's code point
and its usage in front of its context, encoded as the MessagePack array [label, code point, usage, [context ...]]: an
unambiguous, length-prefixed encoding, so no two different contexts give the same bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import msgspec

from protocols.entropy import Entropy
from protocols.errors import ParameterError
from protocols.primitives import key_agreement, signing
from protocols.primitives.kdf import hkdf_sha256
from protocols.secret import Secret

LABEL = "secagg-v1"

Context = bytes | int | str | tuple["Context", ...]
"""What a derivation may be bound to: MessagePack gives each of these exactly one encoding."""


class PrivateKey(Protocol):
    """A loaded key-agreement secret.

    Two parties agree as initiator and responder; the initiator's *offer* travels with its ``ShareKeys``. Diffie-Hellman
    needs none. A KEM puts its ciphertext there, and under the encapsulated key a secret that the initiator derives from
    its own 32 bytes and the responder's public key: so whoever reconstructs the initiator's secret finds it again.
    """

    def public_key(self) -> bytes:
        """Return the public key that belongs to it."""
        ...

    def offer(self, public: bytes, entropy: Entropy) -> bytes:
        """Return what the owner of ``public`` needs to agree with this initiator."""
        ...

    def initiated(self, public: bytes) -> bytes:
        """Return the secret shared as initiator, refusing unusable keys (``AgreementError``)."""
        ...

    def responded(self, public: bytes, offer: bytes) -> bytes:
        """Return the secret shared as responder, refusing unusable keys and offers (``AgreementError``)."""
        ...


class KeyAgreement(Protocol):
    """Key agreement between two parties that know each other's public keys.

    Attributes:
        secret_bytes: length of a secret; secrets are Shamir-shared, so at most 32.
        public_bytes: length of a public key.
        offer_bytes: length of an offer.
    """

    secret_bytes: int
    public_bytes: int
    offer_bytes: int

    def load(self, secret: bytes) -> PrivateKey:
        """Load a secret of ``secret_bytes`` bytes."""
        ...


class X25519:
    """RFC 7748."""

    secret_bytes = key_agreement.SECRET_BYTES
    public_bytes = key_agreement.PUBLIC_BYTES
    offer_bytes = 0

    def load(self, secret: bytes) -> PrivateKey:
        """Load a 32-byte secret."""
        return key_agreement.PrivateKey(secret)


@dataclass(frozen=True)
class Suite:
    """One row of the registry: X25519-like agreement, Ed25519, HKDF-SHA256, AES-256-GCM, AES-256-CTR."""

    code: int
    name: str
    agreement: KeyAgreement

    def hash(self, usage: str, *context: Context) -> bytes:
        """Return the 32-byte SHA-256 hash of ``context`` for ``usage``."""
        return hashlib.sha256(self._encode(usage, context)).digest()

    def derive(self, secret: bytes, usage: str, *context: Context) -> bytes:
        """Derive a 32-byte key from ``secret`` by HKDF without salt; usage and context are its info."""
        return hkdf_sha256(secret, info=self._encode(usage, context))

    def statement(self, usage: str, *context: Context) -> bytes:
        """Return the bytes that a signature of ``usage`` covers: usage and context with "sign " before the usage."""
        return self._encode("sign " + usage, context)

    def key_pair(self, entropy: Entropy, label: str) -> tuple[Secret, bytes]:
        """Draw a fresh key-agreement pair: (secret, public key)."""
        secret = entropy.take(self.agreement.secret_bytes, label)
        return Secret(secret), self.agreement.load(secret).public_key()

    def sign(self, secret: Secret, usage: str, *context: Context) -> bytes:
        """Sign ``context`` for ``usage`` with a long-term identity."""
        return signing.sign(secret.reveal(), self.statement(usage, *context))

    def verify(self, public: bytes, signature: bytes, usage: str, *context: Context) -> bool:
        """Tell whether ``signature`` covers ``context`` for ``usage``."""
        return signing.verify(public, self.statement(usage, *context), signature)

    def _encode(self, usage: str, context: tuple[Context, ...]) -> bytes:
        return msgspec.msgpack.encode((LABEL, self.code, usage, context))


CLASSICAL = Suite(0x0001, "X25519-Ed25519-HKDFSHA256-AES256GCM-AES256CTR", X25519())
"""The default suite. A quantum computer that reads a recorded round breaks it (see SECURITY.md)."""

_REGISTRY: dict[int, Suite] = {CLASSICAL.code: CLASSICAL}


def suite(code: int) -> Suite:
    """Look a suite up by its code point.

    Raises:
        ParameterError: no such suite.
    """
    try:
        return _REGISTRY[code]
    except KeyError:
        known = ", ".join(f"{known:#06x} ({row.name})" for known, row in sorted(_REGISTRY.items()))
        raise ParameterError(f"unknown cipher suite {code:#06x}; known are {known}") from None
