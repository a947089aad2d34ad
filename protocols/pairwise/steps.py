"""What a step gives back, for both roles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class SharesAccepted:
    """A dealer's sealed shares are in order; the relay is to store the entries, one per holder, ascending."""

    dealer: int
    entries: tuple[bytes, ...]


Event = ChunkAccepted | InputComplete | SharesAccepted

Relayed = Callable[[int, int], bytes]
"""Gives (dealer, place) -> the entry that a ``SharesAccepted`` held in this place."""


class Outbound:
    """The frames to send as (client id, bytes), made as they are taken: together they can be larger than the server.

    Args:
        clients: the receivers, in order.
        frame: makes the frame of one receiver, the same one at every call.
    """

    def __init__(self, clients: Sequence[int] = (), frame: Callable[[int], bytes] = bytes) -> None:
        self._clients = clients
        self._frame = frame

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for client in self._clients:
            yield client, self._frame(client)

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def clients(self) -> tuple[int, ...]:
        """The receivers, in order."""
        return tuple(self._clients)

    def frame_for(self, client: int) -> bytes:
        """Return the frame of one of the receivers, the same one at every call."""
        return self._frame(client)


def to_all(clients: Sequence[int], frame: bytes) -> Outbound:
    """Send one frame to everybody."""
    return Outbound(clients, lambda _: frame)


@dataclass(frozen=True)
class ServerStep:
    """The next state of the server, the frames to send, and what the caller must do."""

    state: ServerState
    outbound: Outbound = field(default_factory=Outbound)
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
