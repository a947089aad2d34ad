"""AES-256-CTR as a seekable pseudorandom stream (NIST SP 800-38A, section 6.5).

``ChunkBuffer`` holds a stretch of key stream in a reused buffer, the form that masking needs. ``AesCtrStream`` is the
same stream read from the front, the form that quantizers need (see ``quant.streams``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

KEY_BYTES = 32
BLOCK_BYTES = 16
CHUNK_BYTES = 256 * 1024
"""Bytes handled at a time: source, key stream and target together stay inside a second-level cache."""

MAX_STREAM_BYTES = 1 << 36
"""Most bytes drawn under one key: 2^32 blocks, so distinguishing by repeated blocks stays below 2^-65."""

_PAGE = 4096


def aligned_words(count: int) -> NDArray[np.uint64]:
    """Return ``count`` 64-bit zeros that begin at a page: loads that straddle cache lines cost masking a tenth."""
    raw = np.zeros(8 * count + _PAGE, dtype=np.uint8)
    start = -raw.ctypes.data % _PAGE
    return raw[start : start + 8 * count].view("<u8")


_ZEROS = aligned_words(CHUNK_BYTES // 8).data.cast("B").toreadonly()


def encryptor(key: bytes, offset: int = 0) -> Any:
    """Return a CTR context whose next key-stream byte is number ``offset`` (a multiple of 16) under ``key``.

    The counter block is the big-endian block number: every key is used for one stream only.
    """
    if offset % BLOCK_BYTES:
        raise ValueError(f"stream offsets are multiples of {BLOCK_BYTES}, not {offset}")
    counter = (offset // BLOCK_BYTES).to_bytes(BLOCK_BYTES, "big")
    return Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()


class ChunkBuffer:
    """A reusable buffer for one chunk of key stream."""

    def __init__(self) -> None:
        # update_into asks for one block less a byte of slack behind the data.
        self._words = aligned_words((CHUNK_BYTES + BLOCK_BYTES) // 8)
        self.raw = self._words.data.cast("B")

    def stretch(self, words: int) -> tuple[memoryview, NDArray[np.uint64]]:
        """Return (input, output) of one draw of ``words`` 64-bit words.

        ``context.update_into(input, buffer.raw)`` writes the next key stream of ``context`` where ``output`` looks.
        """
        return _ZEROS[: 8 * words], self._words[:words]


class AesCtrStream:
    """Uniform bytes from a 32-byte key, in order (implements ``quant.RandomStream``)."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a stream key has {KEY_BYTES} bytes, not {len(key)}")
        self._context = encryptor(key)
        self._left = MAX_STREAM_BYTES
        self._tail = bytearray(4 * BLOCK_BYTES)

    def fill(self, out: NDArray[np.uint8]) -> None:
        """Overwrite ``out`` (contiguous, any length) with the next bytes of the stream.

        Raises:
            ValueError: more than ``MAX_STREAM_BYTES`` were asked of one key.
        """
        self._left -= out.size
        if self._left < 0:
            raise ValueError(f"one stream key gives at most {MAX_STREAM_BYTES} bytes; derive another key")
        target = out.data.cast("B")
        for start in range(0, out.size, CHUNK_BYTES):
            size = min(CHUNK_BYTES, out.size - start)
            if out.size - start >= size + BLOCK_BYTES:  # what the cipher may write behind is overwritten next
                self._context.update_into(_ZEROS[:size], target[start:])
                continue
            direct = max(size - 2 * BLOCK_BYTES, 0) // BLOCK_BYTES * BLOCK_BYTES
            if direct:
                self._context.update_into(_ZEROS[:direct], target[start : start + size])
            self._context.update_into(_ZEROS[: size - direct], self._tail)
            target[start + direct : start + size] = memoryview(self._tail)[: size - direct]
