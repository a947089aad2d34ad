"""Vectors of residues on the wire: ``bits`` bits an element, little-endian, no gaps.

Element i occupies bits [i * bits, (i + 1) * bits) of the byte string read as one little-endian number; the last byte is
padded with zeros, and a decoder refuses any other padding, so every vector has exactly one encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd

import numpy as np
from numpy.typing import NDArray

_WORD = 64

SLICE = 1 << 14
"""Elements of a slice: a multiple of 8, so that slices begin at whole bytes, and few enough to stay in the cache."""


def packed_size(length: int, bits: int) -> int:
    """Return the number of bytes that ``length`` elements of ``bits`` bits take."""
    return (length * bits + 7) // 8


def pack(values: NDArray[np.uint64], bits: int) -> bytes:
    """Pack the low ``bits`` bits (1 to 64) of every element; higher bits are dropped, which reduces modulo 2^bits."""
    if bits == _WORD:
        return values.astype("<u8", copy=False).tobytes()
    if bits % 8 == 0:
        octets = np.ascontiguousarray(values.astype("<u8", copy=False)).view(np.uint8)
        return octets.reshape(-1, 8)[:, : bits // 8].tobytes()
    group = _WORD // gcd(_WORD, bits)
    padded = np.zeros(-(-values.size // group) * group, dtype=np.uint64)
    np.bitwise_and(values, np.uint64((1 << bits) - 1), out=padded[: values.size])
    columns = padded.reshape(-1, group)
    words = np.zeros((columns.shape[0], group * bits // _WORD), dtype=np.uint64)
    for lane in range(group):
        word, shift = divmod(lane * bits, _WORD)
        words[:, word] |= columns[:, lane] << np.uint64(shift)
        if shift + bits > _WORD:
            words[:, word + 1] |= columns[:, lane] >> np.uint64(_WORD - shift)
    return words.astype("<u8", copy=False).tobytes()[: packed_size(values.size, bits)]


def unpack(data: bytes | memoryview, length: int, bits: int) -> NDArray[np.uint64]:
    """Read back ``length`` elements.

    Raises:
        ValueError: a byte string of another size, or padding bits that are not zero.
    """
    size = packed_size(length, bits)
    if len(data) != size:
        raise ValueError(f"{length} elements of {bits} bits take {size} bytes, not {len(data)}")
    padding = 8 * size - length * bits
    if padding and data[size - 1] >> (8 - padding):
        raise ValueError("padding bits are not zero")
    if bits == _WORD:
        return np.frombuffer(data, dtype="<u8").astype(np.uint64)
    if bits % 8 == 0:
        octets = np.zeros((length, 8), dtype=np.uint8)
        octets[:, : bits // 8] = np.frombuffer(data, dtype=np.uint8).reshape(length, bits // 8)
        return octets.view("<u8").reshape(length).astype(np.uint64, copy=False)
    group = _WORD // gcd(_WORD, bits)
    per_group = group * bits // _WORD
    rows = -(-length // group)
    raw = np.zeros(rows * per_group * 8, dtype=np.uint8)
    raw[:size] = np.frombuffer(data, dtype=np.uint8)
    words = raw.view("<u8").astype(np.uint64, copy=False).reshape(rows, per_group)
    columns = np.empty((rows, group), dtype=np.uint64)
    for lane in range(group):
        word, shift = divmod(lane * bits, _WORD)
        columns[:, lane] = words[:, word] >> np.uint64(shift)
        if shift + bits > _WORD:
            columns[:, lane] |= words[:, word + 1] << np.uint64(_WORD - shift)
    columns &= np.uint64((1 << bits) - 1)
    return columns.reshape(-1)[:length]


def unpack_slices(data: bytes, length: int, bits: int) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """Give (first element, elements) of consecutive slices: ``unpack`` with few of the elements in memory.

    Raises:
        ValueError: a byte string of another size, or padding bits that are not zero.
    """
    size = packed_size(length, bits)
    if len(data) != size:
        raise ValueError(f"{length} elements of {bits} bits take {size} bytes, not {len(data)}")
    view = memoryview(data)
    for start in range(0, length, SLICE):
        stop = min(start + SLICE, length)
        yield start, unpack(view[start * bits // 8 : packed_size(stop, bits)], stop - start, bits)
