"""HKDF with SHA-256 (RFC 5869)."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def hkdf_sha256(secret: bytes, *, info: bytes, length: int = 32, salt: bytes = b"") -> bytes:
    """Derive ``length`` bytes (at most 8160) from ``secret``, bound to ``info`` (RFC 5869, sections 2.2 and 2.3)."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt or None, info=info).derive(secret)
