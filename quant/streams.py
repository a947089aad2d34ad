"""Where random bytes come from.

Rounding needs uniform bytes that nobody outside of the site can guess. This package contains no cipher: it says
what a stream is and offers the one of the operating system. Callers who want speed or an exact replay hand in an
AES-CTR stream.
"""

import os
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quant.errors import InputError


class RandomStream(Protocol):
    """A source of uniform bytes, consumed in order: filling 8 bytes equals filling 4 and then 4 more."""

    def fill(self, out: NDArray[np.uint8]) -> None:
        """Overwrite every byte of ``out`` (contiguous, writable, shape (n,)) with the next n bytes."""
        ...


class SystemStream:
    """The random generator of the operating system (``os.urandom``). Cannot be replayed. The default everywhere."""

    def fill(self, out: NDArray[np.uint8]) -> None:
        """Overwrite ``out`` with bytes of the operating system.

        Raises:
            InputError: if ``out`` is not a contiguous, writable uint8 array.
        """
        if out.dtype != np.uint8 or not out.flags.c_contiguous or not out.flags.writeable:
            raise InputError("a random stream fills a contiguous, writable array of dtype uint8 only")
        out.reshape(-1)[:] = np.frombuffer(os.urandom(out.size), dtype=np.uint8)

    def __repr__(self) -> str:
        """Name the stream; it has no state to show."""
        return "SystemStream()"


SYSTEM_STREAM = SystemStream()
"""The one shared instance: it has no state, so sharing it is safe."""
