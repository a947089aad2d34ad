"""What holds for every test: printed seeds, hypothesis profiles, no network."""

import os
import sys
import zlib
from collections.abc import Iterator
from ipaddress import ip_address

import hypothesis
import numpy as np
import pytest

# In parallel runs every process would otherwise start one numeric thread per core. Set before torch loads.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A deadline would fail a test because a machine was slow. CI tries the same examples every time; elsewhere
# each run tries new ones, and a failure prints the line that replays it.
hypothesis.settings.register_profile("local", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
PROFILE = "ci" if os.environ.get("CI") else "local"
hypothesis.settings.load_profile(PROFILE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="seed of the rng fixture (default 0)")


def pytest_report_header(config: pytest.Config) -> str:
    return f"seeds: --seed {config.getoption('seed')} (rng fixture), hypothesis profile {PROFILE!r}"


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random test inputs: the same for one test and one ``--seed``, whichever other tests run."""
    return np.random.default_rng([request.config.getoption("seed"), zlib.crc32(request.node.nodeid.encode())])


class NetworkRefused(RuntimeError):
    """A test reached for another machine. Not an OSError: code under test would retry that."""


def is_this_machine(host: object) -> bool:
    """Unix sockets (no text host), ``localhost``, 127.0.0.0/8, ::1 and the wildcard that a server binds."""
    if host is None or not isinstance(host, str | bytes):
        return True
    text = host.decode() if isinstance(host, bytes) else host
    if text in ("", "localhost"):
        return True
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@pytest.fixture(scope="session", autouse=True)
def network_guard() -> Iterator[None]:
    """Refuse connections, datagrams and name look-ups that leave this machine.

    An audit hook sees every socket of this process (not of its children), whichever library opened it; it
    cannot be removed, so it is disarmed at the end.
    """
    armed = True

    def hook(event: str, args: tuple[object, ...]) -> None:
        if not armed or not event.startswith("socket."):
            return
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            address = args[1]
            host = address[0] if isinstance(address, tuple) else None
        elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
            host = args[0]
        else:
            return
        if not is_this_machine(host):
            raise NetworkRefused(f"{event} to {host!r}: tests may only talk to this machine (127.0.0.1, ::1)")

    sys.addaudithook(hook)
    yield
    armed = False
