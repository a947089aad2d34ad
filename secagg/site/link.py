"""Signed requests to the coordinator over outbound HTTPS, and its signed answers."""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from secagg.errors import UsageError
from secagg.study.definition import Study
from secagg.study.identity import Identity
from secagg.transport import messages
from secagg.transport.authentication import SIGNATURE, RequestHead, is_answer
from secagg.transport.messages import Cursor, Hello, Instruction, Welcome

READ_SECONDS = 55.0
"""Longer than the coordinator lets a long poll wait, shorter than proxies do."""

FIRST_WAIT = 0.25
LONGEST_WAIT = 30.0


class Unreachable(Exception):
    """No answer: try again later. The text says what the network said."""


class Refusal(Exception):
    """The coordinator (or a box in between) refused a request.

    Attributes:
        status: of the answer.
        reason: what it said.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{reason} ({status})")
        self.status, self.reason = status, reason


class Link(Protocol):
    """A way to the coordinator; every method raises ``Refusal`` or ``Unreachable``."""

    def hello(self, hello: Hello) -> Welcome:
        """Say who is here."""
        ...

    def next(self, cursor: Cursor) -> Instruction | None:
        """Ask what to do; waits for a while."""
        ...

    def model(self, model: bytes) -> bytes:
        """Fetch the weights with this hash."""
        ...

    def send(self, cursor: Cursor, number: int, frame: bytes) -> None:
        """Hand over one frame."""
        ...

    def progress(self, fraction: float) -> None:
        """Tell how far training is, if it is no trouble."""
        ...

    def goodbye(self) -> None:
        """Tell that nothing more is needed, if it is no trouble."""
        ...


class HttpLink:
    """The coordinator over HTTPS. ``HTTPS_PROXY`` and ``NO_PROXY`` are honoured.

    Args:
        study: what was signed; names the address, the certificate and the coordinator's key.
        site: this site's id.
        identity: this site's.
        sequence: gives a larger number at every call.
        ca_file: further authorities to trust, for institutions whose proxy inspects TLS.
    """

    def __init__(
        self, study: Study, site: int, identity: Identity, sequence: Callable[[], int], ca_file: Path | None = None
    ) -> None:
        self._study, self._site, self._identity, self._sequence = study, site, identity, sequence
        self._base = study.study.coordinator.rstrip("/")
        self._key = bytes.fromhex(study.study.coordinator_key)
        timeout = httpx.Timeout(READ_SECONDS, connect=10.0)
        self._http = httpx.Client(verify=_trust(study, ca_file), timeout=timeout, http2=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def hello(self, hello: Hello) -> Welcome:
        """Say who is here."""
        return messages.decode(self._ask("POST", "/v1/hello", messages.encode(hello))[1], Welcome)

    def next(self, cursor: Cursor) -> Instruction | None:
        """Ask what to do; waits up to half a minute."""
        busy = "true" if cursor.busy else "false"
        query = f"round={cursor.round}&attempt={cursor.attempt}&busy={busy}&have={cursor.have}"
        status, body = self._ask("GET", f"/v1/next?{query}")
        return None if status == 204 else messages.decode_instruction(body)

    def model(self, model: bytes) -> bytes:
        """Fetch the weights with this hash.

        Raises:
            Refusal: what came has another hash.
        """
        body = self._ask("GET", f"/v1/model/{model.hex()}", by_hash=model)[1]
        if hashlib.sha256(body).digest() != model:
            raise Refusal(502, "the weights that came are not those that were announced")
        return body

    def send(self, cursor: Cursor, number: int, frame: bytes) -> None:
        """Hand over one frame."""
        self._ask("POST", f"/v1/frames/{cursor.round}/{cursor.attempt}/{number}", frame)

    def progress(self, fraction: float) -> None:
        """Tell how far training is; failures do not matter."""
        with suppress(Unreachable, Refusal):
            self._ask("POST", "/v1/progress", messages.encode(messages.Progress(fraction)))

    def goodbye(self) -> None:
        """Tell that nothing more is needed; failures do not matter."""
        with suppress(Unreachable, Refusal):
            self._ask("POST", "/v1/goodbye")

    def _ask(self, method: str, target: str, body: bytes = b"", by_hash: bytes | None = None) -> tuple[int, bytes]:
        """Send one signed request and return (status, body) of its signed answer."""
        digest = hashlib.sha256(body).digest()
        head = RequestHead(method, target, self._study.hash, self._site, self._sequence(), int(time.time()), digest)
        headers = head.signed_by(self._identity)
        try:
            answer = self._http.request(method, self._base + target, content=body or None, headers=headers)
        except httpx.HTTPError as error:
            raise Unreachable(_explained(error, self._base)) from None
        signature, content = bytes.fromhex(headers[SIGNATURE]), answer.content
        signed = is_answer(
            self._key,
            self._study.hash,
            signature,
            answer.status_code,
            hashlib.sha256(content).digest(),
            answer.headers.get(SIGNATURE, ""),
        )
        if answer.status_code in (502, 503, 504):
            raise Unreachable(f"{self._base} answers {answer.status_code}: the coordinator is not up")
        if answer.status_code >= 400:
            raise Refusal(answer.status_code, _reason(answer))
        if not signed and by_hash is None:
            raise Refusal(
                answer.status_code,
                f"the answer of {self._base} is not signed by the study's coordinator: another server answers",
            )
        return answer.status_code, content


def _trust(study: Study, ca_file: Path | None) -> ssl.SSLContext:
    """Return whom to trust: the pinned certificate, or public authorities; and the given file.

    Raises:
        UsageError: a certificate that cannot be read.
    """
    try:
        pinned = study.study.certificate.strip()
        context = ssl.create_default_context(cadata=pinned or None)
        if ca_file is not None:
            context.load_verify_locations(ca_file)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise UsageError(f"cannot read the certificate to trust: {error}") from None
    return context


def _explained(error: httpx.HTTPError, base: str) -> str:
    """Say what went wrong in a way that tells who must act."""
    text = " ".join(str(error).split()) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {base} is not the one that the study names ({cause.verify_message}): this may be a "
            "proxy that inspects TLS (give its authority with --ca-file), a wrong clock here, or another server"
        )
    host = urlsplit(base).hostname
    return f"cannot reach {host}: {text} (outbound HTTPS must be open; behind a proxy, set HTTPS_PROXY)"


def _reason(answer: httpx.Response) -> str:
    try:
        return " ".join(str(answer.json()["error"])[:500].split())
    except (ValueError, KeyError, TypeError):
        return "refused by something that is not the coordinator"


def pause(failures: int) -> float:
    """Return how many seconds to wait after the ``failures``-th failure in a row: doubling, spread, bounded."""
    spread = 0.5 + (time.time_ns() // 1000 % 1000) / 1000
    return float(min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(failures, 10)) * spread)
