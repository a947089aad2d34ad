"""The round in progress: every letter of frames is in the journal before the protocol machine acts on it.

The server machine draws no randomness, so the journal replayed gives the same machine, and the same frames for the
sites, after any crash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

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
from secagg.transcript.receipts import Receipt, is_signed
from secagg.transport import messages
from secagg.transport.messages import Frame


class Opening(msgspec.Struct, frozen=True):
    """What the journal says first of a round: enough, with the signed study, to set it up again."""

    round: int
    attempt: int
    clients: tuple[int, ...]
    model: bytes
    study: bytes


@dataclass(frozen=True)
class Delivery:
    """A letter as it came.

    Attributes:
        site: the sender.
        number: counts the site's letters of the attempt, from 0.
        sequence: of the request that brought it.
        body: the bytes of the ``transport.messages.Letter``.
        digest: SHA-256 of the body.
        file: name of the synced file that holds the body, for a large one.
    """

    site: int
    number: int
    sequence: int
    body: bytes
    digest: bytes
    file: str | None = None

    @cached_property
    def letter(self) -> messages.Letter:
        """What it says.

        Raises:
            UsageError: not a letter.
        """
        return messages.decode(self.body, messages.Letter)


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
        self._store, self._roster = store, roster
        active = config.adversary == "active"
        self._session = ServerSession(config, opening.model, roster=roster if active else None)
        self.evidence = RoundEvidence(config, opening.model)
        self._outbound = Outbound()
        self._receivers: frozenset[int] = frozenset()
        self._asked = 0
        self._masked: tuple[int, bytes] | None = None
        self._opened: Opened | None = None
        self._said: dict[tuple[int, int], bytes] = {}
        self._files: set[str | None] = set()
        self.receipts: dict[int, Receipt] = {}
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
            elif entry.kind == "letter":
                body = entry.data if entry.file is None else self._store.read_file(entry.file)
                if body is None or hashlib.sha256(body).digest() != entry.digest:
                    raise UsageError(f"the journal's letter {entry.number} of site {entry.site} is damaged")
                letter = Delivery(entry.site, entry.number, 0, body, entry.digest, entry.file)
                with suppress(ProtocolError, UsageError):  # refused then, as it is now
                    self._act(letter)

    def journal(self, letters: Sequence[Delivery], spent: Mapping[int, bytes]) -> list[int]:
        """Put new letters into the journal, durably, all in one transaction; ``act`` on each of them afterwards.

        Args:
            letters: of different sites.
            spent: what some of them have spent of their privacy budgets, countersigned.

        Returns:
            The number of each letter's entry.

        Raises:
            StorageError: the disk refuses; none was taken.
        """
        with self._store.transaction():
            for letter in letters:
                self._store.set_sequence(letter.site, letter.sequence)
            for site, statement in spent.items():
                self._store.set_spent(site, statement)
            entries = [
                self._store.note(
                    Entry(
                        "letter",
                        letter.site,
                        letter.number,
                        letter.digest,
                        letter.body if letter.file is None else None,
                        letter.file,
                    )
                )
                for letter in letters
            ]
        self._files.update(letter.file for letter in letters)
        return entries

    def holds(self, letter: Delivery) -> bool:
        """Tell whether the journal names this letter's file."""
        return letter.file in self._files

    def is_new(self, letter: Delivery) -> bool:
        """Tell whether a letter was not taken before.

        Raises:
            Contradiction: the site said something else under this number.
        """
        before = self._said.get((letter.site, letter.number))
        if before is not None and before != letter.digest:
            raise Contradiction(
                f"site {letter.site} sent something else before as its letter {letter.number}: never say it twice"
            )
        return before is None

    def act(self, letter: Delivery, entry: int) -> None:
        """Hand the frames of a letter that is in the journal to the machine.

        Raises:
            protocols.ProtocolError: a frame breaks a rule, or comes too late; the round goes on without it.
            UsageError: not a letter.
            StorageError: the disk refuses.
        """
        try:
            self._act(letter)
        except (ProtocolError, UsageError):
            if (letter.site, letter.number) not in self._said:
                with self._store.transaction():
                    self._store.strike(entry)
                self._files.discard(letter.file)
            raise

    def _act(self, delivery: Delivery) -> None:
        """Take frame after frame up to one that is refused; a letter of which one was taken counts as said."""
        site, letter = delivery.site, delivery.letter
        if letter.receipt is not None:
            self._check_receipt(site, letter.receipt)
        for frame in letter.frames:
            masking = self._session.status.phase is Phase.MASKED_INPUT
            self._session.receive(site, frame)
            self._said[site, delivery.number] = delivery.digest
            self.uplink_bytes[site] = self.uplink_bytes.get(site, 0) + len(frame)
            self.evidence.received(site, frame)
            if masking and self._masked is None:
                self._look(site, frame)
        if letter.receipt is not None:
            self.receipts[site] = letter.receipt

    def _check_receipt(self, site: int, receipt: Receipt) -> None:
        """Refuse a receipt that is not the site's own, signed, of this attempt."""
        params = self.config.params
        about = (receipt.client, receipt.study, receipt.round_index, receipt.attempt, receipt.params_hash)
        mine = (site, params.study, params.round_index, params.attempt, params.hash().hex())
        if about != mine or not is_signed(receipt, self._roster.key(site) or b""):
            raise UsageError(f"the receipt is not one that site {site} signed of this round")

    def first_masked(self) -> tuple[int, bytes] | None:
        """Return (site, beginning of the payload) of the first masked chunk that came."""
        return self._masked

    def _look(self, site: int, frame: bytes) -> None:
        """Keep the beginning of the first masked input, for the page."""
        message = CODEC.decode(frame, limits_at_server(self.config.params))[1]
        if isinstance(message, MaskedInput):
            self._masked = site, message.payload[:256]

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
        """Open the sum; asked again, because the disk refused what came of it, give the same."""
        if self._opened is None:
            self._opened = self._session.result()
        return self._opened
