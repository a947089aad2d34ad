"""Signed requests to the coordinator over outbound HTTPS, and its signed answers."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from secagg.errors import UsageError
from secagg.site.connection import Connection
from secagg.study.definition import Study
from secagg.study.identity import Identity
from secagg.transport import files, messages
from secagg.transport.authentication import SIGNATURE, RequestHead, is_answer
from secagg.transport.messages import Cursor, Hello, Instruction, Welcome

READ_SECONDS = 55.0
"""Longer than the coordinator lets a long poll wait, shorter than proxies do."""

FIRST_WAIT = 0.25
FOLDER_SECONDS = 0.1
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

    def send(self, cursor: Cursor, number: int, letter: bytes, *, then: bool) -> Instruction | None:
        """Hand over one letter of frames; ``then`` waits in the same request for what comes after it."""
        ...

    def progress(self, fraction: float) -> None:
        """Tell how far training is, if it is no trouble."""
        ...

    def goodbye(self) -> None:
        """Tell that nothing more is needed, if it is no trouble."""
        ...


@dataclass(frozen=True)
class Answer:
    """What came back: status, body, and what claims to be the coordinator's signature on both."""

    status: int
    body: bytes
    signature: str


class SignedLink:
    """Signed requests, whatever carries them; a carrier implements ``_carry``.

    Args:
        study: what was signed; names the coordinator's key.
        site: this site's id.
        identity: this site's.
        sequence: gives a larger number at every call.
        where: what errors call the coordinator.
    """

    def __init__(self, study: Study, site: int, identity: Identity, sequence: Callable[[], int], where: str) -> None:
        self._study, self._site, self._identity, self._sequence = study, site, identity, sequence
        self._where = where
        self._key = bytes.fromhex(study.study.coordinator_key)

    def _carry(self, head: RequestHead, headers: dict[str, str], body: bytes) -> Answer:
        """Bring a request to the coordinator and its answer back.

        Raises:
            Unreachable: no answer.
        """
        raise NotImplementedError

    def hello(self, hello: Hello) -> Welcome:
        """Say who is here."""
        return messages.decode(self._ask("POST", "/v1/hello", messages.encode(hello)).body, Welcome)

    def next(self, cursor: Cursor) -> Instruction | None:
        """Ask what to do; waits up to half a minute."""
        busy = "true" if cursor.busy else "false"
        query = f"round={cursor.round}&attempt={cursor.attempt}&busy={busy}&have={cursor.have}"
        return _instruction(self._ask("GET", f"/v1/next?{query}"))

    def model(self, model: bytes) -> bytes:
        """Fetch the weights with this hash.

        Raises:
            Refusal: what came has another hash.
        """
        body = self._ask("GET", f"/v1/model/{model.hex()}", by_hash=True).body
        if hashlib.sha256(body).digest() != model:
            raise Refusal(502, "the weights that came are not those that were announced")
        return body

    def send(self, cursor: Cursor, number: int, letter: bytes, *, then: bool) -> Instruction | None:
        """Hand over one letter of frames.

        Args:
            cursor: where this site is.
            number: of the letter.
            letter: its bytes.
            then: ask in the same request what to do next, as `next` does.
        """
        query = f"?have={cursor.have}" if then else ""
        answer = self._ask("POST", f"/v1/frames/{cursor.round}/{cursor.attempt}/{number}{query}", letter)
        return _instruction(answer)

    def progress(self, fraction: float) -> None:
        """Tell how far training is; failures do not matter."""
        with suppress(Unreachable, Refusal):
            self._ask("POST", "/v1/progress", messages.encode(messages.Progress(fraction)))

    def goodbye(self) -> None:
        """Tell that nothing more is needed; failures do not matter."""
        with suppress(Unreachable, Refusal):
            self._ask("POST", "/v1/goodbye")

    def _ask(self, method: str, target: str, body: bytes = b"", *, by_hash: bool = False) -> Answer:
        """Send one signed request and return its signed answer; one that is checked by its hash needs no signature."""
        digest = hashlib.sha256(body).digest()
        head = RequestHead(method, target, self._study.hash, self._site, self._sequence(), int(time.time()), digest)
        headers = head.signed_by(self._identity)
        answer = self._carry(head, headers, body)
        if answer.status in (500, 502, 503, 504):
            raise Unreachable(f"{self._where} answers {answer.status}: the coordinator is not up, or in trouble")
        if answer.status >= 400:
            raise Refusal(answer.status, _reason(answer.body))
        signed = by_hash or is_answer(
            self._key,
            self._study.hash,
            bytes.fromhex(headers[SIGNATURE]),
            answer.status,
            hashlib.sha256(answer.body).digest(),
            answer.signature,
        )
        if not signed:
            raise Refusal(
                answer.status,
                f"the answer of {self._where} is not signed by the study's coordinator: another server answers",
            )
        return answer


class HttpLink(SignedLink):
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
        self._base = study.study.coordinator.rstrip("/")
        super().__init__(study, site, identity, sequence, self._base)
        self._connection = Connection(self._base, _trust(study, ca_file), READ_SECONDS, SIGNATURE)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _carry(self, head: RequestHead, headers: dict[str, str], body: bytes) -> Answer:
        try:
            return Answer(*self._connection.request(head.method, head.target, body, headers))
        except (OSError, HTTPException) as error:
            raise Unreachable(_explained(error, self._base)) from None


class FolderLink(SignedLink):
    """The coordinator through files in a folder; answers are waited for, however long they are under way.

    Args:
        study: what was signed.
        site: this site's id.
        identity: this site's.
        sequence: gives a larger number at every call.
        folder: shared with the coordinator, or carried to it and back.
        patience: seconds after which a request counts as unanswered.
    """

    def __init__(
        self,
        study: Study,
        site: int,
        identity: Identity,
        sequence: Callable[[], int],
        folder: Path,
        patience: float = 30 * 86400.0,
    ) -> None:
        super().__init__(study, site, identity, sequence, str(folder))
        files.prepare(folder)
        self._folder, self._patience = folder, patience

    def close(self) -> None:
        """Nothing is kept open."""

    def progress(self, fraction: float) -> None:
        """Not said: nobody carries a stick for a progress bar."""

    def _carry(self, head: RequestHead, headers: dict[str, str], body: bytes) -> Answer:
        # Nobody can lay an answer in wait for a request whose signature is still to be made.
        name = f"{head.site}-{head.sequence}-{headers[SIGNATURE][:16]}"
        asked, answered = self._folder / files.REQUESTS / name, self._folder / files.ANSWERS / name
        until = time.monotonic() + self._patience
        try:
            files.put(asked, files.RequestFile(head.method, head.target, headers, body))
            while (answer := _read(answered)) is None:
                if time.monotonic() > until:
                    raise Unreachable(f"nobody answered {asked}")
                time.sleep(FOLDER_SECONDS)
            asked.unlink(missing_ok=True)
            answered.unlink(missing_ok=True)
        except OSError as error:
            raise Unreachable(f"cannot use the folder {self._folder}: {error.strerror or error}") from None
        return Answer(answer.status, answer.body, answer.signature)


def _read(path: Path) -> files.AnswerFile | None:
    """Return an answer, or ``None`` if it is not there yet, or not whole: whoever carries it may be copying."""
    try:
        return files.read_answer(path) if path.exists() else None
    except UsageError:
        return None


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


def _explained(error: OSError | HTTPException, base: str) -> str:
    """Say what went wrong in a way that tells who must act."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {base} is not the one that the study names ({error.verify_message}): this may be a "
            "proxy that inspects TLS (give its authority with --ca-file), a wrong clock here, or another server"
        )
    host = urlsplit(base).hostname
    return f"cannot reach {host}: {text} (outbound HTTPS must be open; behind a proxy, set HTTPS_PROXY)"


def _instruction(answer: Answer) -> Instruction | None:
    """Read what to do; 204 says: nothing yet."""
    return None if answer.status == 204 else messages.decode_instruction(answer.body)


def _reason(body: bytes) -> str:
    try:
        return " ".join(str(json.loads(body)["error"])[:500].split())
    except (ValueError, KeyError, TypeError):
        return "refused by something that is not the coordinator"


def pause(failures: int) -> float:
    """Return how many seconds to wait after the ``failures``-th failure in a row: doubling, spread, bounded."""
    spread = 0.5 + (time.time_ns() // 1000 % 1000) / 1000
    return float(min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(failures, 10)) * spread)
