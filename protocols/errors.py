"""The error tree of every protocol family.

Two questions decide the class: *who* broke the rules (the caller of this library, or the peer at the other end of the
wire), and *which* numbered rule. No message ever holds secret material.
"""

from __future__ import annotations

from enum import Enum


class SecAggError(Exception):
    """Root of all errors raised by ``protocols``."""


class ParameterError(SecAggError, ValueError):
    """Parameters were refused at construction; the text says which value would do."""


class ProtocolError(SecAggError):
    """A step could not be taken; the state passed in is still valid and unchanged."""


class LocalProtocolError(ProtocolError):
    """The caller of this library did something out of order or handed in unusable input."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a numbered rule.

    Attributes:
        rule: member of the family's rule enumeration (its value is the rule number, such as ``"C12"``).
        reason: one sentence for humans, free of secrets.
        culprit: the client id of the party to blame, or ``None`` for the server or when nobody can be named. In an
            active round a client names a peer only for what that peer has signed; a server names whom the transport
            vouches for.
    """

    def __init__(self, rule: Enum, reason: str, culprit: int | None = None) -> None:
        super().__init__(f"[{rule.value}] {reason}")
        self.rule = rule
        self.reason = reason
        self.culprit = culprit

    def __reduce__(self) -> tuple[type[RemoteProtocolError], tuple[Enum, str, int | None]]:
        """Keep the error picklable for process pools (it holds no secret)."""
        return type(self), (self.rule, self.reason, self.culprit)


class CodecError(RemoteProtocolError):
    """Bytes from the wire are not a message of this protocol, or not in their one canonical form."""
