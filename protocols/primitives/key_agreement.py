"""X25519 key agreement (RFC 7748) with the contributory check of its section 6.1."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from protocols.entropy import Entropy

SECRET_BYTES = 32
PUBLIC_BYTES = 32
_PRIME = 2**255 - 19


class AgreementError(ValueError):
    """The public key is of low order (everybody would know the shared secret) or not in its one canonical form."""


class PrivateKey:
    """A loaded X25519 secret: loading costs as much as an exchange, so a client loads each of its keys once.

    Args:
        secret: 32 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(secret)

    def public_key(self) -> bytes:
        """Return the 32-byte public key."""
        return self._key.public_key().public_bytes_raw()

    def offer(self, public: bytes, entropy: Entropy) -> bytes:
        """Return nothing: Diffie-Hellman needs no message beyond the public keys."""
        del public, entropy
        return b""

    def initiated(self, public: bytes) -> bytes:
        """Return the shared secret as initiator, the same as ``agree``."""
        return self.agree(public)

    def responded(self, public: bytes, offer: bytes) -> bytes:
        """Return the shared secret as responder, the same as ``agree``; refuse an offer (``AgreementError``)."""
        if offer:
            raise AgreementError("offer where there is none")
        return self.agree(public)

    def agree(self, public: bytes) -> bytes:
        """Return the 32-byte shared secret with the owner of ``public``.

        Raises:
            AgreementError: the result is all zero (RFC 7748, section 6.1), so ``public`` has low order; or ``public``
                is a second encoding of a key (RFC 7748 reads it as that key), which would pass for a distinct one.
        """
        if int.from_bytes(public, "little") >= _PRIME:
            raise AgreementError("public key not in canonical form")
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            raise AgreementError("public key of low order") from None
