"""The house rules of the test run itself: no network, replayable seeds, warnings are errors."""

import asyncio
import socket
import sys
import warnings

import pytest

pytestmark = pytest.mark.fast


# Audit events stand in for the real calls, so that no packet leaves even when the guard is broken.
@pytest.mark.parametrize(
    ("event", "args"),
    [
        ("socket.connect", (None, ("192.0.2.1", 443))),
        ("socket.connect", (None, ("2001:db8::1", 443, 0, 0))),
        ("socket.sendto", (None, ("192.0.2.1", 53))),
        ("socket.getaddrinfo", ("example.org", 443, 0, 0, 0)),
        ("socket.gethostbyname", ("example.org",)),
    ],
)
def test_network_is_refused(event, args):
    with pytest.raises(RuntimeError, match="tests may only talk to this machine"):
        sys.audit(event, *args)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_allowed(host):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection((host, server.getsockname()[1])),
    ):
        pass


def test_unix_sockets_and_event_loops_are_allowed(tmp_path):
    async def serve_and_connect() -> None:
        server = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), tmp_path / "socket")
        async with server:
            _, writer = await asyncio.open_unix_connection(tmp_path / "socket")
            writer.close()
            await writer.wait_closed()

    asyncio.run(serve_and_connect())


def test_rng_follows_the_seed_option(request, rng):
    assert rng.bit_generator.seed_seq.entropy[0] == request.config.getoption("seed")


def test_warnings_are_errors():
    with pytest.raises(DeprecationWarning):
        warnings.warn("old", DeprecationWarning, stacklevel=1)


def test_unknown_markers_are_errors(request):
    assert "--strict-markers" in request.config.getini("addopts")
    assert request.config.getini("xfail_strict") is True
