"""Authenticated encryption: AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce in front of the ciphertext."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocols.entropy import Entropy

NONCE_BYTES = 12
OVERHEAD_BYTES = NONCE_BYTES + 16
"""Bytes by which a sealed message is longer than its plaintext (nonce and tag)."""


class OpenError(Exception):
    """The ciphertext, its key or its associated data is not the one that was sealed."""


def seal(key: bytes, plaintext: bytes, associated: bytes, entropy: Entropy) -> bytes:
    """Encrypt and authenticate; returns nonce || ciphertext || tag. ``key`` has 32 bytes."""
    nonce = entropy.take(NONCE_BYTES, "aead-nonce")
    return nonce + AESGCM(key).encrypt(nonce, plaintext, associated)


def open_sealed(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """Decrypt what ``seal`` returned.

    Raises:
        OpenError: wrong key or associated data, or changed or truncated bytes.
    """
    if len(sealed) < OVERHEAD_BYTES:
        raise OpenError("sealed message is shorter than its nonce and tag")
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
    except InvalidTag:
        raise OpenError("authentication failed") from None
