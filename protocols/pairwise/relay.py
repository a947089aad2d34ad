"""Where sealed shares wait to be passed on.

A cohort of n clients with k neighbours each deals n k sealed pairs in one phase, and they are passed on in the next:
by far the most that a server holds besides the sum. The machine checks them; a relay keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Relay(Protocol):
    """Keeps the encoded ``RelayedShares`` of every dealer from ShareKeys until they have been passed on."""

    def store(self, dealer: int, entries: Sequence[bytes]) -> None:
        """Keep a dealer's checked entries, in ascending order of their holders; called once for a dealer."""
        ...

    def entry(self, dealer: int, place: int) -> bytes:
        """Return the entry in this place of what ``dealer`` stored."""
        ...

    def close(self) -> None:
        """Forget everything: the entries were passed on, or the round is over."""
        ...


class MemoryRelay:
    """Entries in memory."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[bytes, ...]] = {}

    def store(self, dealer: int, entries: Sequence[bytes]) -> None:
        """Keep a dealer's entries."""
        self._entries[dealer] = tuple(entries)

    def entry(self, dealer: int, place: int) -> bytes:
        """Return one entry."""
        return self._entries[dealer][place]

    def close(self) -> None:
        """Forget everything."""
        self._entries.clear()
