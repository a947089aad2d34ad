"""The coordinator's transcript: one JSON line a round, each holding the hash of the line before."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import msgspec

from secagg.coordinator.store import StorageError
from secagg.study.receipt import SignedReceipt

BEGINNING = "0" * 64


def head(lines: list[str]) -> str:
    """Return the hash that the next line holds."""
    return hashlib.sha256(lines[-1].encode()).hexdigest() if lines else BEGINNING


def line(previous: str, signed: SignedReceipt) -> str:
    """Return the line of one round."""
    entry = {"previous": previous, "round": msgspec.to_builtins(signed)}
    return json.dumps(entry, sort_keys=True, separators=(",", ":"))


def write(path: Path, lines: list[str]) -> None:
    """Bring the file at ``path`` up to ``lines``: append what is missing, and replace a torn last line.

    Raises:
        StorageError: the disk refuses.
    """
    wanted = "".join(f"{text}\n" for text in lines).encode()
    try:
        with path.open("r+b" if path.exists() else "w+b") as file:
            there = file.read()
            if wanted.startswith(there):
                file.write(wanted[len(there) :])
            else:
                file.seek(0)
                file.truncate()
                file.write(wanted)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(f"the coordinator cannot write its transcript: {error}") from error
