"""A hash tree (Merkle 1987): a commitment to a list of which one entry is shown later, without the others.

Neighbours are joined level by level; the last of an odd number goes up as it is. Whoever checks a path knows how long
the list is and which place is shown, so leaves and inner nodes need no marks of their own; a caller whose leaves could
be mistaken for joined pairs gives ``join`` a usage of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

HASH_BYTES = 32

Join = Callable[[bytes, bytes], bytes]
"""Hashes two nodes, each of ``HASH_BYTES``, to one."""


def root(leaves: Sequence[bytes], join: Join) -> bytes:
    """Return the root over one or more leaves of ``HASH_BYTES`` each."""
    return _levels(leaves, join)[-1][0]


def path(leaves: Sequence[bytes], place: int, join: Join) -> bytes:
    """Return what proves the leaf at ``place`` (from 0): its sibling at every level that has one, from below."""
    siblings = []
    for level in _levels(leaves, join):
        if place ^ 1 < len(level):
            siblings.append(level[place ^ 1])
        place //= 2
    return b"".join(siblings)


def climb(leaf: bytes, place: int, size: int, proof: bytes, join: Join) -> bytes | None:
    """Return the root that ``proof`` gives the leaf at ``place`` of ``size``; ``None`` if it has another length."""
    while size > 1:
        if place ^ 1 < size:
            sibling, proof = proof[:HASH_BYTES], proof[HASH_BYTES:]
            if len(sibling) != HASH_BYTES:
                return None
            leaf = join(sibling, leaf) if place % 2 else join(leaf, sibling)
        place, size = place // 2, (size + 1) // 2
    return None if proof else leaf


def _levels(leaves: Sequence[bytes], join: Join) -> list[list[bytes]]:
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        level = levels[-1]
        pairs = [join(*level[low : low + 2]) for low in range(0, len(level) - 1, 2)]
        levels.append(pairs + level[len(pairs) * 2 :])
    return levels
