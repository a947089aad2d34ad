"""The coordinator's transcript: one JSON line a round, each holding the hash of the line before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from secagg.study import weights
from secagg.study.durable import StorageError
from secagg.study.receipt import SignedReceipt

BEGINNING = "0" * 64


def head(lines: Sequence[str]) -> str:
    """Return the hash that the next line holds."""
    return hashlib.sha256(lines[-1].encode()).hexdigest() if lines else BEGINNING


def line(previous: str, signed: SignedReceipt) -> str:
    """Return the line of one round."""
    entry = {"previous": previous, "round": msgspec.to_builtins(signed)}
    return json.dumps(entry, sort_keys=True, separators=(",", ":"))


def append(path: Path, lines: Sequence[str]) -> None:
    """Add lines to the file at ``path``; what a crash takes away again, ``mend`` brings back.

    Raises:
        StorageError: the disk refuses.
    """
    try:
        with path.open("ab") as file:
            file.write("".join(f"{text}\n" for text in lines).encode())
    except OSError as error:
        raise StorageError(f"the coordinator cannot write its transcript: {error}") from error


def mend(path: Path, lines: Sequence[str]) -> None:
    """Make the file at ``path`` hold exactly ``lines``, durably.

    Raises:
        StorageError: the disk refuses.
    """
    wanted = "".join(f"{text}\n" for text in lines).encode()
    try:
        if not path.exists() or path.read_bytes() != wanted:
            weights.write(path, wanted)
    except OSError as error:
        raise StorageError(f"the coordinator cannot write its transcript: {error}") from error
