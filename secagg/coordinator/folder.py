"""The coordinator without a network: signed requests are read from files, and answered by files.

The very application that serves HTTPS serves these requests, gate and all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from secagg.coordinator.web import Web
from secagg.errors import UsageError
from secagg.transport import files
from secagg.transport.authentication import SIGNATURE
from secagg.transport.files import AnswerFile, RequestFile

log = logging.getLogger("secagg.coordinator")

LOOK_SECONDS = 0.1


class FolderServer:
    """Serves an application from a folder.

    Args:
        web: the application; its long polls wait as long as it takes.
        folder: shared with the sites, or carried to them and back.
        until_finished: stop by itself once the study is over and every site has what it needs.
    """

    def __init__(self, web: Web, folder: Path, *, until_finished: bool) -> None:
        files.prepare(folder)
        self._web, self._folder, self._until_finished = web, folder, until_finished
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Stop; from the server's own thread."""
        self._web.stop()
        self._stopped.set()

    async def serve(self) -> None:
        """Answer requests until `stop`, or the end of the study."""
        under_way: dict[str, asyncio.Task[object]] = {}
        async with self._web.running():
            while not self._stopped.is_set():
                if self._until_finished and self._web.engine.progress.finished and self._web.all_told:
                    self.stop()
                for path in self._requests():
                    task = under_way.get(path.name)
                    # One that could not be read is read again once it has changed: it may still have been copied.
                    if task is None or (task.done() and task.result() not in (None, _state(path))):
                        under_way[path.name] = asyncio.create_task(self._answer(path))
                under_way = {
                    name: task
                    for name, task in under_way.items()
                    if not task.done() or (self._folder / files.REQUESTS / name).exists()
                }
                await asyncio.sleep(LOOK_SECONDS)
            await asyncio.gather(*under_way.values())

    def _requests(self) -> list[Path]:
        """Return what lies there; nothing while the folder is away."""
        try:
            found = sorted((self._folder / files.REQUESTS).iterdir(), key=_order)
        except OSError:
            return []
        return [path for path in found if not path.name.startswith(".")]

    async def _answer(self, path: Path) -> object:
        """Answer one request; return what an unreadable one looked like, else ``None``."""
        answered = self._folder / files.ANSWERS / path.name
        if answered.exists():
            return None
        looked = _state(path)
        try:
            request = await asyncio.to_thread(files.read_request, path)
            answer = await _through(self._web, request)
        except UsageError as error:
            log.warning("refused", extra={"file": path.name, "reason": str(error)})
            return looked
        if answer.status == 204 and request.target.startswith("/v1/next"):
            return None  # stopping: the request is answered by the next coordinator
        try:
            await asyncio.to_thread(files.put, answered, answer)
        except OSError as error:
            log.error("the disk refuses", extra={"file": path.name, "reason": str(error)})
        return None


def _state(path: Path) -> object:
    try:
        found = path.lstat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size


def _order(path: Path) -> tuple[int, str]:
    """Ascending sequence numbers, so that a site's requests are taken in the order in which it made them."""
    sequence = path.name.split("-")[1] if path.name.count("-") == 2 else ""
    return (int(sequence) if sequence.isascii() and sequence.isdigit() and len(sequence) < 19 else 0, path.name)


async def _through(web: Web, request: RequestFile) -> AnswerFile:
    """Hand a request to the application as a web server would."""
    path, _, query = request.target.partition("?")
    headers = {name.lower(): value for name, value in request.headers.items()} | {
        "content-length": str(len(request.body))
    }
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method, "scheme": "https",
        "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()],
        "client": None, "server": ("folder", None),
    }  # fmt: skip
    body = [{"type": "http.request", "body": request.body, "more_body": False}]
    parts: list[bytes] = []
    began: dict[str, Any] = {}

    async def receive() -> MutableMapping[str, Any]:
        if body:
            return body.pop()
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            began.update(message)
        else:
            parts.append(message.get("body", b""))

    with contextlib.suppress(Exception):  # the application has answered 500, and logged it, before it raises
        await web.app(scope, receive, send)
    signature = next((value.decode() for name, value in began.get("headers", ()) if name.decode() == SIGNATURE), "")
    return AnswerFile(began.get("status", 500), signature, b"".join(parts))
