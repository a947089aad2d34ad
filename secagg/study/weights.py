"""Model weights as safetensors files: names to numpy arrays, hashed as the bytes that are stored and sent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secagg.errors import UsageError

Weights = dict[str, NDArray[Any]]
"""Name to array; float arrays are averaged, others stay as they began."""


def encode(weights: Mapping[str, Any]) -> bytes:
    """Return the safetensors bytes of ``weights``; the same weights give the same bytes.

    Raises:
        UsageError: not a mapping of names to numpy arrays or tensors.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    try:
        arrays = {str(name): np.ascontiguousarray(np.asarray(array)) for name, array in sorted(weights.items())}
        return bytes(save(arrays))
    except (SafetensorError, AttributeError, TypeError, ValueError, KeyError) as error:
        raise UsageError(f"weights are a dict of names to numpy arrays or CPU tensors: {error}") from None


def decode(data: bytes) -> Weights:
    """Read safetensors bytes, names in ascending order (the library gives them in an order of its own each time).

    Raises:
        UsageError: they are none.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return dict(sorted(load(data).items()))
    except (SafetensorError, TypeError, ValueError, KeyError) as error:
        raise UsageError(f"not a file of weights (safetensors): {error}") from None


def digest(data: bytes) -> bytes:
    """Return the 32-byte hash by which a model is known: SHA-256 of its file, as ``sha256sum`` prints it."""
    return hashlib.sha256(data).digest()


def write(path: Path, data: bytes) -> None:
    """Replace the file at ``path``, durably: it holds the old bytes or the new ones, never a part.

    Raises:
        OSError: the disk refuses.
    """
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new, renamed and removed names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def name(existing: Path, path: Path) -> None:
    """Give the file ``existing`` another name, in place of what had that name; no byte is copied.

    After a power cut the name may be the old one again.

    Raises:
        OSError: the disk refuses.
    """
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    os.link(existing, part)
    part.replace(path)
