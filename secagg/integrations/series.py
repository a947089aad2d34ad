"""The rounds of one server, one after the other, each set up while the one before is running.

A round has setting-up phases (keys, shares: they need the cohort but no model) and running phases (masked input,
consistency check against an active server, unmasking). Setting up the next round rides on the messages of the present
one, so a round in steady state costs 2 exchanges against a curious server and 3 against an active one. What must not be
bound early is not: the model's hash enters mask expansion and survivor signatures of its own round only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

import quant
from protocols import LocalProtocolError, ParameterError, ProtocolError
from protocols.pairwise import Phase, Roster
from protocols.pairwise.steps import Outbound
from secagg.aggregation import NO_MODEL
from secagg.config import RoundConfig
from secagg.errors import RoundRefused, UsageError
from secagg.integrations.parcel import Mail, Parcel, merge
from secagg.integrations.proposal import propose
from secagg.opened import Opened
from secagg.session import ServerSession

Exchange = Callable[[Mail], Mail]
"""Carries parcels to clients and brings back their answers; whoever does not answer is missing from the result."""

Configure = Callable[[int, int, tuple[int, ...]], RoundConfig]
"""Makes a round of (round index, attempt, client ids)."""

SETTING_UP = (Phase.ADVERTISE_KEYS, Phase.REVEAL_RANDOMNESS)
"""Phases after which another exchange is needed before masked input can be asked for."""


class HostedRound:
    """One round at its server, in parcels.

    Attributes:
        refused: client -> why its frames were not taken; such a client counts as dropped from then on.
    """

    def __init__(self, name: str, config: RoundConfig, roster: Roster | None = None) -> None:
        self.name = name
        self.config = config
        self.refused: dict[int, str] = {}
        self._session = ServerSession(config, NO_MODEL, roster=roster)

    def proposals(self) -> Mail:
        """Return what asks every invited client to take part."""
        text = propose(self.config)
        return {client: [Parcel(self.name, client, proposal=text)] for client in self.config.clients}

    @property
    def phase(self) -> Phase | None:
        """The phase that is being collected; ``None`` once the sum is open."""
        return self._session.status.phase

    @property
    def ready(self) -> bool:
        """Whether enough clients are here to go on."""
        return self._session.status.ready

    @property
    def here(self) -> tuple[int, ...]:
        """The clients that completed the present phase."""
        return self._session.status.have

    def bind_model(self, model_hash: bytes) -> None:
        """Name the model, before ``advance`` asks for masked input."""
        self._session.bind_model(model_hash)

    def take(self, replies: Mail) -> None:
        """Take the frames of this round out of what clients sent; a client that breaks a rule is left out."""
        for client, parcels in replies.items():
            for frame in [frame for parcel in parcels if parcel.round == self.name for frame in parcel.frames]:
                try:
                    self._session.receive(client, frame)
                except ProtocolError as error:
                    self.refused[client] = str(error)
                    break

    def advance(self) -> Mail:
        """End the phase; see ``ServerSession.advance``."""
        return self._parcels(self._session.advance())

    def abort(self, reason: str) -> Mail:
        """End the round without a sum, and tell the clients."""
        return self._parcels(self._session.abort(reason))

    def result(self, workers: int) -> Opened:
        """Take the masks off with that many threads."""
        with ThreadPoolExecutor(workers) as pool:
            return self._session.result(pool.map, pieces=workers)

    def _parcels(self, outbound: Outbound) -> Mail:
        return {client: [Parcel(self.name, client, (frame,))] for client, frame in outbound}


class RoundSeries:
    """The rounds of one purpose.

    Args:
        name: told apart from other series of the same run.
        configure: makes the configuration of a round.
        exchange: the stack's messages.
        roster: identities, against an active server.
        workers: threads that take off masks.

    Attributes:
        current: the round that runs.
        upcoming: the round that is being set up, if any.
        exchanges: exchanges made, for whoever counts phases.
    """

    def __init__(
        self, name: str, configure: Configure, exchange: Exchange, roster: Roster | None = None, workers: int = 1
    ) -> None:
        self._name = name
        self._configure = configure
        self._carry = exchange
        self._roster = roster
        self._workers = workers
        self._attempts: dict[int, int] = {}
        self._upcoming_index = -1
        self.current: HostedRound | None = None
        self.upcoming: HostedRound | None = None
        self.exchanges = 0

    def keyed_for(self, index: int) -> tuple[int, ...]:
        """Return the clients whose keys for round ``index`` are agreed or under way; none if nothing was set up."""
        return self.upcoming.config.clients if self.upcoming is not None and self._upcoming_index == index else ()

    def prepare(self, index: int, clients: Collection[int]) -> Mail:
        """Begin to set round ``index`` up; the proposals returned ride on the next messages.

        Too few clients are no error: there may be more when the round begins.
        """
        try:
            self.upcoming, self._upcoming_index = self._open(index, clients), index
        except (ParameterError, UsageError):
            self.upcoming = None
        return {} if self.upcoming is None else self.upcoming.proposals()

    def begin(self, index: int, clients: Collection[int], model_hash: bytes) -> Mail:
        """Make round ``index`` the current one and return its requests for masked input.

        What was set up ahead is used if enough of its clients are there; else everything is set up now.

        Raises:
            RoundRefused: too few clients took part in setting up.
            protocols.ParameterError: a cohort that is too small for any round.
        """
        requests: Mail | None = None
        if self.keyed_for(index):
            self.current, self.upcoming = self.upcoming, None
            try:
                requests = self._complete_setup(model_hash)
            except LocalProtocolError:
                requests = None
        if requests is None:
            self.current = self._open(index, clients)
            try:
                self.current.take(self._exchange(self.current.proposals()))
                requests = self._complete_setup(model_hash)
            except ProtocolError as error:
                raise RoundRefused(f"round {index} could not be set up: {error}") from error
        return requests

    def take(self, replies: Mail) -> None:
        """Take what clients sent, for the current round and the upcoming one."""
        for hosted in (self.current, self.upcoming):
            if hosted is not None:
                hosted.take(replies)

    def finish(self) -> Opened:
        """Run the current round to its end, setting up the upcoming one on the way.

        Raises:
            RoundRefused: too few clients stayed, shares opened to something else than was promised, or the sum is one
                that no such round has, since a client masked what is on no grid, or all weights are zero.
        """
        if self.current is None:
            raise RoundRefused("no round is running")
        try:
            while True:
                requests = self.current.advance()
                if self.current.phase is None:
                    return self.current.result(self._workers)
                self.take(self._exchange(merge(requests, self._advance_upcoming())))
        except (ProtocolError, quant.InputError) as error:
            raise RoundRefused(f"the round ended without a sum: {error}") from error

    def _complete_setup(self, model_hash: bytes) -> Mail:
        if self.current is None:
            raise RoundRefused("no round is set up")
        while self.current.phase in SETTING_UP:
            self.current.take(self._exchange(self.current.advance()))
        self.current.bind_model(model_hash)
        return self.current.advance()

    def _advance_upcoming(self) -> Mail:
        if self.upcoming is None or self.upcoming.phase not in SETTING_UP:
            return {}
        if not self.upcoming.ready:
            self.upcoming = None
            return {}
        return self.upcoming.advance()

    def _open(self, index: int, clients: Collection[int]) -> HostedRound:
        attempt = self._attempts.get(index, 0)
        self._attempts[index] = attempt + 1
        config = self._configure(index, attempt, tuple(sorted(clients)))
        return HostedRound(f"{self._name}/{index}/{attempt}", config, self._roster)

    def _exchange(self, mail: Mail) -> Mail:
        self.exchanges += 1
        return self._carry(mail)
