"""Strangers, replays, wrong clocks, oversized and slow bodies: refused in one line, and the study goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols import Secret
from secagg.coordinator import bodies
from secagg.coordinator.web import Web
from secagg.errors import UsageError
from secagg.site.link import HttpLink, Refusal, Unreachable
from secagg.study import approval, definition, folder
from secagg.study.certificate import self_signed
from secagg.study.identity import Identity
from secagg.transport import messages
from secagg.transport.authentication import CLOCK_TOLERANCE, SEQUENCE, RequestHead
from secagg.transport.messages import Hello
from tests.consortium.test_study_over_tls import join_all
from tests.support.consortium import Lab
from tests.support.entropy import InsecureSeededEntropy

EMPTY = hashlib.sha256(b"").digest()


class Wire:
    """Raw requests to a running coordinator."""

    web: Web

    def __init__(self, lab: Lab) -> None:
        self.lab, self.study, self.base = lab, lab.study, f"https://localhost:{lab.port}"
        self.trust = ssl.create_default_context(cadata=self.study.study.certificate)
        self.http = httpx.Client(verify=self.trust, trust_env=False, timeout=20.0)
        self.sequence = 1_000_000_000

    def head(self, method: str, target: str, body: bytes = b"", **changes: object) -> RequestHead:
        self.sequence += 1
        head = RequestHead(
            method, target, self.study.hash, 1, self.sequence, int(time.time()), hashlib.sha256(body).digest()
        )
        return replace(head, **changes)  # type: ignore[arg-type]

    def ask(
        self, head: RequestHead, body: bytes = b"", *, key: Identity | None = None, target: str = ""
    ) -> httpx.Response:
        headers = head.signed_by(key or self.lab.key(1))
        return self.http.request(
            head.method, self.base + (target or head.target), content=body or None, headers=headers
        )

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.lab.port), timeout=10)
        return self.trust.wrap_socket(plain, server_hostname="localhost")


@pytest.fixture(scope="module")
def wire(tmp_path_factory) -> Iterator[Wire]:
    """One running coordinator for all refusals; nothing in them may change its state."""
    lab = Lab.create(tmp_path_factory.mktemp("refusals"), sites=3)
    with lab.coordinator(poll_seconds=0.1) as web:
        made = Wire(lab)
        made.web = web
        yield made
        made.http.close()
        assert web.engine.live is None
        assert web.engine.store.journal() == []


def refused(answer: httpx.Response, status: int, says: str) -> None:
    assert answer.status_code == status, answer.text
    reason = answer.json()["error"]
    assert says in reason
    assert "\n" not in reason
    assert "Traceback" not in answer.text


def test_a_signed_poll_is_served(wire: Wire) -> None:
    answer = wire.ask(wire.head("GET", "/v1/next?round=0&attempt=0&busy=true&have=0"))
    assert isinstance(messages.decode_instruction(answer.content), messages.Over)


def test_unsigned(wire: Wire) -> None:
    refused(wire.http.get(f"{wire.base}/v1/next"), 401, "not signed")


def test_a_strangers_key(wire: Wire) -> None:
    stranger = Identity(Secret(bytes(range(32))))
    refused(wire.ask(wire.head("GET", "/v1/next"), key=stranger), 401, "wrong key")
    refused(wire.ask(wire.head("GET", "/v1/next", site=9), key=stranger), 403, "no site 9")


def test_another_study(wire: Wire) -> None:
    refused(wire.ask(wire.head("GET", "/v1/next", study=bytes(32))), 409, "another study file")


def test_a_replayed_request(wire: Wire) -> None:
    head = wire.head("GET", "/v1/next?busy=true")
    assert wire.ask(head).status_code == 200
    refused(wire.ask(head), 425, "replayed")


def test_a_changed_target_body_or_header(wire: Wire) -> None:
    head = wire.head("GET", "/v1/next?busy=true")
    refused(wire.ask(head, target="/v1/next?busy=false"), 401, "changed on the way")
    head = wire.head("POST", "/v1/progress", b"as signed")
    refused(wire.ask(head, b"changed"), 400, "not the one that was signed")
    head = wire.head("GET", "/v1/next?busy=true")
    headers = head.signed_by(wire.lab.key(1)) | {SEQUENCE: str(head.sequence + 5)}
    refused(wire.http.get(wire.base + head.target, headers=headers), 401, "changed on the way")


@pytest.mark.parametrize(("off", "says"), [(CLOCK_TOLERANCE + 60, "ahead"), (-CLOCK_TOLERANCE - 60, "behind")])
def test_a_clock_that_is_off(wire: Wire, off: int, says: str) -> None:
    refused(wire.ask(wire.head("GET", "/v1/next", time=int(time.time()) + off)), 401, says)


def test_an_oversized_body(wire: Wire) -> None:
    body = bytes(messages.MAX_SMALL_BODY + 1)
    refused(wire.ask(wire.head("POST", "/v1/hello", body), body), 413, "larger than")


def test_a_body_without_a_length(wire: Wire) -> None:
    head = wire.head("POST", "/v1/hello")
    answer = wire.http.post(wire.base + head.target, content=iter([b""]), headers=head.signed_by(wire.lab.key(1)))
    refused(answer, 411, "Content-Length")


def test_a_frame_of_no_round(wire: Wire) -> None:
    refused(wire.ask(wire.head("POST", "/v1/frames/0/0/0", b"x"), b"x"), 410, "not in progress")


@pytest.mark.parametrize("target", ["/v1/model/..%2f..%2fcoordinator.db", "/v1/model/../../tls.key", "/v1/model/%00"])
def test_path_tricks(wire: Wire, target: str) -> None:
    answer = wire.ask(wire.head("GET", target))
    assert answer.status_code in (400, 401, 404)
    assert "PRIVATE KEY" not in answer.text


def test_an_approval_of_somebody_else(wire: Wire) -> None:
    given = approval.sign(wire.study, wire.lab.key(2))
    body = messages.encode(Hello(given, "test"))
    refused(wire.ask(wire.head("POST", "/v1/hello", body), body), 400, "not this site's signature")


def test_a_slow_body(wire: Wire, monkeypatch) -> None:
    monkeypatch.setattr(bodies, "IDLE_SECONDS", 0.5)
    body = b"x" * 100
    head = wire.head("POST", "/v1/progress", body)
    lines = [f"POST {head.target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in head.signed_by(wire.lab.key(1)).items()]
    with wire.connect() as secure:
        secure.sendall("\r\n".join([*lines, "", "x"]).encode())
        assert b"408" in secure.recv(1000)


def test_a_wrong_certificate(wire: Wire) -> None:
    other, _ = self_signed("localhost", InsecureSeededEntropy(7))
    about = wire.study.study
    changed = definition.parse(
        (wire.lab.home / "lead" / "study.toml").read_text().replace(about.certificate, other.decode())
    )
    link = HttpLink(changed, 1, wire.lab.key(1), lambda: 5)
    with pytest.raises(Unreachable, match="not the one that the study names"):
        link.hello(Hello(approval.sign(changed, wire.lab.key(1)), "test"))
    link.close()


def test_an_answer_of_somebody_else(wire: Wire, monkeypatch) -> None:
    monkeypatch.setattr(wire.web.engine, "identity", Identity(Secret(bytes(range(32)))))
    link = HttpLink(wire.study, 1, wire.lab.key(1), lambda: wire.head("GET", "/").sequence)
    with pytest.raises(Refusal, match="not signed by the study's coordinator"):
        link.hello(Hello(approval.sign(wire.study, wire.lab.key(1)), "test"))
    link.close()


def test_health_needs_no_signature(wire: Wire) -> None:
    assert wire.http.get(f"{wire.base}/health").json() == {"status": "ok"}
    assert wire.http.get(f"{wire.base}/ready").json() == {"status": "ready"}


TARGETS = st.sampled_from(
    ["/v1/hello", "/v1/next", "/v1/next?round=-1", "/v1/next?busy=true&have=1e9", "/v1/progress", "/v1/frames/0/0/0",
     "/v1/frames/99999999999999999999/0/0", "/v1/model/x", "/v1/goodbye", "/nothing", "/v1/"]
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(["GET", "POST", "PUT", "HEAD"]), target=TARGETS, body=st.binary(max_size=300))
def test_fuzzed_bodies_of_a_member(wire: Wire, method: str, target: str, body: bytes) -> None:
    answer = wire.ask(wire.head(method, target, body), body)
    assert answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(min_size=1, max_size=400))
def test_fuzzed_http(wire: Wire, data: bytes) -> None:
    with contextlib.suppress(OSError), wire.connect() as secure:
        secure.sendall(b"POST /v1/hello HTTP/1.1\r\n" + data + b"\r\n\r\n")
        secure.settimeout(0.1)
        answer = secure.recv(1000)
        assert not answer.startswith(b"HTTP/1.1 5")
        assert b"Traceback" not in answer


@pytest.fixture(scope="module")
def live_wire(tmp_path_factory) -> Iterator[Wire]:
    """A coordinator in whose round three sites are to advertise their keys."""
    lab = Lab.create(tmp_path_factory.mktemp("letters"), sites=3, changes={"train = 3600": "train = 3000"})
    with lab.coordinator(poll_seconds=0.1) as web:
        made = Wire(lab)
        made.web = web
        for site in lab.sites:
            body = messages.encode(Hello(approval.sign(lab.study, lab.key(site)), "test"))
            assert made.ask(made.head("POST", "/v1/hello", body, site=site), body, key=lab.key(site)).status_code == 200
            asked = made.head("GET", "/v1/next?round=0&attempt=0&busy=false&have=0", site=site)
            assert made.ask(asked, key=lab.key(site)).status_code in (200, 204)
        until = time.monotonic() + 20
        while web.engine.live is None and time.monotonic() < until:
            time.sleep(0.05)
        yield made
        made.http.close()
        assert web.engine.live.status.have == ()


def test_a_letter_whose_round_ends_on_the_way(live_wire: Wire, monkeypatch) -> None:
    """What a late site still uploads is erased with the round: it is told so in a line that it can go on from."""
    body = bytes(200_000)
    head = live_wire.head("POST", "/v1/frames/0/0/0", body)
    lines = [f"POST {head.target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in head.signed_by(live_wire.lab.key(1)).items()]
    store = live_wire.web.engine.store
    with live_wire.connect() as secure:
        secure.sendall("\r\n".join([*lines, "", ""]).encode() + body[:100_000])
        until = time.monotonic() + 10
        while not list(store.files.iterdir()) and time.monotonic() < until:
            time.sleep(0.02)
        store.erase()
        secure.sendall(body[100_000:])
        assert b"410" in secure.recv(1000)


def test_letters_that_are_not_even_read(live_wire: Wire, monkeypatch) -> None:
    """Of a site that is not in the round, and of one that has two on their way in already."""
    opening = live_wire.web.engine.live.opening
    with monkeypatch.context() as patch:
        patch.setattr(live_wire.web.engine.live, "opening", msgspec.structs.replace(opening, clients=(2, 3)))
        refused(live_wire.ask(live_wire.head("POST", "/v1/frames/0/0/0", b"x"), b"x"), 410, "site 1 is not in round 0")
    with monkeypatch.context() as patch:
        patch.setitem(live_wire.web._letters, 1, 2)
        refused(live_wire.ask(live_wire.head("POST", "/v1/frames/0/0/0", b"x"), b"x"), 429, "at the same time")


def test_hello_is_not_presence(wire: Wire) -> None:
    """Who only says hello, as `secagg check` does, is not waited for in a round."""
    body = messages.encode(Hello(approval.sign(wire.study, wire.lab.key(3)), "secagg check"))
    assert wire.ask(wire.head("POST", "/v1/hello", body, site=3), body, key=wire.lab.key(3)).status_code == 200
    assert 3 not in wire.web.engine.present()


@pytest.mark.parametrize("digits", [11, 5000])
def test_numbers_longer_than_python_reads(wire: Wire, digits: int) -> None:
    assert wire.http.get(f"{wire.base}/v1/frames/{'9' * digits}/0/0").status_code in (404, 405)
    assert wire.http.post(f"{wire.base}/v1/frames/0/0/{'9' * digits}").status_code == 404


LETTERS = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda frames, spent: messages.encode(messages.Letter(tuple(frames), None, spent)),
        st.lists(st.binary(max_size=80), min_size=1, max_size=3),
        st.one_of(st.none(), st.builds(messages.Spent, st.binary(max_size=40), st.binary(max_size=70))),
    ),
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(number=st.integers(0, 3), letter=LETTERS)
def test_fuzzed_letters_of_a_member(live_wire: Wire, number: int, letter: bytes) -> None:
    """Nothing of them is taken, nothing of them stays in the journal, and the round is as it was."""
    answer = live_wire.ask(live_wire.head("POST", f"/v1/frames/0/0/{number}", letter), letter)
    assert 400 <= answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
    assert [entry.kind for entry in live_wire.web.engine.store.journal()] == ["begin"]


def test_the_study_goes_on(make_lab) -> None:
    """While strangers knock, members finish."""
    lab = make_lab(sites=3, changes={"rounds = 10": "rounds = 2"})
    with lab.coordinator(until_finished=True):
        wire = Wire(lab)
        for _ in range(30):
            refused(wire.http.get(f"{wire.base}/v1/next"), 401, "not signed")
            refused(wire.ask(wire.head("GET", "/v1/next", site=2)), 401, "wrong key")
        wire.http.close()
        assert len(join_all(lab, lab.sites)) == 3


def test_a_roster_that_was_not_approved(make_lab) -> None:
    lab = make_lab(sites=4)
    folder.remove_site(lab.home / "lead" / "study.toml", 4)
    with lab.coordinator(), lab.participant(1, give_up_after=5.0) as site, pytest.raises(UsageError) as refusal:
        site.run("test")
    assert "another study file" in str(refusal.value)


def test_refusals_are_json_on_unknown_paths(wire: Wire) -> None:
    answer = wire.http.get(f"{wire.base}/nothing")
    assert answer.status_code == 404
    assert json.loads(answer.text) == {"error": "Not Found"}
