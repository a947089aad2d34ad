"""Randomness is an argument.

Every protocol step that draws randomness takes an ``Entropy``. Only ``SystemEntropy`` touches the operating system;
seeded sources live in the tests and carry ``Insecure`` in their names.
"""

from __future__ import annotations

import os
from typing import Protocol


class Entropy(Protocol):
    """A source of uniformly random bytes."""

    def take(self, n: int, label: str) -> bytes:
        """Return ``n`` fresh uniform bytes; ``label`` names their use, for vectors and tests only."""
        ...


class SystemEntropy:
    """The operating system's cryptographic generator (``os.urandom``)."""

    def take(self, n: int, label: str) -> bytes:
        """Return ``n`` bytes from the operating system; the label is not used."""
        del label
        return os.urandom(n)
