"""Runs the coordinator's web application on uvicorn, until a signal or the end of the study."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from secagg.coordinator.web import Web

HEAD_SECONDS = 30
"""How long a connection may take over the head of a request."""

KEEP_ALIVE_SECONDS = 75
"""How long a connection is kept between two requests."""

GRACE_SECONDS = 10
LINGER_SECONDS = 20.0
"""How long the coordinator stays after the end of a study, so that every site hears of it."""


class _PatientOnce(H11Protocol):
    """Closes connections that never finish the head of a request, or the body of one that was answered already."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.loop.call_later(HEAD_SECONDS, self._close_if_still, None)

    def on_response_complete(self) -> None:
        """Start the clock for the next request."""
        answered: object = self.cycle
        super().on_response_complete()
        self.loop.call_later(KEEP_ALIVE_SECONDS + HEAD_SECONDS, self._close_if_still, answered)

    def _close_if_still(self, last: object) -> None:
        """Close, unless another request has begun since ``last``."""
        if self.cycle is last and not self.transport.is_closing():
            self.transport.close()


class CoordinatorServer(uvicorn.Server):
    """A server whose long polls end as soon as it is told to stop."""

    def __init__(self, config: uvicorn.Config, web: Web, *, until_finished: bool) -> None:
        super().__init__(config)
        self._web, self._until_finished = web, until_finished

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully: no new rounds, no waiting polls, journal as it is; at once if told again."""
        del sig, frame
        self.force_exit = self.should_exit
        self.stop()

    def stop(self) -> None:
        """Stop as after a signal; from the server's own thread."""
        self._web.stop()
        self.should_exit = True

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal, `stop`, or the end of the study."""
        watcher = asyncio.create_task(self._watch()) if self._until_finished else None
        await super().serve(sockets)
        if watcher is not None:
            watcher.cancel()

    async def _watch(self) -> None:
        while not self._web.engine.progress.finished:
            await asyncio.sleep(0.2)
        loop = asyncio.get_running_loop()
        until = loop.time() + LINGER_SECONDS
        while loop.time() < until and not self._web.all_told:
            await asyncio.sleep(0.1)
        self.stop()


def make_server(
    web: Web,
    *,
    host: str,
    port: int,
    certificate: Path | None,
    key: Path | None,
    trusted_proxies: str = "127.0.0.1",
    until_finished: bool = False,
) -> CoordinatorServer:
    """Return the server; ``await`` its ``serve()``.

    Args:
        web: the application.
        host: address to listen on.
        port: port to listen on.
        certificate: PEM file; without one, a reverse proxy on this machine does the TLS.
        key: PEM file of its key.
        trusted_proxies: addresses whose X-Forwarded-For is believed.
        until_finished: stop by itself once the study is over and every site has what it needs.
    """
    config = uvicorn.Config(
        web.app,
        host=host,
        port=port,
        http=_PatientOnce,
        ws="none",
        ssl_certfile=certificate,
        ssl_keyfile=key,
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=trusted_proxies,
        h11_max_incomplete_event_size=32 * 1024,
        limit_concurrency=4000,
        backlog=1024,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return CoordinatorServer(config, web, until_finished=until_finished)
