"""How the second implementation does the operations of a vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.reference import naive
from tests.vectors.document import Document
from tests.vectors.replay import Take

ABORT = 15


class NaiveClient:
    def __init__(self, machine: naive.Client) -> None:
        self.machine = machine

    def start(self) -> list[bytes]:
        return self.machine.start()

    def receive(self, frame: bytes) -> list[bytes]:
        return self.machine.receive(frame)

    def submit(self, vectors: Mapping[str, list[int]], model_hash: bytes) -> list[bytes]:
        return self.machine.submit(vectors, model_hash)

    def joint_seed(self) -> bytes:
        return self.machine.joint_seed

    def noise_seeds(self) -> list[bytes]:
        return self.machine.noise_seeds


class NaiveServer:
    def __init__(self, machine: naive.Server) -> None:
        self.machine = machine

    def receive(self, client: int, frame: bytes) -> None:
        self.machine.receive(client, frame)

    def advance(self) -> list[tuple[int, bytes]]:
        return self.machine.advance()

    def abort(self, reason: str) -> list[tuple[int, bytes]]:
        frame = naive.encode((1, ABORT, self.machine.round.hash_of_params, (reason,)))
        return [(client, frame) for client in self.machine.members]

    def joint_seed(self) -> bytes:
        return self.machine.joint_seed

    def noise_seeds(self) -> dict[int, list[bytes]]:
        return self.machine.noise_seeds()

    def result(self) -> tuple[list[int], dict[str, list[int]]]:
        return self.machine.result()


class Naive:
    """The implementation in ``naive.py``; it refuses nothing, so only positive vectors are for it."""

    def client(self, document: Document, client: int, take: Take, memory: dict[str, Any]) -> NaiveClient:
        identity = document["parties"][str(client)]["identity"]
        secret = None if identity is None else bytes.fromhex(identity)
        return NaiveClient(naive.Client(document["params"], client, take, secret))

    def server(self, document: Document) -> NaiveServer:
        return NaiveServer(naive.Server(document["params"], bytes.fromhex(document["model_hash"])))
