"""The round in progress: every accepted frame is in the journal before the protocol machine acts on it.

The server machine draws no randomness, so the journal replayed gives the same machine, and the same frames for the
sites, after any crash.
"""

from __future__ import annotations

import hashlib

import msgspec

from protocols import ProtocolError
from protocols.pairwise import Phase, Roster
from protocols.pairwise.messages import CODEC, MaskedInput, limits_at_server
from protocols.pairwise.steps import Outbound, Status
from secagg.config import RoundConfig
from secagg.coordinator.evidence import RoundEvidence
from secagg.coordinator.store import Entry, Store
from secagg.errors import UsageError
from secagg.opened import Opened
from secagg.session import ServerSession
from secagg.transport.messages import Frame


class Opening(msgspec.Struct, frozen=True):
    """What the journal says first of a round: enough, with the signed study, to set it up again."""

    round: int
    attempt: int
    clients: tuple[int, ...]
    model: bytes
    study: bytes


class Contradiction(UsageError):
    """A site said something else than it said before under the same number."""


class LiveRound:
    """One attempt at one round.

    Args:
        opening: which one.
        config: the same, worked out from the study.
        roster: the members' identities.
        store: where its journal is; holds the entries of this attempt, or none yet.
    """

    def __init__(self, opening: Opening, config: RoundConfig, roster: Roster, store: Store) -> None:
        self.opening, self.config = opening, config
        self._store = store
        active = config.adversary == "active"
        self._session = ServerSession(config, opening.model, roster=roster if active else None)
        self.evidence = RoundEvidence(config, opening.model)
        self._outbound = Outbound()
        self._receivers: frozenset[int] = frozenset()
        self._asked = 0
        self._masked: tuple[int, bytes] | None = None
        self._said: dict[tuple[int, int], bytes] = {}
        self.uplink_bytes: dict[int, int] = {}
        self.downlink_bytes: dict[int, int] = {}

    @classmethod
    def begin(cls, opening: Opening, config: RoundConfig, roster: Roster, store: Store) -> LiveRound:
        """Open a round, durably."""
        live = cls(opening, config, roster, store)
        with store.transaction():
            store.note(Entry("begin", 0, 0, b"", msgspec.msgpack.encode(opening), None))
        return live

    def replay(self, entries: list[Entry]) -> None:
        """Bring the machine to where the journal ends."""
        for entry in entries:
            if entry.kind == "advance":
                self._advanced(self._session.advance())
            elif entry.kind == "frame":
                frame = entry.data if entry.file is None else self._store.read_blob(entry.file)
                if frame is None or hashlib.sha256(frame).digest() != entry.digest:
                    raise UsageError(f"the journal's frame {entry.number} of site {entry.site} is damaged")
                try:
                    self._session.receive(entry.site, frame)
                except ProtocolError:
                    continue  # it was refused then, as it is now, and the crash came before it was struck
                self.evidence.received(entry.site, frame)
                self._count(entry.site, entry.number, entry.digest, len(frame))

    def accept(self, site: int, number: int, sequence: int, frame: bytes, file: str | None) -> bool:
        """Take one frame from ``site``, which it calls its ``number``-th of this attempt.

        Args:
            site: the sender.
            number: counts the site's frames, from 0.
            sequence: of the request that brought it.
            frame: the frame's bytes.
            file: name of the synced file that holds them, for a large one.

        Returns:
            Whether it is new; a frame that was taken before changes nothing.

        Raises:
            Contradiction: the site said something else under this number.
            protocols.ProtocolError: the frame breaks a rule, or comes too late; the round goes on without it.
            StorageError: the disk refuses; the frame was not taken.
        """
        digest = hashlib.sha256(frame).digest()
        before = self._said.get((site, number))
        if before is not None:
            if before != digest:
                raise Contradiction(f"site {site} sent something else before as its frame {number}: never say it twice")
            return False
        with self._store.transaction():
            data = frame if file is None else None
            entry = self._store.note(Entry("frame", site, number, digest, data, file))
            self._store.set_sequence(site, sequence)
        try:
            self._session.receive(site, frame)
            self._look(site, frame)
        except ProtocolError:
            with self._store.transaction():
                self._store.strike(entry)
            raise
        self.evidence.received(site, frame)
        self._count(site, number, digest, len(frame))
        return True

    def first_masked(self) -> tuple[int, bytes] | None:
        """Return (site, payload) of the first masked chunk that is here."""
        return self._masked

    def _look(self, site: int, frame: bytes) -> None:
        """Keep the beginning of the first masked input, for the page."""
        if self._masked is None and self._session.status.phase is Phase.MASKED_INPUT:
            message = CODEC.decode(frame, limits_at_server(self.config.params))[1]
            if isinstance(message, MaskedInput):
                self._masked = site, message.payload[:256]

    def _count(self, site: int, number: int, digest: bytes, size: int) -> None:
        self._said[site, number] = digest
        self.uplink_bytes[site] = self.uplink_bytes.get(site, 0) + size

    @property
    def status(self) -> Status:
        """Who is here, who is missing, how many are needed."""
        return self._session.status

    @property
    def has_inputs(self) -> bool:
        """Whether masked inputs were asked for: the sites then contribute to no other attempt at this round."""
        return self.status.phase not in (Phase.ADVERTISE_KEYS, Phase.REVEAL_RANDOMNESS, Phase.SHARE_KEYS)

    def advance(self) -> None:
        """End the present phase, durably.

        Raises:
            protocols.ProtocolError: too few are here, or a rule was broken.
            StorageError: the disk refuses; the phase goes on.
        """
        if not self.status.ready:
            self._session.advance()  # says who is missing
        with self._store.transaction():
            self._store.note(Entry("advance", 0, 0, b"", None, None))
        self._advanced(self._session.advance())

    def _advanced(self, outbound: Outbound) -> None:
        """Keep the requests of the phase that begins; those of earlier ones are of no use any more."""
        self._asked += 1
        self.evidence.sent(outbound)
        self._outbound = outbound
        self._receivers = frozenset(outbound.clients)

    def frame_for(self, site: int, number: int) -> Frame | None:
        """Return the ``number``-th frame for ``site``, if that phase is on and the site is in it."""
        if number != self._asked - 1 or site not in self._receivers:
            return None
        return Frame(self.opening.round, self.opening.attempt, number, self._outbound.frame_for(site))

    def went_on_without(self, site: int, number: int) -> bool:
        """Tell whether the round is past what ``site`` has not done yet."""
        return number < self._asked - 1 or (number == self._asked - 1 and site not in self._receivers)

    def has_begun(self, site: int) -> bool:
        """Tell whether ``site`` has sent anything in this attempt."""
        return (site, 0) in self._said

    def result(self) -> Opened:
        """Open the sum; once."""
        return self._session.result()
