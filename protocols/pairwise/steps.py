"""What a step gives back, for both roles."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.pairwise.messages import Phase
from protocols.pairwise.states import ClientState, ServerState


@dataclass(frozen=True)
class ClientStep:
    """The next state of a client, and the frames to send to the server, in order."""

    state: ClientState
    outbound: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class ChunkAccepted:
    """A chunk belongs to the client's input; the accumulator is to store it."""

    client: int
    vector: int
    offset: int
    payload: bytes


@dataclass(frozen=True)
class InputComplete:
    """The client's last chunk was accepted; the accumulator is to commit it."""

    client: int


Event = ChunkAccepted | InputComplete


@dataclass(frozen=True)
class ServerStep:
    """The next state of the server, the frames to send as (client id, bytes), and what the caller must do."""

    state: ServerState
    outbound: tuple[tuple[int, bytes], ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Status:
    """Facts about the server's present phase.

    Attributes:
        phase: the phase that is being collected, or ``None`` when there is none.
        have: clients whose message (or complete input) is here.
        pending: clients that could still send theirs.
        need: the least number to go on.
        ready: whether ``advance`` is possible. In a sparse graph enough answers must be there around every client.
    """

    phase: Phase | None
    have: tuple[int, ...]
    pending: tuple[int, ...]
    need: int
    ready: bool
