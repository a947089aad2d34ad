"""How ``protocols.pairwise`` does the operations of a vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from protocols import Entropy, LocalProtocolError, ParameterError, RemoteProtocolError, Secret
from protocols.pairwise import Client, MemoryLedger, Server, states
from tests.vectors.document import Document, read_entry, read_params, read_policy, read_roster
from tests.vectors.replay import Mismatch, Refused, Take


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RemoteProtocolError as error:
        raise Refused(error.rule.value, error.culprit) from error
    except LocalProtocolError as error:
        raise Refused("order") from error
    except ParameterError as error:
        raise Refused("parameters") from error


class _Draws(Entropy):
    def __init__(self, take: Take) -> None:
        self.take = take  # type: ignore[method-assign]


class _Machine:
    """Shared by both roles: what a refused operation leaves behind is what was there before."""

    machine: Client | Server

    @contextmanager
    def _step(self) -> Iterator[None]:
        before = states.snapshot(self.machine.state)
        try:
            with _translated():
                yield
        except Refused:
            if states.snapshot(self.machine.state) != before:
                raise Mismatch("the refusal changed the state") from None
            raise


class LibraryClient(_Machine):
    machine: Client

    def __init__(self, machine: Client) -> None:
        self.machine = machine

    def start(self) -> list[bytes]:
        return [self.machine.start()]

    def receive(self, frame: bytes) -> list[bytes]:
        with self._step():
            return list(self.machine.receive(frame))

    def submit(self, vectors: Mapping[str, list[int]], model_hash: bytes) -> list[bytes]:
        arrays = {name: np.array(values, dtype=np.uint64) for name, values in vectors.items()}
        with self._step():
            return list(self.machine.submit(arrays, model_hash))

    def joint_seed(self) -> bytes:
        return self.machine.joint_seed

    def noise_seeds(self) -> list[bytes]:
        return [seed.reveal() for seed in self.machine.noise_seeds]


class LibraryServer(_Machine):
    machine: Server

    def __init__(self, machine: Server) -> None:
        self.machine = machine

    def receive(self, client: int, frame: bytes) -> None:
        with self._step():
            self.machine.receive(client, frame)

    def advance(self) -> list[tuple[int, bytes]]:
        with self._step():
            return list(self.machine.advance())

    def abort(self, reason: str) -> list[tuple[int, bytes]]:
        with self._step():
            return list(self.machine.abort(reason))

    def joint_seed(self) -> bytes:
        return self.machine.joint_seed

    def noise_seeds(self) -> dict[int, list[bytes]]:
        return {client: [seed.reveal() for seed in seeds] for client, seeds in self.machine.revealed_noise.items()}

    def result(self) -> tuple[list[int], dict[str, list[int]]]:
        with _translated():
            sums = {name: total.tolist() for name, total in self.machine.result().items()}
            return list(self.machine.survivors), sums


class Library:
    """The implementation under test."""

    def client(self, document: Document, client: int, take: Take, memory: dict[str, Any]) -> LibraryClient:
        party = document["parties"][str(client)]
        ledger = memory.setdefault("ledger", MemoryLedger())
        if not ledger.entries():
            for entry in party["ledger"]:
                ledger.append(read_entry(entry))
        with _translated():
            machine = Client(
                read_params(document["params"]),
                read_policy(document["policy"]),
                client,
                identity=None if party["identity"] is None else Secret(bytes.fromhex(party["identity"])),
                ledger=ledger,
                data_version=party["data_version"],
                entropy=_Draws(take),
            )
        return LibraryClient(machine)

    def server(self, document: Document) -> LibraryServer:
        with _translated():
            params, roster = read_params(document["params"]), read_roster(document["roster"])
            return LibraryServer(Server(params, bytes.fromhex(document["model_hash"]), roster=roster))
