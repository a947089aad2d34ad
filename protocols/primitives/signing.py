"""Ed25519 signatures (RFC 8032)."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SECRET_BYTES = 32
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64


_PRIME = 2**255 - 19
_SMALL_ORDER = frozenset(
    {
        0,
        1,
        _PRIME - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)
"""The y coordinates of the eight points whose order divides 8 (the curve is that of RFC 8032, section 5.1)."""


def is_small_order(public: bytes) -> bool:
    """Tell whether a verification key is of small order: anybody can sign for such a key."""
    return (int.from_bytes(public, "little") & ((1 << 255) - 1)) % _PRIME in _SMALL_ORDER


def public_key(secret: bytes) -> bytes:
    """Return the 32-byte verification key of a 32-byte secret."""
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def sign(secret: bytes, message: bytes) -> bytes:
    """Return the 64-byte deterministic signature of ``message``."""
    return Ed25519PrivateKey.from_private_bytes(secret).sign(message)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether ``signature`` is one of ``message`` under ``public``; malformed keys verify nothing."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
