"""Hashes that two people can read to each other over the telephone: digits only, in any language."""

from __future__ import annotations

import hashlib

GROUPS = 8
DIGITS = 5


def fingerprint(data: bytes) -> str:
    """Return eight groups of five digits (132 bits) of the SHA-256 of ``data``.

    Finding other bytes with the same digits takes 2^132 trials; an attacker who chooses both sides would need 2^66,
    which is why what is compared is a hash of keys that their owners drew themselves.
    """
    number = int.from_bytes(hashlib.sha256(b"secagg fingerprint\0" + data).digest())
    digits = f"{number % 10 ** (GROUPS * DIGITS):0{GROUPS * DIGITS}d}"
    return " ".join(digits[start : start + DIGITS] for start in range(0, len(digits), DIGITS))
