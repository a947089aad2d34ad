"""Bodies of requests: never larger than announced, never slower than a floor, never in memory as a whole if large."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import Request

from protocols.pairwise import RoundParams
from protocols.pairwise.messages import limits_at_server
from protocols.wire import FRAME_BYTES
from secagg.coordinator.gate import Refused
from secagg.study.durable import StorageError
from secagg.study.weights import sync_folder
from secagg.transport.authentication import RequestHead
from secagg.transport.messages import BESIDE_BYTES, LETTER_BYTES, MAX_SMALL_BODY, SMALL_LETTER

IDLE_SECONDS = 30.0
FLOOR_BYTES_PER_SECOND = 4096
"""A body that arrives more slowly than this, after a first half minute, is cut off."""


async def receive_small(request: Request, head: RequestHead) -> bytes:
    """Read a small body and compare it with the signed head.

    Raises:
        Refused: too large, too slow, or not what was signed.
    """
    _announced(request, MAX_SMALL_BODY)
    parts = [part async for part in _parts(request, MAX_SMALL_BODY)]
    body = b"".join(parts)
    _compare(hashlib.sha256(body).digest(), head)
    return body


async def receive_letter(
    request: Request, head: RequestHead, folder: Path, params: RoundParams
) -> tuple[bytes, str | None]:
    """Read a letter and compare it with the signed head; a large one goes to a synced file on the way.

    Returns:
        (letter, name of its file in ``folder`` or ``None``).

    Raises:
        Refused: larger than any letter of the round, too slow, or not what was signed.
    """
    frame = max(limits_at_server(params).values()) + FRAME_BYTES
    size = _announced(request, max(frame, LETTER_BYTES) + BESIDE_BYTES)
    if size <= SMALL_LETTER:
        parts = [part async for part in _parts(request, size)]
        letter = b"".join(parts)
        _compare(hashlib.sha256(letter).digest(), head)
        return letter, None
    name = f"{head.site}-{head.sequence}"
    path = folder / name
    try:
        digest = await _spool(request, path, size)
        _compare(digest, head)
        return await asyncio.to_thread(path.read_bytes), name
    except FileNotFoundError:
        raise Refused(410, "the round ended while this letter was on its way") from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise


async def _spool(request: Request, path: Path, size: int) -> bytes:
    digest = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            async for part in _parts(request, size):
                digest.update(part)
                file.write(part)
            file.flush()
            await asyncio.to_thread(_sync, file.fileno(), path.parent)
    except OSError as error:
        raise StorageError(f"the coordinator cannot keep a masked input: {error}") from error
    return digest.digest()


def _sync(descriptor: int, folder: Path) -> None:
    os.fsync(descriptor)
    sync_folder(folder)


def _announced(request: Request, limit: int) -> int:
    """Return the announced size of the body."""
    text = request.headers.get("content-length", "0" if request.method == "GET" else "")
    if not (text.isascii() and text.isdigit()):
        raise Refused(411, "say how long the body is (Content-Length)")
    if len(text) > 12 or int(text) > limit:
        raise Refused(413, f"a body of {text[:20]} bytes is larger than the {limit} that are allowed here")
    return int(text)


async def _parts(request: Request, limit: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    began, seen = loop.time(), 0
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                part = await anext(stream, None)
        except TimeoutError:
            raise Refused(408, "the body came too slowly") from None
        if part is None:
            return
        seen += len(part)
        if seen > limit:
            raise Refused(413, "the body is longer than it was announced")
        if loop.time() - began > IDLE_SECONDS + seen / FLOOR_BYTES_PER_SECOND:
            raise Refused(408, "the body came too slowly")
        if part:
            yield part


def _compare(digest: bytes, head: RequestHead) -> None:
    if digest != head.digest:
        raise Refused(400, "the body is not the one that was signed: it was changed on the way")
