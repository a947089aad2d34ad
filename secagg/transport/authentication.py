"""Signed requests and signed answers: who speaks is known to both ends, whatever box stands between them.

A request's signature covers the method, the path with its query, the study, the site, a sequence number that only
grows, the time and the hash of the body; an answer's covers the request's signature, the status and its own body.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from protocols.suites import CLASSICAL
from secagg.study.identity import Identity

REQUEST = "http-request"
ANSWER = "http-answer"

SITE = "secagg-site"
STUDY = "secagg-study"
SEQUENCE = "secagg-sequence"
TIME = "secagg-time"
DIGEST = "secagg-digest"
SIGNATURE = "secagg-signature"

CLOCK_TOLERANCE = 300
"""Seconds that a site's clock and the coordinator's may differ."""


class Unsigned(ValueError):
    """A request without the headers that a signed one has, or with unreadable ones."""


@dataclass(frozen=True)
class RequestHead:
    """What the signature of a request covers.

    Attributes:
        method: ``GET`` or ``POST``.
        target: path and query from ``/v1/`` on; a prefix that a proxy adds or takes away is not covered.
        study: 32-byte hash of the study.
        site: the sender's id.
        sequence: larger than in every earlier request of this site.
        time: the sender's clock, whole seconds since 1970.
        digest: SHA-256 of the body.
    """

    method: str
    target: str
    study: bytes
    site: int
    sequence: int
    time: int
    digest: bytes

    def _statement(self) -> tuple[bytes | int | str, ...]:
        return self.method, self.target, self.study, self.site, self.sequence, self.time, self.digest

    def signed_by(self, identity: Identity) -> dict[str, str]:
        """Return the headers that carry this head and its signature."""
        return {
            SITE: str(self.site),
            STUDY: self.study.hex(),
            SEQUENCE: str(self.sequence),
            TIME: str(self.time),
            DIGEST: self.digest.hex(),
            SIGNATURE: identity.sign(REQUEST, *self._statement()).hex(),
        }

    def is_signed(self, key: bytes, signature: bytes) -> bool:
        """Tell whether ``signature`` is one of this head under the verification key ``key``."""
        return CLASSICAL.verify(key, signature, REQUEST, *self._statement())


def read_head(method: str, target: str, headers: Mapping[str, str]) -> tuple[RequestHead, bytes]:
    """Read (head, signature) from the headers of a request.

    Raises:
        Unsigned: a header is missing or unreadable.
    """
    try:
        study, digest = _hexadecimal(headers, STUDY, 32), _hexadecimal(headers, DIGEST, 32)
        site, sequence, time = (_number(headers, name) for name in (SITE, SEQUENCE, TIME))
        signature = _hexadecimal(headers, SIGNATURE, 64)
    except KeyError as error:
        raise Unsigned(f"the request lacks the header {error.args[0]}: it is not signed") from None
    return RequestHead(method, target, study, site, sequence, time, digest), signature


def _hexadecimal(headers: Mapping[str, str], name: str, size: int) -> bytes:
    text = headers[name]
    try:
        value = bytes.fromhex(text) if len(text) == 2 * size else b""
    except ValueError:
        value = b""
    if len(value) != size:
        raise Unsigned(f"the header {name} is not {size} bytes in hexadecimal")
    return value


def _number(headers: Mapping[str, str], name: str) -> int:
    text = headers[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Unsigned(f"the header {name} is not a number")
    return int(text)


def sign_answer(coordinator: Identity, study: bytes, request: bytes, status: int, body: bytes) -> str:
    """Return the coordinator's signature, hexadecimal, on an answer to the request with the signature ``request``."""
    return coordinator.sign(ANSWER, study, request, status, hashlib.sha256(body).digest()).hex()


def is_answer(key: bytes, study: bytes, request: bytes, status: int, digest: bytes, signature: str) -> bool:
    """Tell whether the owner of ``key`` gave this answer, whose body has the SHA-256 ``digest``, to this request."""
    try:
        given = bytes.fromhex(signature)
    except ValueError:
        return False
    return CLASSICAL.verify(key, given, ANSWER, study, request, status, digest)
