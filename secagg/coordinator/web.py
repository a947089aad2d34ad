"""The coordinator's HTTP face: signed requests in, signed answers out, long polls in between."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from protocols import ProtocolError
from secagg.coordinator.bodies import receive_letter, receive_small
from secagg.coordinator.engine import Engine, LateFrame
from secagg.coordinator.gate import Gate, Refused
from secagg.coordinator.live_round import Contradiction, Delivery
from secagg.errors import UsageError
from secagg.study.durable import StorageError
from secagg.transport import messages
from secagg.transport.authentication import SIGNATURE, RequestHead, sign_answer
from secagg.transport.messages import Cursor

log = logging.getLogger("secagg.coordinator")

POLL_SECONDS = 25.0
"""How long a long poll waits: below the 60 s after which proxies cut idle connections."""

TICK_SECONDS = 0.25
MAX_POLLS_PER_SITE = 4
MAX_LETTERS_PER_SITE = 2
"""Letters of one site that are on their way in; a second one is what a site says again when its connection broke."""


class _Number(IntegerConvertor):
    """A number in a path: longer ones than Python reads are no paths of ours."""

    regex = "[0-9]{1,10}"


register_url_convertor("number", _Number())


class LargeFile(FileResponse):
    """A file in few, large pieces."""

    chunk_size = 1 << 20


class Web:
    """Serves one engine.

    Args:
        engine: the study.
        gate: who may speak.
        routes: further routes, such as the page and the metrics.
        poll_seconds: how long a long poll waits.
    """

    def __init__(
        self, engine: Engine, gate: Gate, routes: tuple[Route, ...] = (), poll_seconds: float = POLL_SECONDS
    ) -> None:
        self.engine, self._gate, self._poll_seconds = engine, gate, poll_seconds
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._polls: dict[int, int] = {}
        self._letters: dict[int, int] = {}
        self._waiting: dict[Cursor, list[tuple[Delivery, asyncio.Future[bool]]]] = {}
        self._version = 0
        self.stopping = False
        self._told: set[int] = set()
        own = [
            Route("/health", self._health),
            Route("/ready", self._ready),
            Route("/v1/hello", self._signed(self._hello), methods=["POST"]),
            Route("/v1/next", self._signed(self._next)),
            Route("/v1/model/{model}", self._signed(self._model)),
            Route("/v1/goodbye", self._signed(self._goodbye), methods=["POST"]),
            Route("/v1/progress", self._signed(self._progress), methods=["POST"]),
            Route(
                "/v1/frames/{round:number}/{attempt:number}/{number:number}",
                self._signed(self._frame),
                methods=["POST"],
            ),
            *routes,
        ]
        prefix = urlsplit(engine.study.study.coordinator).path.rstrip("/")
        mounted: list[Any] = [Mount(prefix, routes=own), *own] if prefix else own
        handlers: dict[Any, Any] = {HTTPException: _plain, Exception: _unexpected}
        self.app = Starlette(routes=mounted, lifespan=self._lifespan, exception_handlers=handlers)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        del app
        async with self.running():
            yield

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let the clock tick while inside."""
        ticking = asyncio.create_task(self._tick_for_ever())
        yield
        self.stop()
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking

    @property
    def all_told(self) -> bool:
        """Whether every site that is here has what it needs of the finished study."""
        return self._told >= set(self.engine.present())

    def stop(self) -> None:
        """Let the long polls go, so that the process can end."""
        self.stopping = True
        self._changed.set()

    async def _tick_for_ever(self) -> None:
        while True:
            try:
                async with self._turn:
                    await asyncio.to_thread(self.engine.tick)
                self._announce()
            except StorageError as error:
                log.error("the disk refuses", extra={"reason": str(error)})
            except Exception as error:  # a clock that stands still would hold up every site
                log.error("unexpected", exc_info=error)
            await asyncio.sleep(TICK_SECONDS)

    def _announce(self) -> None:
        """Wake the long polls, if there may be something new for them."""
        if self.engine.version == self._version:
            return
        self._version = self.engine.version
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # -- signed requests -------------------------------------------------------------------------------------------

    def _signed(
        self, serve: Callable[[Request, RequestHead], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            address = request.client.host if request.client else ""
            target = _target(request)
            try:
                head, signature = self._gate.admit(address, request.method, target, request.headers)
            except Refused as refused:
                log.warning("refused", extra={"address": address, "status": refused.status, "reason": refused.reason})
                return JSONResponse({"error": refused.reason}, refused.status)
            response = await _answered(serve, request, head)
            body = bytes(response.body) if not isinstance(response, FileResponse) else None
            if body is not None:
                study = self.engine.study.hash
                response.headers[SIGNATURE] = sign_answer(
                    self.engine.identity, study, signature, response.status_code, body
                )
            return response

        return endpoint

    async def _hello(self, request: Request, head: RequestHead) -> Response:
        hello = messages.decode(await receive_small(request, head), messages.Hello)
        async with self._turn:
            welcome = await asyncio.to_thread(self.engine.hello, head.site, head.sequence, hello)
        self._announce()
        return _shape(welcome)

    async def _next(self, request: Request, head: RequestHead) -> Response:
        return await self._poll(head, _cursor(request.query_params))

    async def _poll(self, head: RequestHead, cursor: Cursor) -> Response:
        if self._polls.get(head.site, 0) >= MAX_POLLS_PER_SITE:
            raise Refused(429, "this site polls too often at the same time: is it running twice?")
        self._polls[head.site] = self._polls.get(head.site, 0) + 1
        try:
            return await self._instruction(head.site, cursor)
        finally:
            self._polls[head.site] -= 1

    async def _instruction(self, site: int, cursor: Cursor) -> Response:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._poll_seconds
        while True:
            changed = self._changed
            async with self._turn:
                self.engine.touch(site)
                instruction = self.engine.instruction(site, cursor)
            if instruction is not None:
                return _shape(instruction)
            left = until - loop.time()
            if left <= 0 or self.stopping:
                return Response(status_code=204)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), left)

    async def _model(self, request: Request, head: RequestHead) -> Response:
        await receive_small(request, head)
        text = request.path_params["model"]
        progress = self.engine.progress
        for model in (progress.model, progress.best):
            if text == model.hex():
                return LargeFile(self.engine.models.path(model), media_type="application/octet-stream")
        raise Refused(404, "there is no model with this hash any more")

    async def _progress(self, request: Request, head: RequestHead) -> Response:
        progress = messages.decode(await receive_small(request, head), messages.Progress)
        async with self._turn:
            self.engine.touch(head.site)
            self.engine.training[head.site] = progress.fraction
        return Response(status_code=204)

    async def _goodbye(self, request: Request, head: RequestHead) -> Response:
        await receive_small(request, head)
        self._told.add(head.site)
        return Response(status_code=204)

    async def _frame(self, request: Request, head: RequestHead) -> Response:
        """Take a letter. With ``?have=`` the answer is what comes next, which saves every phase a request a site."""
        round_index, attempt, number = (request.path_params[name] for name in ("round", "attempt", "number"))
        asked = {**request.query_params, "round": round_index, "attempt": attempt, "busy": True}
        then = _cursor(asked) if request.query_params else None
        await self._receive(request, head, Cursor(round_index, attempt), number)
        return Response(status_code=204) if then is None else await self._poll(head, then)

    async def _receive(self, request: Request, head: RequestHead, cursor: Cursor, number: int) -> None:
        live = self.engine.live
        if live is None or (live.opening.round, live.opening.attempt) != (cursor.round, cursor.attempt):
            raise Refused(410, f"round {cursor.round}, attempt {cursor.attempt} is not in progress")
        if head.site not in live.opening.clients:
            raise Refused(410, f"site {head.site} is not in round {cursor.round}, attempt {cursor.attempt}")
        if self._letters.get(head.site, 0) >= MAX_LETTERS_PER_SITE:
            raise Refused(429, "this site sends too many letters at the same time: is it running twice?")
        self._letters[head.site] = self._letters.get(head.site, 0) + 1
        try:
            body, file = await receive_letter(request, head, self.engine.store.files, live.config.params)
        finally:
            self._letters[head.site] -= 1
        await self._journalled(cursor, Delivery(head.site, number, head.sequence, body, head.digest, file))

    async def _journalled(self, cursor: Cursor, letter: Delivery) -> bool:
        """Wait for a letter's turn; those that came meanwhile are taken with it, and share its write to the disk."""
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(cursor, []).append((letter, told))
        async with self._turn:
            if together := self._waiting.pop(cursor, []):
                await self._take(cursor, together)
        self._announce()
        return await told

    async def _take(self, cursor: Cursor, together: list[tuple[Delivery, asyncio.Future[bool]]]) -> None:
        try:
            outcomes = await asyncio.to_thread(self.engine.accept, cursor, [letter for letter, _ in together])
        except Exception as error:  # noqa: BLE001  # every request that waits is told
            outcomes = [error] * len(together)
        for (_, told), outcome in zip(together, outcomes, strict=True):
            if told.cancelled():
                continue
            if isinstance(outcome, Exception):
                told.set_exception(outcome)
            else:
                told.set_result(outcome)

    # -- unsigned requests -----------------------------------------------------------------------------------------

    async def _health(self, request: Request) -> Response:
        del request
        return JSONResponse({"status": "ok"})

    async def _ready(self, request: Request) -> Response:
        del request
        if self.stopping:
            return JSONResponse({"status": "stopping"}, 503)
        return JSONResponse({"status": "ready"})


async def _answered(
    serve: Callable[[Request, RequestHead], Awaitable[Response]], request: Request, head: RequestHead
) -> Response:
    """Serve, and turn every refusal into one line."""
    try:
        return await serve(request, head)
    except Refused as refused:
        status, reason = refused.status, refused.reason
    except LateFrame as error:
        status, reason = 410, str(error)
    except Contradiction as error:
        status, reason = 409, str(error)
    except StorageError as error:
        log.error("the disk refuses", extra={"reason": str(error)})
        status, reason = 507, "the coordinator's disk refuses to write; nothing was taken"
    except ProtocolError as error:
        status, reason = 422, str(error)
    except UsageError as error:
        status, reason = 400, str(error)
    except ClientDisconnect:
        status, reason = 400, "the connection broke before the body was complete"
    log.warning("refused", extra={"site": head.site, "status": status, "reason": reason})
    return JSONResponse({"error": reason}, status)


def _target(request: Request) -> str:
    """Return path and query from ``/v1/`` on: a prefix belongs to the proxy."""
    path = request.scope.get("raw_path", b"").decode("latin-1") or request.url.path
    path = path.split("?")[0]
    start = path.find("/v1/")
    query = request.url.query
    return (path[start:] if start >= 0 else path) + (f"?{query}" if query else "")


def _cursor(query: Mapping[str, Any]) -> Cursor:
    """Read a cursor from a query.

    Raises:
        Refused: it is none.
    """
    try:
        return msgspec.convert(dict(query), Cursor, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(400, f"the query is not a cursor: {error}") from None


def _shape(shape: messages.Shape) -> Response:
    return Response(messages.encode(shape), media_type="application/msgpack")


async def _plain(request: Request, error: Exception) -> Response:
    del request
    status = getattr(error, "status_code", 400)
    return JSONResponse({"error": str(getattr(error, "detail", "refused"))}, status)


async def _unexpected(request: Request, error: Exception) -> Response:
    del request
    log.error("unexpected", exc_info=error)
    return JSONResponse({"error": "the coordinator made a mistake; its log says more"}, 500)
