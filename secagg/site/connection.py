"""One kept-alive HTTPS connection, straight or through the institution's proxy (``HTTPS_PROXY``, ``NO_PROXY``).

Of the standard library, because it reads large bodies in C: weights of megabytes come in thousands of TLS records.
"""

from __future__ import annotations

import base64
import ssl
import time
from contextlib import suppress
from http.client import HTTPException, HTTPSConnection
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from secagg.errors import UsageError

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 45.0
"""A connection that was idle for longer is not trusted any more: boxes in between forget it without a word."""


class Response(NamedTuple):
    """Status, body, and one header of an answer."""

    status: int
    body: bytes
    header: str


class Connection:
    """Sends one request after the other to one server.

    Args:
        base: the server's address, HTTPS.
        trust: whose certificates are believed.
        read_seconds: how long an answer may stay away.
        header: name of the header of answers that is wanted.

    Raises:
        UsageError: a proxy of a kind that cannot be used.
    """

    def __init__(self, base: str, trust: ssl.SSLContext, read_seconds: float, header: str) -> None:
        self._url, self._trust = urlsplit(base), trust
        self._read_seconds, self._header = read_seconds, header
        self._proxy = _proxy_for(self._url)
        self._open: HTTPSConnection | None = None
        self._used = 0.0

    def request(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Response:
        """Send a request and read its answer.

        Raises:
            OSError: no connection, or it broke.
            http.client.HTTPException: what came is no answer.
        """
        if self._open is not None and time.monotonic() - self._used > IDLE_SECONDS:
            self.close()
        try:
            connection = self._open = self._open or self._connect()
            connection.request(method, self._url.path.rstrip("/") + target, body or None, headers)
            answer = connection.getresponse()
            found = Response(answer.status, answer.read(), answer.getheader(self._header, ""))
        except (OSError, HTTPException):
            self.close()
            raise
        self._used = time.monotonic()
        return found

    def _connect(self) -> HTTPSConnection:
        host, port = self._url.hostname or "", self._url.port or 443
        if self._proxy is None:
            connection = HTTPSConnection(host, port, context=self._trust, timeout=CONNECT_SECONDS)
        else:
            at = self._proxy
            connection = HTTPSConnection(at.hostname or "", at.port or 80, context=self._trust, timeout=CONNECT_SECONDS)
            connection.set_tunnel(host, port, _credentials(at))
        connection.connect()
        connection.sock.settimeout(self._read_seconds)
        return connection

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._open is not None:
            with suppress(OSError):
                self._open.close()
        self._open = None


def _proxy_for(url: SplitResult) -> SplitResult | None:
    """Return the proxy that the environment names for ``url``, or ``None``."""
    named = getproxies()
    if proxy_bypass(url.netloc):
        return None
    address = named.get("https") or named.get("all")
    if not address:
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise UsageError("HTTPS_PROXY names the proxy as http://HOST:PORT (the tunnel through it is TLS all the same)")
    return proxy


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
