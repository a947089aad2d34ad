"""X25519 key agreement (RFC 7748) with the contributory check of its section 6.1."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

SECRET_BYTES = 32
PUBLIC_BYTES = 32


class AgreementError(ValueError):
    """The public key is of low order: the shared secret would be known to everybody."""


def public_key(secret: bytes) -> bytes:
    """Return the 32-byte public key of a 32-byte secret."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def agree(secret: bytes, public: bytes) -> bytes:
    """Return the 32-byte shared secret.

    Raises:
        AgreementError: the result is all zero (RFC 7748, section 6.1), so ``public`` has low order.
    """
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise AgreementError("public key of low order") from None
