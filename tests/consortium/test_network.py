"""What stands between a site and its coordinator: proxies, other authorities, slow strangers, signals."""

from __future__ import annotations

import base64
import contextlib
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest

from secagg.coordinator import server
from secagg.errors import UsageError
from secagg.site.connection import Connection
from secagg.site.link import HttpLink, Unreachable
from secagg.study import approval
from secagg.transport.messages import Hello
from tests.consortium.test_study_over_tls import check_study, join_all
from tests.support.consortium import Lab


class Proxy:
    """A small forward proxy: CONNECT only, with a password."""

    def __init__(self, password: str) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._wanted = "Basic " + base64.b64encode(password.encode()).decode()
        self.tunnels = 0
        self.carried = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                inward, _ = self._listening.accept()
                threading.Thread(target=self._tunnel, args=(inward,), daemon=True).start()

    def _tunnel(self, inward: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += inward.recv(4096)
        found = re.match(rb"CONNECT ([^:]+):(\d+) HTTP", head)
        if found is None or f"Proxy-Authorization: {self._wanted}".encode() not in head:
            inward.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            inward.close()
            return
        self.tunnels += 1
        outward = socket.create_connection((found[1].decode(), int(found[2])))
        inward.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        for source, sink in ((inward, outward), (outward, inward)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.carried += data[:2000]
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    made = Proxy("anna:p@ss")
    for name in ("no_proxy", "NO_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://anna:p%40ss@127.0.0.1:{made.port}")
    yield made
    made.close()


def test_through_the_institutions_proxy(make_lab, proxy: Proxy) -> None:
    lab = make_lab(sites=3, changes={"rounds = 10": "rounds = 1"})
    with lab.coordinator(until_finished=True):
        assert len(join_all(lab, lab.sites)) == 3
    check_study(lab, 1)
    assert proxy.tunnels >= 3
    assert b"secagg-signature" not in proxy.carried, "the tunnel is TLS from end to end"


def test_no_proxy_for_some(make_lab, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_lab(sites=3, changes={"rounds = 10": "rounds = 1"})
    monkeypatch.setenv("NO_PROXY", "localhost")
    with lab.coordinator(until_finished=True):
        assert len(join_all(lab, lab.sites)) == 3
    assert proxy.tunnels == 0


def test_a_proxy_that_refuses(make_lab, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://anna:wrong@127.0.0.1:{proxy.port}")
    lab = make_lab(sites=3)
    link = HttpLink(lab.study, 1, lab.key(1), lambda: 1)
    with pytest.raises(Unreachable, match="407"):
        link.hello(Hello(approval.sign(lab.study, lab.key(1)), "test"))
    link.close()


def test_a_proxy_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(UsageError, match="http://HOST:PORT"):
        Connection("https://coordinator.example.org", ssl.create_default_context(), 5.0, "x")


def without_pin(lab: Lab) -> None:
    path = lab.home / "lead" / "study.toml"
    path.write_text(re.sub(r'certificate = """.*?"""', 'certificate = ""', path.read_text(), flags=re.DOTALL))
    lab.distribute()


def test_an_authority_of_the_institution(make_lab) -> None:
    """With no certificate in the study a public authority must vouch, or the one of --ca-file."""
    lab = make_lab(sites=3)
    without_pin(lab)
    with lab.coordinator() as web:
        del web
        hello = Hello(approval.sign(lab.study, lab.key(1)), "test")
        known, unknown = (
            HttpLink(lab.study, 1, lab.key(1), lambda: int(1e6), ca_file=file)
            for file in (lab.home / "lead" / "tls.crt", None)
        )
        with pytest.raises(Unreachable, match="give its authority with --ca-file"):
            unknown.hello(hello)
        assert known.hello(hello).members == 1
        for link in (known, unknown):
            link.close()


def test_a_file_that_is_no_authority(make_lab, tmp_path) -> None:
    lab = make_lab(sites=3)
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(UsageError, match="certificate to trust"):
        HttpLink(lab.study, 1, lab.key(1), lambda: 1, ca_file=tmp_path / "ca.pem")


def test_a_slow_head_is_cut_off(make_lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers who never finish the head of a request lose their connections; members finish meanwhile."""
    monkeypatch.setattr(server, "HEAD_SECONDS", 1.0)
    lab = make_lab(sites=3, changes={"rounds = 10": "rounds = 2"})
    with lab.coordinator(until_finished=True):
        trust = ssl.create_default_context(cadata=lab.study.study.certificate)
        slow = []
        for _ in range(20):
            plain = socket.create_connection(("127.0.0.1", lab.port), timeout=10)
            slow.append(trust.wrap_socket(plain, server_hostname="localhost"))
            slow[-1].sendall(b"POST /v1/hello HTTP/1.1\r\nHost: local")
        assert len(join_all(lab, lab.sites)) == 3
        for connection in slow:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                assert connection.recv(100) == b""
            connection.close()


def is_cut_off(secure: ssl.SSLSocket, within: float) -> bool:
    """Send a byte now and then until the other side is gone."""
    until = time.monotonic() + within
    try:
        while time.monotonic() < until:
            secure.sendall(b"G")
            time.sleep(0.2)
    except OSError:
        return True
    return False


@pytest.mark.parametrize("first", ["GET /health HTTP/1.1", "POST /v1/hello HTTP/1.1\r\nContent-Length: 9999"])
def test_what_is_slow_after_the_first_answer_is_cut_off(make_lab, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """The head of a second request, and the body of one that was refused already."""
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", 0.4)
    lab = make_lab(sites=3)
    with lab.coordinator():
        trust = ssl.create_default_context(cadata=lab.study.study.certificate)
        plain = socket.create_connection(("127.0.0.1", lab.port), timeout=10)
        with trust.wrap_socket(plain, server_hostname="localhost") as secure:
            secure.sendall(f"{first}\r\nHost: localhost\r\n\r\n".encode())
            assert secure.recv(1000).startswith(b"HTTP/1.1 ")
            assert is_cut_off(secure, within=15)


def test_sigterm_stops_in_the_middle_and_the_study_goes_on(make_lab) -> None:
    patient = {"join = 60": "join = 300", "phase = 60": "phase = 300", "train = 3600": "train = 300"}
    changes = {**patient, "rounds = 10": "rounds = 4", "[task]": "seconds = 0.3\n"}
    lab = make_lab(sites=3, changes=changes)
    coordinator = lab.spawn_coordinator()
    sites = [lab.spawn_site(site) for site in lab.sites]
    receipts = lab.state / "receipts.jsonl"
    until = time.monotonic() + 60
    while not (receipts.exists() and receipts.read_bytes()) and time.monotonic() < until:
        time.sleep(0.05)
    began = time.monotonic()
    coordinator.send_signal(signal.SIGTERM)
    assert coordinator.wait(60) == 0
    assert time.monotonic() - began < 24, "waiting polls do not hold it up"
    assert "stopped; secagg serve goes on from here" in lab.log("lead")
    assert "Traceback" not in lab.log("lead")
    assert (lab.state / "page-token").read_text().strip() not in lab.log("lead")
    again = lab.spawn_coordinator()
    assert [site.wait(120) for site in sites] == [0, 0, 0]
    assert again.wait(60) == 0
    told = check_study(lab, 1)
    assert [said.outcome for said in told] == ["opened"] * 4
