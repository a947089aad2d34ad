"""Replays a vector against an implementation: does each operation, and compares what comes out with the document.

An implementation joins by offering two machines (see ``Implementation``); ``library.py`` is the adapter of this
project's own. Nothing here knows how a frame is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from tests.support.entropy import ScriptedEntropy
from tests.vectors.document import Document, read_residues, same_frame, write_residues

Take = Callable[[int, str], bytes]
"""``take(n, label)``: the next draw of a party, which must be of that length and label."""


class Refused(Exception):
    """An implementation refused an operation.

    Attributes:
        rule: ``"W1"`` to ``"S11"``, or ``"parameters"`` (no such round), or ``"order"`` (not now).
        culprit: the client to blame, where the rule names one.
    """

    def __init__(self, rule: str, culprit: int | None = None) -> None:
        super().__init__(rule, culprit)
        self.rule = rule
        self.culprit = culprit


class ClientMachine(Protocol):
    """One client in one round."""

    def start(self) -> list[bytes]: ...

    def receive(self, frame: bytes) -> list[bytes]: ...

    def submit(self, vectors: Mapping[str, list[int]], model_hash: bytes) -> list[bytes]: ...

    def joint_seed(self) -> bytes:
        """The joint seed of the round, for the layers above: of a client before ``submit``."""
        ...

    def noise_seeds(self) -> list[bytes]:
        """The seeds of all of its removable components of noise, before ``submit``."""
        ...


class ServerMachine(Protocol):
    """The server in one round."""

    def receive(self, client: int, frame: bytes) -> None: ...

    def advance(self) -> list[tuple[int, bytes]]: ...

    def abort(self, reason: str) -> list[tuple[int, bytes]]: ...

    def joint_seed(self) -> bytes:
        """The same joint seed, once the sum is open."""
        ...

    def noise_seeds(self) -> dict[int, list[bytes]]:
        """By survivor, the seeds of the components that come off, once the sum is open."""
        ...

    def result(self) -> tuple[list[int], dict[str, list[int]]]: ...


class Implementation(Protocol):
    """Builds the machines that a vector asks for; both raise ``Refused`` where the document says so."""

    def client(self, document: Document, client: int, take: Take, memory: dict[str, Any]) -> ClientMachine:
        """Set a client up. ``memory`` is its own, kept from one start to the next (for the ledger)."""
        ...

    def server(self, document: Document) -> ServerMachine: ...


class Mismatch(AssertionError):
    """An implementation did not do what the vector says."""


def replay(document: Document, implementation: Implementation) -> None:
    """Do every operation of a vector.

    Raises:
        Mismatch: naming the vector, the operation, and what differed.
    """
    run = _Run(document, implementation)
    for number, operation in enumerate(document["operations"]):
        where = f"{document['name']}, operation {number} ({operation['party']} {operation['operation']})"
        try:
            run.do(operation)
        except Refused as refused:
            found: Any = {"refused": refused.rule, "culprit": refused.culprit}
        except Mismatch as mismatch:
            raise Mismatch(f"{where}: {mismatch}") from None
        else:
            found = "ok"
        if found != operation["outcome"]:
            raise Mismatch(f"{where}: expected {operation['outcome']}, found {found}")
    if document["kind"] == "positive":
        run.check_nothing_left()


def write_noise_seeds(seeds: Sequence[bytes] | Mapping[int, Sequence[bytes]]) -> Any:
    """Write what a machine tells of its noise seeds: a client a list, the server one for each survivor."""
    if isinstance(seeds, Mapping):
        return {str(client): write_noise_seeds(found) for client, found in seeds.items()}
    return [seed.hex() for seed in seeds]


_TOLD: Mapping[str, Callable[[ClientMachine | ServerMachine], Any]] = {
    "joint-seed": lambda machine: machine.joint_seed().hex(),
    "noise-seeds": lambda machine: write_noise_seeds(machine.noise_seeds()),
}
"""Operations in which a machine only tells something."""


class _Run:
    def __init__(self, document: Document, implementation: Implementation) -> None:
        self.document = document
        self.implementation = implementation
        self.frames = {name: bytes.fromhex(value) for name, value in document["frames"].items()}
        self.entropy = {
            int(client): ScriptedEntropy([(label, bytes.fromhex(value)) for label, value in party["draws"]])
            for client, party in document["parties"].items()
        }
        self.memory: dict[int, dict[str, Any]] = {client: {} for client in self.entropy}
        self.clients: dict[int, ClientMachine] = {}
        self.server: Any = None

    def do(self, operation: Document) -> None:
        name = operation["operation"]
        if operation["party"] == "server":
            sent = self._server(name, operation)
        else:
            sent = [(None, frame) for frame in self._client(name, operation["party"], operation)]
        if operation["outcome"] == "ok":
            self._compare(operation["outputs"], sent)

    def _client(self, name: str, client: int, operation: Document) -> Sequence[bytes]:
        if name == "start":
            take = self.entropy[client].take
            self.clients[client] = self.implementation.client(self.document, client, take, self.memory[client])
            return self.clients[client].start()
        if name == "receive":
            return self.clients[client].receive(self._input(operation))
        if name in _TOLD:
            return self._told(self.clients[client], operation)
        inputs = self.document["parties"][str(client)]["inputs"]
        shapes = {v["name"]: (v["length"], int(v["modulus"])) for v in self.document["params"]["vectors"]}
        vectors = {vector: read_residues(written, *shapes[vector]) for vector, written in inputs.items()}
        return self.clients[client].submit(vectors, bytes.fromhex(operation["model_hash"]))

    def _server(self, name: str, operation: Document) -> Sequence[tuple[int | None, bytes]]:
        if name == "start":
            self.server = self.implementation.server(self.document)
        elif name == "receive":
            self.server.receive(operation["from"], self._input(operation))
        elif name == "advance":
            return list(self.server.advance())
        elif name == "abort":
            return list(self.server.abort(operation["reason"]))
        elif name in _TOLD:
            self._told(self.server, operation)
        else:
            survivors, sums = self.server.result()
            found = {"survivors": survivors, "sums": {vector: write_residues(sums[vector]) for vector in sums}}
            if operation["outcome"] == "ok" and found != operation["result"]:
                raise Mismatch(f"expected the result {operation['result']}, found {found}")
        return []

    def _told(self, machine: ClientMachine | ServerMachine, operation: Document) -> Sequence[bytes]:
        name = operation["operation"]
        if (found := _TOLD[name](machine)) != operation["value"]:
            raise Mismatch(f"expected the {name} {operation['value']}, found {found}")
        return []

    def _input(self, operation: Document) -> bytes:
        (name,) = operation["inputs"]
        return self.frames[name]

    def _compare(self, outputs: Sequence[Document], sent: Sequence[tuple[int | None, bytes]]) -> None:
        expected = [(to, output) for output in outputs for to in output.get("to", [None])]
        if [to for to, _ in expected] != [to for to, _ in sent]:
            raise Mismatch(f"expected frames to {[to for to, _ in expected]}, found {[to for to, _ in sent]}")
        for (to, output), (_, frame) in zip(expected, sent, strict=True):
            if not same_frame(output, frame):
                raise Mismatch(
                    f"frame {output['frame']} (to {to}) is another one, of {len(frame)} bytes: {_start(frame)}"
                )
            self.frames[output["frame"]] = frame

    def check_nothing_left(self) -> None:
        for client, entropy in self.entropy.items():
            if not entropy.exhausted:
                raise Mismatch(f"{self.document['name']}: client {client} drew less than the vector has")


def _start(frame: bytes) -> str:
    return frame.hex() if len(frame) <= 200 else frame[:200].hex() + "..."
