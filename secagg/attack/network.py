"""One server and its clients in memory, with a place to lose, repeat, reorder and change what they say."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from protocols import SecAggError
from protocols.pairwise import Client, Server
from protocols.pairwise import messages as m
from protocols.pairwise.graph import GraphSpec
from protocols.wire import Message
from secagg.attack.cohort import MODEL, Cohort, Vectors


@dataclass(frozen=True)
class Delivery:
    """One frame under way; ``upward`` from ``client`` to the server, otherwise from the server to ``client``."""

    phase: m.Phase
    upward: bool
    client: int
    frame: bytes


Tamper = Callable[[Delivery], Iterable[bytes]]
"""What arrives in place of a delivery: nothing, the frame itself, others."""

Arrival = Callable[[Sequence[tuple[int, bytes]]], Iterable[tuple[int, bytes]]]
"""In which order the answers of one phase reach the server."""

_NO_LIMITS = dict.fromkeys(m.CODEC._kinds.values(), 1 << 40)


def read_frame(frame: bytes) -> tuple[bytes, Any]:
    """Decode any frame of either side: (context, message)."""
    return m.CODEC.decode(frame, _NO_LIMITS)


def edit(
    message: type[Message],
    change: Callable[[Any], Message | None],
    *,
    client: int | None = None,
) -> Tamper:
    """Re-encode every ``message`` to or from ``client`` (or anybody) as ``change`` of it; ``None`` loses it."""

    def tamper(delivery: Delivery) -> Iterable[bytes]:
        context, found = read_frame(delivery.frame)
        if not isinstance(found, message) or client not in (None, delivery.client):
            return [delivery.frame]
        changed = change(found)
        return [] if changed is None else [m.CODEC.encode(context, changed)]

    return tamper


def inside(machine: Client | Server) -> Any:
    """Look into a machine's present state, whichever it is."""
    return machine.state


class Network:
    """Drives one round, phase by phase.

    Args:
        cohort: who takes part.
        clients: machines, the cohort's honest ones by default.
        tampers: applied to every frame under way, in order.
        arrival: order in which the answers of a phase reach the server.
        server: the cohort's honest one by default.
        strict: raise what a machine refuses instead of going on without it.

    Attributes:
        transcript: every frame that arrived, in order.
        refusals: what a client raised, by client; it says nothing any more.
        rejected: (client, what the server raised) for frames that it refused.
        gone: clients that vanished or refused.
        graph: of the round, once there is one.
    """

    def __init__(
        self,
        cohort: Cohort,
        *,
        clients: Mapping[int, Client] | None = None,
        tampers: Sequence[Tamper] = (),
        arrival: Arrival = list,
        server: Server | None = None,
        strict: bool = False,
    ) -> None:
        self.cohort = cohort
        self.server = server or cohort.server()
        self.clients = dict(cohort.clients() if clients is None else clients)
        self.models = dict.fromkeys(self.clients, MODEL)
        self.transcript: list[Delivery] = []
        self.refusals: dict[int, SecAggError] = {}
        self.rejected: list[tuple[int, SecAggError]] = []
        self.gone: set[int] = set()
        self.tampers = list(tampers)
        self.arrival = arrival
        self.strict = strict
        self.steps = 0
        self.graph: GraphSpec | None = None

    def step(self, answering: Collection[int] | None = None) -> None:
        """One phase: the server's requests go out; those ``answering`` (default all) answer, the rest vanish."""
        if answering is not None:
            self.gone |= set(self.clients) - set(answering)
        phase = self.cohort.variant.phases[self.steps]
        if self.steps == 0:
            answers = [(client, machine.start()) for client, machine in self.clients.items() if client not in self.gone]
        else:
            answers = [
                (client, answer)
                for client, request in self.server.advance()
                if client not in self.gone
                for arrived in self._carry(Delivery(phase, False, client, request))
                for answer in self._answer(client, arrived)
            ]
        self.steps += 1
        for client, answer in self.arrival(answers):
            for arrived in self._carry(Delivery(phase, True, client, answer)):
                try:
                    self.server.receive(client, arrived)
                except SecAggError as error:
                    if self.strict:
                        raise
                    self.rejected.append((client, error))
        self.graph = getattr(self.server.state, "graph", self.graph)

    def until(self, phase: m.Phase) -> Network:
        """Run everybody through all phases up to and including ``phase``."""
        for _ in self.cohort.variant.phases[self.steps : self.cohort.variant.phases.index(phase) + 1]:
            self.step()
        return self

    def finish(self) -> Vectors:
        """End the last phase and open the sum."""
        self.server.advance()
        return self.server.result()

    def run(self, completed: Mapping[int, int] | None = None) -> Vectors:
        """Run the round.

        Args:
            completed: how many phases each client completes before it vanishes; all by default.

        Returns:
            the sums.
        """
        self.run_until_end(completed)
        return self.finish()

    def run_until_end(self, completed: Mapping[int, int] | None = None) -> None:
        """The same, short of opening the sum."""
        for index in range(self.steps, len(self.cohort.variant.phases)):
            self.step([client for client in self.clients if completed is None or completed[client] > index])

    def fork(self) -> Network:
        """A second round in the same state; what happens in one does not touch the other."""
        twin = copy.copy(self)
        twin.clients = {client: copy.copy(machine) for client, machine in self.clients.items()}
        for machine in twin.clients.values():
            machine._ledger = copy.deepcopy(machine._ledger)
            machine._entropy = copy.deepcopy(machine._entropy)
        twin.server = copy.copy(self.server)
        twin.server._accumulator = copy.deepcopy(self.server._accumulator)
        twin.server._relay = copy.deepcopy(self.server._relay)
        twin.models, twin.gone = dict(self.models), set(self.gone)
        twin.transcript, twin.rejected = list(self.transcript), list(self.rejected)
        twin.refusals, twin.tampers = dict(self.refusals), list(self.tampers)
        return twin

    def _carry(self, delivery: Delivery) -> list[bytes]:
        frames = [delivery.frame]
        for tamper in self.tampers:
            frames = [arrived for frame in frames for arrived in tamper(replace(delivery, frame=frame))]
        self.transcript += [replace(delivery, frame=frame) for frame in frames]
        return frames

    def _answer(self, client: int, request: bytes) -> list[bytes]:
        machine = self.clients[client]
        try:
            answers = list(machine.receive(request))
            if machine.wants_input:
                answers += machine.submit(self.cohort.inputs[client], self.models[client])
        except SecAggError as error:
            if self.strict:
                raise
            self.refusals[client] = error
            self.gone.add(client)
            return []
        return answers
