"""Arithmetic modulo any number up to 2^62, or a power of two up to 2^64, on vectors of ``uint64``.

Modulo a power of two, 64-bit words simply wrap: they are kept modulo 2^64 and reduced when they are packed. Any other
modulus keeps its residues below it at every step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.primitives import prg

MAX_MODULUS = 1 << 62
"""Largest modulus that is no power of two: the sum of two residues must fit 63 bits."""

BLOCK = 8192
"""Residues drawn from one stretch of key stream: rejection shifts positions inside it only, so blocks are seekable."""


def is_power_of_two(modulus: int) -> bool:
    """Tell whether ``modulus`` is a power of two."""
    return modulus & (modulus - 1) == 0


def add(target: NDArray[np.uint64], values: NDArray[np.uint64], modulus: int) -> None:
    """Add ``values`` to ``target`` in place (both reduced, unless the modulus is a power of two)."""
    np.add(target, values, out=target)
    if not is_power_of_two(modulus):
        np.subtract(target, np.uint64(modulus), out=target, where=target >= modulus)


def subtract(target: NDArray[np.uint64], values: NDArray[np.uint64], modulus: int) -> None:
    """Subtract ``values`` from ``target`` in place (both reduced, unless the modulus is a power of two)."""
    borrows = None if is_power_of_two(modulus) else target < values
    np.subtract(target, values, out=target)
    if borrows is not None:
        np.add(target, np.uint64(modulus), out=target, where=borrows)


def reduce(target: NDArray[np.uint64], modulus: int) -> None:
    """Reduce in place modulo a power of two; residues of other moduli are reduced already."""
    if is_power_of_two(modulus):
        np.bitwise_and(target, np.uint64(modulus - 1), out=target)


def uniform_block(key: bytes, block: int, count: int, modulus: int) -> NDArray[np.uint64]:
    """Draw the first ``count`` residues of one block, exactly uniform below ``modulus``.

    Words of 64 bits are cut to the bits of the modulus and kept if they are below it; every word has the same chance,
    so there is no bias towards small residues. Block j reads the key stream from byte 2^68 j on, which no other block
    reaches.

    Args:
        key: 32-byte stream key.
        block: number of the block, below 2^60.
        count: residues wanted, at most ``BLOCK``.
        modulus: 2 to 2^62.
    """
    context = prg.encryptor(key, block << 68)
    bits = np.uint64((1 << (modulus - 1).bit_length()) - 1)
    kept = np.empty(0, dtype=np.uint64)
    while kept.size < count:
        missing = count - kept.size
        words = missing * (int(bits) + 1) // modulus + 64
        drawn = np.frombuffer(context.update(bytes(8 * words)), dtype="<u8") & bits
        kept = np.concatenate([kept, drawn[drawn < modulus]])
    return kept[:count]
