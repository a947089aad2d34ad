"""Requests and answers as files in a folder, for sites with no network: the folder is shared, or carried to and fro.

``requests/SITE-SEQUENCE-SIGNATURE`` is a signed request, and the file of the same name in ``answers`` the signed answer
to it. A file appears whole or not at all. Nothing is trusted because of where it lies: the signatures are those of the
HTTPS transport.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TypeVar

import msgspec

from secagg.errors import UsageError
from secagg.study.weights import write

T = TypeVar("T")

REQUESTS = "requests"
ANSWERS = "answers"
MAX_REQUEST_BYTES = 1 << 27
"""No letter of a site is larger; what is, is not read."""

MAX_ANSWER_BYTES = 1 << 34
"""An answer may hold the weights of a model."""


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
    return _read(path, RequestFile, MAX_REQUEST_BYTES)


def read_answer(path: Path) -> AnswerFile:
    """Read an answer.

    Raises:
        UsageError: the file is none.
    """
    return _read(path, AnswerFile, MAX_ANSWER_BYTES)


def _read(path: Path, kind: type[T], most: int) -> T:
    """Read a plain file: a link may lead anywhere, and a pipe never ends."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > most:
                raise UsageError(f"{path} is no plain file, or larger than {most} bytes")
            return msgspec.msgpack.decode(file.read(most), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} is not a {kind.__name__}: {error}") from None
