"""Requests and answers as files in a folder, for sites with no network: the folder is shared, or carried to and fro.

``requests/SITE-SEQUENCE-SIGNATURE`` is a signed request, and the file of the same name in ``answers`` the signed answer
to it. A file appears whole or not at all. Nothing is trusted because of where it lies: the signatures are those of the
HTTPS transport.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from secagg.errors import UsageError
from secagg.study.weights import write

T = TypeVar("T")

REQUESTS = "requests"
ANSWERS = "answers"
MAX_FILE_BYTES = 1 << 34


class RequestFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request as HTTP would carry it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class AnswerFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer as HTTP would carry it; ``signature`` is empty if the request could not be attributed."""

    status: int
    signature: str
    body: bytes


def folder_of(transport: str) -> Path | None:
    """Read ``https`` (``None``) or ``folder:PATH``.

    Raises:
        UsageError: neither.
    """
    if transport == "https":
        return None
    kind, _, path = transport.partition(":")
    if kind != "folder" or not path:
        raise UsageError(f"there is no transport {transport!r}: write https, or folder:PATH")
    return Path(path)


def prepare(folder: Path) -> None:
    """Make the two sub-folders.

    Raises:
        UsageError: they cannot be made.
    """
    try:
        for name in (REQUESTS, ANSWERS):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot use the folder {folder}: {error.strerror or error}") from None


def put(path: Path, shape: msgspec.Struct) -> None:
    """Write a file, whole and durable.

    Raises:
        OSError: the disk refuses.
    """
    write(path, msgspec.msgpack.encode(shape))


def read_request(path: Path) -> RequestFile:
    """Read a request.

    Raises:
        UsageError: the file is none.
    """
    return _read(path, RequestFile)


def read_answer(path: Path) -> AnswerFile:
    """Read an answer.

    Raises:
        UsageError: the file is none.
    """
    return _read(path, AnswerFile)


def _read(path: Path, kind: type[T]) -> T:
    try:
        if os.stat(path, follow_symlinks=False).st_size > MAX_FILE_BYTES:
            raise UsageError(f"{path} is too large")
        return msgspec.msgpack.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} is not a {kind.__name__}: {error}") from None
