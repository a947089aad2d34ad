"""A byte string that does not print, pickle or compare in variable time.

Python cannot promise that memory is wiped; this type promises only that a secret does not leave by accident: not by
``repr``, not by ``pickle`` or ``copy``, not through the wire encoder (which does not know the type).
"""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Redacted holder of secret bytes; ``reveal()`` is the one way out."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """Return the bytes themselves; the caller keeps them out of texts."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return f"Secret({len(self._value)} bytes)"

    def __eq__(self, other: object) -> bool:
        """Compare in constant time; a Secret equals only another Secret."""
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret would be a handle to it

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled or copied; use the machine's snapshot() instead")
