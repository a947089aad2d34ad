"""Runs rounds with the library and writes down what every party did: the raw material of all vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256, shake_256
from typing import Any

import msgspec

from protocols import Secret
from protocols.pairwise import Client, LocalPolicy, MemoryLedger, Phase, Roster, RoundParams, Server, VectorSpec
from protocols.pairwise import messages as m
from protocols.primitives import signing
from protocols.wire import Message
from tests.support.entropy import InsecureSeededEntropy
from tests.vectors import document as doc
from tests.vectors.library import LibraryClient, LibraryServer
from tests.vectors.replay import Refused, write_noise_seeds

MODEL = sha256(b"the model of the vectors").digest()
TASK = sha256(b"the task of the vectors").digest()
EVERYTHING = 1 << 30
"""More phases than any round has, and more bytes than any frame."""


@cache
def identity(client: int) -> Secret:
    """The long-term identity of ``client`` in every vector."""
    return Secret(sha256(b"vector identity %d" % client).digest())


def roster(clients: Sequence[int]) -> Roster:
    return Roster(tuple((client, signing.public_key(identity(client).reveal())) for client in clients))


@dataclass(frozen=True)
class Setup:
    """A round to be recorded. ``entropy`` makes the source of one client."""

    seed: str
    params: RoundParams
    policy: LocalPolicy
    entropy: Callable[[str, int], InsecureSeededEntropy] = InsecureSeededEntropy

    def inputs(self, client: int) -> dict[str, Any]:
        """The input of ``client`` in its written form."""
        written = {}
        for spec in self.params.vectors:
            label = shake_256(f"{self.seed} {client} {spec.name}".encode()).digest(16).hex()
            values = doc.read_residues({"expand": label}, spec.length, spec.modulus)
            written[spec.name] = doc.write_residues(values) if spec.length <= doc.MAX_WRITTEN else {"expand": label}
        return written

    @property
    def phases(self) -> tuple[Phase, ...]:
        left_out = {Phase.REVEAL_RANDOMNESS} - ({Phase.REVEAL_RANDOMNESS} if self.params.sparse else set())
        if self.params.adversary == "curious":
            left_out |= {Phase.CONSISTENCY_CHECK}
        return tuple(phase for phase in Phase if phase not in left_out)


def setup(
    seed: str,
    clients: Sequence[int],
    threshold: int,
    vectors: Sequence[VectorSpec],
    *,
    policy: Mapping[str, Any] | None = None,
    **params: Any,
) -> Setup:
    """A round with identities if it is an active one."""
    active = params.get("adversary") == "active"
    known = roster(clients) if active else None
    given = {
        "study": "vectors",
        "round_index": 7,
        "clients": tuple(clients),
        "threshold": threshold,
        "vectors": tuple(vectors),
        "task": TASK,
        **({"roster": known.hash()} if known is not None else {}),
        **params,
    }
    agreed = LocalPolicy(**{"adversary": params.get("adversary", "curious"), "roster": known, **(policy or {})})
    return Setup(seed, RoundParams(**given), agreed)


@dataclass(frozen=True)
class Operation:
    """One operation, with its outputs as (name, receivers, frame)."""

    party: int | str
    name: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[tuple[str, tuple[int, ...], bytes], ...] = ()
    outcome: Any = "ok"
    more: Mapping[str, Any] = field(default_factory=dict)

    def write(self, most: int) -> doc.Document:
        outputs = [
            {"frame": name, **({"to": list(to)} if to else {}), **doc.write_frame(frame, most)}
            for name, to, frame in self.outputs
        ]
        named = {"party": self.party, "operation": self.name, **self.more, "inputs": list(self.inputs)}
        return {**named, "outputs": outputs, "outcome": self.outcome}


Change = Callable[["Recording", Any], Message | bytes]
"""What a dishonest party sends in place of a message: another message, or bytes that are none."""


class Recording:
    """One round and everything that was said in it.

    Attributes:
        frames: every frame, by name.
        operations: what was done, in order.
        entropy: the draws of each client that started.
        tampered: by name of a frame, what arrives in place of it.
    """

    def __init__(self, given: Setup, tampered: Mapping[str, Change] | None = None) -> None:
        self.given = given
        self.frames: dict[str, bytes] = {}
        self.operations: list[Operation] = []
        self.entropy: dict[int, InsecureSeededEntropy] = {}
        self.tampered = dict(tampered or {})
        self.clients: dict[int, LibraryClient] = {}
        known = given.policy.roster
        self.server = LibraryServer(Server(given.params, MODEL, roster=known))
        self.operations.append(Operation("server", "start"))

    # -- single operations ---------------------------------------------------------------------------------------------

    def start(self, client: int) -> list[str]:
        self.entropy[client] = self.given.entropy(self.given.seed, client)
        machine = Client(
            self.given.params,
            self.given.policy,
            client,
            identity=identity(client) if self.given.params.adversary == "active" else None,
            ledger=MemoryLedger(),
            entropy=self.entropy[client],
        )
        self.clients[client] = LibraryClient(machine)
        return self._sent_by(client, "start", (), self.clients[client].start())

    def tell(self, client: int, name: str) -> list[str]:
        return self._sent_by(client, "receive", (name,), self.clients[client].receive(self.frames[name]))

    def submit(self, client: int) -> list[str]:
        if self.given.params.commits:
            value = self.clients[client].joint_seed().hex()
            self.operations.append(Operation(client, "joint-seed", more={"value": value}))
        if self.given.params.noise_components:
            value = write_noise_seeds(self.clients[client].noise_seeds())
            self.operations.append(Operation(client, "noise-seeds", more={"value": value}))
        shapes = {spec.name: (spec.length, spec.modulus) for spec in self.given.params.vectors}
        written = self.given.inputs(client)
        vectors = {name: doc.read_residues(written[name], *shapes[name]) for name in written}
        frames = self.clients[client].submit(vectors, MODEL)
        return self._sent_by(client, "submit", (), frames, {"model_hash": MODEL.hex()})

    def hear(self, client: int, name: str) -> None:
        self.server.receive(client, self.frames[name])
        self.operations.append(Operation("server", "receive", (name,), more={"from": client}))

    def advance(self) -> dict[int, str]:
        """End the phase; returns the name of the frame to each client."""
        try:
            sent = self.server.advance()
        except Refused as refused:
            outcome = {"refused": refused.rule, "culprit": refused.culprit}
            self.operations.append(Operation("server", "advance", outcome=outcome))
            raise
        self.operations.append(Operation("server", "advance", (), self._sent_by_server(sent)))
        return {to: name for name, receivers, _ in self.operations[-1].outputs for to in receivers}

    def abort(self, reason: str) -> dict[int, str]:
        sent = self._sent_by_server(self.server.abort(reason))
        self.operations.append(Operation("server", "abort", (), sent, more={"reason": reason}))
        return {to: name for name, receivers, _ in sent for to in receivers}

    def result(self) -> None:
        if self.given.params.commits:
            value = self.server.joint_seed().hex()
            self.operations.append(Operation("server", "joint-seed", more={"value": value}))
        if self.given.params.noise_components:
            value = write_noise_seeds(self.server.noise_seeds())
            self.operations.append(Operation("server", "noise-seeds", more={"value": value}))
        survivors, sums = self.server.result()
        written = {name: doc.write_residues(sums[name]) for name in sums}
        result = {"survivors": survivors, "sums": written}
        self.operations.append(Operation("server", "result", more={"result": result}))

    # -- a whole round -------------------------------------------------------------------------------------------------

    def run(self, completed: Mapping[int, float] | None = None, *, twice: bool = False) -> Recording:
        """Run the round to its sum.

        Args:
            completed: how many phases each client completes before it vanishes (all by default); a broken number ends
                in the middle of its masked input, after that part of its frames.
            twice: every frame reaches the server two times.
        """
        last = dict.fromkeys(self.given.params.clients, EVERYTHING) | dict(completed or {})
        for index in range(len(self.given.phases)):
            requests = self.advance() if index else {}
            answers = {}
            for client in requests if index else last:
                if last[client] <= index:
                    continue
                answers[client] = self.tell(client, requests[client]) if index else self.start(client)
                if self.clients[client].machine.wants_input:
                    answers[client] = self.submit(client)
            for client, names in answers.items():
                arrives = max(1, int(len(names) * (last[client] - index))) if last[client] < index + 1 else len(names)
                for name in names[:arrives]:
                    for _ in range(1 + twice):
                        self.hear(client, name)
        self.advance()
        self.result()
        return self

    def try_run(self, completed: Mapping[int, float] | None = None) -> Recording:
        """Run the round until it is over or the server refuses to go on."""
        try:
            return self.run(completed)
        except Refused:
            return self

    # -- frames --------------------------------------------------------------------------------------------------------

    def read(self, name: str) -> tuple[bytes, Any]:
        """Decode a frame: (context, message)."""
        return read_frame(self.frames[name])

    def _sent_by(
        self, client: int, operation: str, inputs: tuple[str, ...], frames: Sequence[bytes], more: Any = None
    ) -> list[str]:
        outputs = []
        for number, frame in enumerate(frames):
            kind = type(read_frame(frame)[1]).__name__
            outputs.append((f"{client}.{kind}" + (f".{number}" if len(frames) > 1 else ""), (), frame))
        self.operations.append(Operation(client, operation, inputs, tuple(outputs), more=more or {}))
        for name, _, frame in outputs:
            self.frames[name] = self._changed(name, frame)
        return [name for name, _, _ in outputs]

    def _changed(self, name: str, frame: bytes) -> bytes:
        if name not in self.tampered:
            return frame
        context, message = read_frame(frame)
        return write_frame(context, self.tampered[name](self, message))

    def _sent_by_server(self, sent: Sequence[tuple[int, bytes]]) -> tuple[tuple[str, tuple[int, ...], bytes], ...]:
        if not sent:
            return ()
        kind = type(read_frame(sent[0][1])[1]).__name__
        if len({frame for _, frame in sent}) == 1:
            outputs = [(kind, tuple(to for to, _ in sent), sent[0][1])]
        else:
            outputs = [(f"{kind}.to.{to}", (to,), frame) for to, frame in sent]
        self.frames |= {name: frame for name, _, frame in outputs}
        return tuple(outputs)

    # -- the document --------------------------------------------------------------------------------------------------

    def party(self, client: int) -> doc.Document:
        """What a client of the document is set up with."""
        active = self.given.params.adversary == "active"
        return {
            "identity": identity(client).reveal().hex() if active else None,
            "data_version": "",
            "ledger": [],
            "inputs": self.given.inputs(client),
            "draws": [[label, value.hex()] for label, value in self.entropy[client].records],
        }

    def write(self, name: str, about: str, most: int = EVERYTHING) -> doc.Document:
        """The positive vector of the whole round; outputs longer than ``most`` bytes are hashed."""
        return {
            **head("positive", name, about, self.given),
            "parties": {str(client): self.party(client) for client in sorted(self.entropy)},
            "frames": {},
            "operations": [operation.write(most) for operation in self.operations],
        }


def head(kind: str, name: str, about: str, given: Setup) -> doc.Document:
    """The first fields of a document."""
    params = {field: getattr(given.params, field) for field in given.params.__struct_fields__}
    return {
        "schema": doc.SCHEMA,
        "kind": kind,
        "name": name,
        "about": about,
        "params": doc.write_params(params),
        "params_hash": given.params.hash().hex(),
        "model_hash": MODEL.hex(),
        "roster": doc.write_roster(given.policy.roster),
        "policy": doc.write_policy(given.policy),
    }


_NO_LIMITS = dict.fromkeys(m.CODEC._kinds.values(), 1 << 40)


def read_frame(frame: bytes) -> tuple[bytes, Any]:
    """Decode any frame of either side: (context, message)."""
    return m.CODEC.decode(frame, _NO_LIMITS)


def write_frame(context: bytes, message: Message | bytes) -> bytes:
    """Encode a message; bytes are a frame already."""
    return message if isinstance(message, bytes) else m.CODEC.encode(context, message)


def change(message: Any, **fields: Any) -> Any:
    """The message with other values in some fields."""
    return msgspec.structs.replace(message, **fields)
