"""One round in one process: real sessions, real bytes, a perfect network, and drop-outs where the caller wants them.

Clients take turns, so only one update is in memory at a time; what clients keep between phases are keys and shares.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from protocols import ProtocolError, Secret, SystemEntropy
from protocols.pairwise import LocalPolicy, Phase, Roster
from protocols.pairwise.ledger import Ledger
from protocols.pairwise.messages import CODEC, MaskedInput, limits_at_server
from protocols.pairwise.params import Adversary
from protocols.pairwise.server import Apply
from protocols.pairwise.steps import Outbound
from protocols.primitives import bitpack, signing
from secagg.config import UPDATE, RoundConfig
from secagg.contribution import Contribution
from secagg.errors import RoundRefused, SeedMissing, UsageError
from secagg.feedback import SiteResidual
from secagg.opened import Opened
from secagg.privacy import SitePrivacy
from secagg.public import JointRandomness
from secagg.record import RoundRecord, View
from secagg.session import ClientSession, ServerSession
from secagg.witness import RoundWitness

PHASES = tuple(phase.value for phase in Phase)
VIEW_COORDINATES = 4096

_Requests = Iterator[tuple[int, bytes]]

Observer = Callable[[str, int], None]
"""Called with (phase, client) whenever a client has completed its part of a phase."""


def round_phases(adversary: Adversary, *, sparse: bool) -> tuple[str, ...]:
    """Return the names of the phases that a round has."""
    left_out = set() if adversary == "active" else {Phase.CONSISTENCY_CHECK.value}
    if not sparse:
        left_out.add(Phase.REVEAL_RANDOMNESS.value)
    return tuple(phase for phase in PHASES if phase not in left_out)


def check_dropouts(config: RoundConfig, dropouts: Mapping[int, str]) -> None:
    """Refuse drop-outs of unknown clients or in unknown phases.

    Raises:
        UsageError: naming the first of them.
    """
    phases = round_phases(config.adversary, sparse=config.params.sparse)
    for client, phase in dropouts.items():
        if client not in config.clients:
            raise UsageError(f"client {client} cannot drop out: the round's clients are {_few(config.clients)}")
        if phase not in phases:
            raise UsageError(f"there is no phase {phase!r} to drop out of; phases are {', '.join(phases)}")


def _few(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids[:8])) + (", ..." if len(ids) > 8 else "")


class InProcessRound:
    """Runs one round to its end.

    Args:
        config: the round.
        model_hash: 32-byte hash of the model that everybody trained.
        dropouts: client -> the phase that it does not complete (and none after it).
        policy: what every client insists on.
        workers: threads for taking off masks.
        elsewhere: takes masks off in other processes, in ``workers`` pieces; see ``ServerSession.result``.
        view: keep one client's update three times in the record.
        observe: called as clients complete phases.
        witness: keeps the evidence of the round.
        ledgers: what each client remembers of earlier attempts and rounds; nothing by default.
        residuals: with error feedback, what each client kept of earlier rounds.
        record: of earlier attempts at this round, to be continued.
        privacy: in a private round, every client's ledger and policy.

    Attributes:
        record: measurements, filled while the round runs.
        residuals: with error feedback, what each client keeps for the next round.
    """

    def __init__(
        self,
        config: RoundConfig,
        model_hash: bytes,
        *,
        dropouts: Mapping[int, str] | None = None,
        policy: LocalPolicy | None = None,
        identities: Mapping[int, Secret] | None = None,
        roster: Roster | None = None,
        workers: int = 1,
        elsewhere: Apply | None = None,
        view: bool = False,
        observe: Observer | None = None,
        witness: RoundWitness | None = None,
        ledgers: Mapping[int, Ledger] | None = None,
        residuals: Mapping[int, SiteResidual] | None = None,
        record: RoundRecord | None = None,
        privacy: Mapping[int, SitePrivacy] | None = None,
    ) -> None:
        self._witness = witness
        self._config = config
        self._model_hash = model_hash
        self._ledgers, self._privacy = ledgers or {}, privacy or {}
        self.residuals = dict(residuals or {})
        self._dropouts = dict(dropouts or {})
        check_dropouts(config, self._dropouts)
        self._policy = policy or LocalPolicy(colluders=config.colluders, adversary=config.adversary, roster=roster)
        self._identities = identities or {}
        self._workers, self._elsewhere = workers, elsewhere
        self._wants_view = view
        self._observe = observe or (lambda phase, client: None)
        self._server = ServerSession(config, model_hash, roster=roster)
        self._expected = np.zeros(config.codec.facts.encoded_dim, dtype=np.int64)
        self._viewed: int | None = None
        self._true: NDArray[np.int64] | None = None
        self._sent: list[bytes] = []
        self._clients: dict[int, ClientSession] = {}
        self.record = record or RoundRecord(config.lanes.width, config.params.threshold)

    @property
    def public(self) -> JointRandomness:
        """The public streams of the round, once it has run."""
        return self._server.public

    def run(self, contribute: Callable[[int, ClientSession], Contribution]) -> Opened:
        """Run all phases.

        Args:
            contribute: called once for every client that comes to send its input, with the client's id and session;
                returns ``session.prepare(update, weight)``.

        Raises:
            SeedMissing: a part of the joint seed is missing, though enough clients stayed: try again.
            RoundRefused: fewer clients stayed than the threshold, or a rule was broken.
        """
        try:
            return self._run(contribute)
        except ProtocolError as error:
            if self._witness is not None:
                self._witness.aborted(str(error))
            raise RoundRefused(f"the round ended without a sum: {error}") from error

    def _run(self, contribute: Callable[[int, ClientSession], Contribution]) -> Opened:
        clients = self._clients
        for client in self._config.clients:
            if self._stays(client, Phase.ADVERTISE_KEYS):
                with self._timed(Phase.ADVERTISE_KEYS, client):
                    clients[client] = ClientSession(
                        self._config,
                        client,
                        policy=self._policy,
                        identity=self._identities.get(client),
                        ledger=self._ledgers.get(client),
                        residual=self.residuals.get(client),
                        privacy=self._privacy.get(client),
                    )
                    frame = clients[client].start()
                self._deliver(Phase.ADVERTISE_KEYS, client, [frame])
        first = Phase.REVEAL_RANDOMNESS if self._config.params.sparse else Phase.SHARE_KEYS
        requests = self._advance(Phase.ADVERTISE_KEYS, first)
        if self._config.params.sparse:
            requests = self._exchange(Phase.REVEAL_RANDOMNESS, Phase.SHARE_KEYS, clients, requests)
        requests = self._exchange(Phase.SHARE_KEYS, Phase.MASKED_INPUT, clients, requests)
        requests = self._masked_input(clients, requests, contribute)
        if self._config.adversary == "active":
            requests = self._exchange(Phase.CONSISTENCY_CHECK, Phase.UNMASKING, clients, requests)
        self._exchange(Phase.UNMASKING, None, clients, requests)
        for client, session in clients.items():
            if (residual := session.residual) is not None:
                self.residuals[client] = residual
        return self._open()

    def _exchange(
        self, phase: Phase, following: Phase | None, clients: Mapping[int, ClientSession], requests: _Requests
    ) -> _Requests:
        for client, frame in requests:
            stays = self._stays(client, phase)
            self._note_request(client, frame, arrived=stays)
            if stays:
                with self._timed(phase, client):
                    frames = clients[client].receive(frame)
                self._deliver(phase, client, frames)
        return self._advance(phase, following)

    def _masked_input(
        self,
        clients: Mapping[int, ClientSession],
        requests: _Requests,
        contribute: Callable[[int, ClientSession], Contribution],
    ) -> _Requests:
        phase = Phase.MASKED_INPUT
        for client, frame in requests:
            self._note_request(client, frame, arrived=self._stays(client, phase))
            if not self._stays(client, phase):
                continue
            session = clients[client]
            with self._timed(phase, client):
                session.receive(frame)
            contribution = contribute(client, session)
            self._expected += contribution.integers
            self.record.saturated += contribution.saturated
            self._look(contribution, client)
            with self._timed(phase, client):
                frames = session.submit(contribution, self._model_hash)
            self._deliver(phase, client, self._timed_frames(frames, client))
        following = Phase.CONSISTENCY_CHECK if self._config.adversary == "active" else Phase.UNMASKING
        return self._advance(phase, following)

    def _timed_frames(self, frames: Iterator[bytes], client: int) -> Iterator[bytes]:
        while True:
            with self._timed(Phase.MASKED_INPUT, client):
                frame = next(frames, None)
            if frame is None:
                return
            if self._wants_view and self._viewed == client:
                self._sent.append(frame)
            yield frame

    def _look(self, contribution: Contribution, client: int) -> None:
        if self._wants_view and self._viewed is None:
            self._viewed = client
            self._true = contribution.integers[:VIEW_COORDINATES].copy()

    def _open(self) -> Opened:
        started = time.perf_counter()
        if self._elsewhere is not None:
            opened = self._server.result(self._elsewhere, pieces=self._workers, elsewhere=True)
        else:
            with ThreadPoolExecutor(self._workers) as pool:
                opened = self._server.result(pool.map, pieces=self._workers)
        self.record.server_seconds["open"] = time.perf_counter() - started
        if self._witness is not None:
            self._witness.opened(opened.vectors)
        if self._config.codec.facts.wraps:
            self._expected &= (1 << self._config.lanes.width) - 1
        summed = opened.integers if opened.excess is None else opened.integers + opened.excess
        self.record.exact = bool(np.array_equal(summed, self._expected))
        self.record.monitoring = opened.monitoring
        if self._viewed is not None and self._true is not None:
            sent = _fields_sent(self._config, self._sent)[:VIEW_COORDINATES]
            self.record.view = View(self._viewed, self._true, sent, opened.integers[:VIEW_COORDINATES].copy())
        return opened

    def _stays(self, client: int, phase: Phase) -> bool:
        last = self._dropouts.get(client)
        return last is None or PHASES.index(phase.value) < PHASES.index(last)

    def _deliver(self, phase: Phase, client: int, frames: Iterable[bytes]) -> None:
        sent = self.record.uplink_bytes.setdefault(phase.value, {})
        for frame in frames:
            sent[client] = sent.get(client, 0) + len(frame)
            started = time.perf_counter()
            self._server.receive(client, frame)
            self._server_time(phase, started)
            if self._witness is not None:
                self._witness.to_server(client, frame)
        self._observe(phase.value, client)

    def _note_request(self, client: int, frame: bytes, *, arrived: bool) -> None:
        if self._witness is not None:
            self._witness.to_client(client, frame, arrived=arrived)

    def _advance(self, phase: Phase, following: Phase | None) -> _Requests:
        if phase in (Phase.REVEAL_RANDOMNESS, Phase.SHARE_KEYS):
            self._check_seed(phase)
        started = time.perf_counter()
        requests = self._server.advance()
        self._server_time(phase, started)
        return self._counted(requests, following)

    def _counted(self, requests: Outbound, following: Phase | None) -> _Requests:
        """Hand the requests on one by one, noting their sizes and the server's time for making them."""
        started = time.perf_counter()
        for client, frame in requests:
            if following is not None:
                self._server_time(following, started)
                self._received(following, client, frame)
            yield client, frame
            started = time.perf_counter()

    def _check_seed(self, phase: Phase) -> None:
        """End the attempt if somebody who must speak in this phase is gone, though enough others are here."""
        status = self._server.status
        if status.ready or len(status.have) < self._config.params.least_survivors:
            return
        for client, frame in self._server.abort("a part of the joint seed is missing"):
            if self._stays(client, phase):
                self._received(phase, client, frame)
                self._clients[client].receive(frame)
        raise SeedMissing(status.pending)

    def _received(self, phase: Phase, client: int, frame: bytes) -> None:
        received = self.record.downlink_bytes.setdefault(phase.value, {})
        received[client] = received.get(client, 0) + len(frame)

    def _server_time(self, phase: Phase, started: float) -> None:
        spent = self.record.server_seconds.get(phase.value, 0.0)
        self.record.server_seconds[phase.value] = spent + time.perf_counter() - started

    @contextmanager
    def _timed(self, phase: Phase, client: int) -> Iterator[None]:
        times = self.record.client_seconds.setdefault(phase.value, {})
        started = time.perf_counter()
        yield
        times[client] = times.get(client, 0.0) + time.perf_counter() - started


def _fields_sent(config: RoundConfig, frames: list[bytes]) -> NDArray[np.uint64]:
    """Read the update's fields out of a client's masked frames, as the server could."""
    lanes = np.zeros(config.lanes.lanes, dtype=np.uint64)
    for frame in frames:
        _, message = CODEC.decode(frame, limits_at_server(config.params))
        if isinstance(message, MaskedInput) and config.params.vectors[message.vector].name == UPDATE:
            spec = config.params.vectors[message.vector]
            stop = spec.chunk_end(message.offset)
            lanes[message.offset : stop] = bitpack.unpack(message.payload, stop - message.offset, spec.bits)
    return config.lanes.unpack(lanes).astype(np.uint64)


def simulated_identities(clients: Iterable[int]) -> tuple[dict[int, Secret], Roster]:
    """Draw an identity for every client and list them in a roster, for rounds without a real consortium."""
    entropy = SystemEntropy()
    secrets = {client: Secret(entropy.take(signing.SECRET_BYTES, "identity")) for client in sorted(clients)}
    return secrets, roster_of(secrets)


def roster_of(identities: Mapping[int, Secret]) -> Roster:
    """List the public keys of identities, ascending by client."""
    return Roster(tuple((client, signing.public_key(secret.reveal())) for client, secret in sorted(identities.items())))
