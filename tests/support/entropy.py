"""Sources of randomness for tests: seeded, scripted, failing. None of them is random."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

PUBLIC_LABELS = frozenset({"aead-nonce"})
"""Labels whose draws travel in clear; every other draw is a secret."""


class InsecureSeededEntropy:
    """Draw number i under a label is SHAKE-256(seed, label, i): what one label gives does not depend on the others.

    Args:
        seed: anything with a distinct ``repr``.

    Attributes:
        records: (label, bytes) of every draw so far, in order.
    """

    def __init__(self, *seed: object) -> None:
        self._seed = repr(seed).encode()
        self._drawn: Counter[str] = Counter()
        self.records: list[tuple[str, bytes]] = []

    def take(self, n: int, label: str) -> bytes:
        text = b"%b|%b|%d" % (self._seed, label.encode(), self._drawn[label])
        self._drawn[label] += 1
        value = hashlib.shake_256(text).digest(n)
        self.records.append((label, value))
        return value

    def drawn(self, label: str) -> list[bytes]:
        """Everything drawn under ``label``, in order."""
        return [value for known, value in self.records if known == label]

    def secrets(self) -> list[bytes]:
        """Every secret drawn so far."""
        return [value for label, value in self.records if label not in PUBLIC_LABELS]


class ScriptedEntropy:
    """Gives out exactly the (label, bytes) of a script, in order, and refuses anything else."""

    def __init__(self, script: Iterable[tuple[str, bytes]]) -> None:
        self._script = list(script)

    def take(self, n: int, label: str) -> bytes:
        if not self._script:
            raise AssertionError(f"{n} bytes for {label!r} were not in the script")
        expected, value = self._script.pop(0)
        if (expected, len(value)) != (label, n):
            raise AssertionError(f"asked for {n} bytes of {label!r}; the script has {len(value)} of {expected!r}")
        return value

    @property
    def exhausted(self) -> bool:
        """Whether the whole script was asked for."""
        return not self._script


class EntropyFailureError(OSError):
    """The operating system has no randomness to give."""


class FailingEntropy:
    """Passes ``draws`` draws on to a seeded source, then fails as the operating system would."""

    def __init__(self, draws: int, *seed: object) -> None:
        self._left = draws
        self._source = InsecureSeededEntropy("failing", *seed)

    def take(self, n: int, label: str) -> bytes:
        if self._left == 0:
            raise EntropyFailureError("no randomness left")
        self._left -= 1
        return self._source.take(n, label)
