"""Secure aggregation protocols as sans-IO state machines.

No module here opens a socket, reads a clock, starts a thread or logs. ``protocols.pairwise`` is SecAgg; other families
will stand beside it. Start with ``protocols/README.md``.
"""

from protocols.entropy import Entropy, SystemEntropy
from protocols.errors import (
    CodecError,
    LocalProtocolError,
    ParameterError,
    ProtocolError,
    RemoteProtocolError,
    SecAggError,
)
from protocols.secret import Secret

__all__ = [
    "CodecError",
    "Entropy",
    "LocalProtocolError",
    "ParameterError",
    "ProtocolError",
    "RemoteProtocolError",
    "SecAggError",
    "Secret",
    "SystemEntropy",
]
