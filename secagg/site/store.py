"""What a site remembers: the ledger of everything it said, the round in progress, and what is still to be sent.

A masked input and the shares of an answer are on disk before their first byte leaves, and afterwards they are sent
again byte for byte or never. Secrets of a round are erased when it closes: keep the state out of backups (an old copy
would not know what was said since).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from protocols.pairwise.ledger import Participation
from secagg.study.durable import Durable
from secagg.study.receipt import Receipt as CoordinatorsReceipt
from secagg.study.receipt import SignedReceipt
from secagg.transcript.receipts import Receipt
from secagg.transport import messages

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE ledger (entry INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE outbox (number INTEGER PRIMARY KEY, data BLOB, file TEXT) STRICT;
CREATE TABLE inbox (number INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE own_receipts (round INTEGER NOT NULL, attempt INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (round, attempt)) STRICT;
CREATE TABLE receipts (round INTEGER NOT NULL, attempt INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (round, attempt)) STRICT;
"""

RESERVE = 10_000
"""Sequence numbers that are reserved with one write; a restart skips what was reserved and not used."""


class Letter(NamedTuple):
    """Frames on their way to the coordinator together.

    Attributes:
        number: counts the letters of the attempt, from 0.
        data: the bytes of the ``transport.messages.Letter``.
        last: whether no further letter is waiting.
    """

    number: int
    data: bytes
    last: bool


@lru_cache(maxsize=1 << 16)
def coordinators_word(data: bytes) -> CoordinatorsReceipt:
    """Read a receipt once: a study may have ten thousand rounds, and every one looks at those before."""
    return msgspec.json.decode(data, type=SignedReceipt).receipt


@lru_cache(maxsize=1 << 16)
def own_word(data: bytes) -> Receipt:
    """Read one of this site's own receipts once."""
    return msgspec.json.decode(data, type=Receipt)


class SiteStore(Durable):
    """The folder of one site's state; also the protocol's ``Ledger``.

    Args:
        folder: exists.

    Raises:
        StorageError: the disk refuses, or the file is not of this version.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "site.db", _SCHEMA, SCHEMA_VERSION, "outbox", "this site")
        # Never below the clock: a state that was lost, or restored from a backup, goes on above what it used since.
        self._next = self._reserved = max(int(self.fact("sequence") or b"0"), time.time_ns() // 1000)
        self._acknowledged = -1
        self._said: list[Participation] | None = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside, durably, or nothing.

        Raises:
            StorageError: the disk refuses.
        """
        try:
            with super().transaction():
                yield
        except BaseException:
            self._said = None  # it may hold what was not said after all
            raise

    # -- ledger ----------------------------------------------------------------------------------------------------

    def entries(self) -> Sequence[Participation]:
        """Return everything this site ever said, oldest first."""
        if self._said is None:
            rows = self._db.execute("SELECT value FROM ledger ORDER BY entry")
            self._said = [msgspec.msgpack.decode(row[0], type=Participation) for row in rows]
        return tuple(self._said)

    def append(self, entry: Participation) -> None:
        """Add to the ledger; inside a transaction it is durable when that commits, and nothing is sent before."""
        self._db.execute("INSERT INTO ledger (value) VALUES (?)", (msgspec.msgpack.encode(entry),))
        if self._said is not None:
            self._said.append(entry)

    # -- sequence numbers --------------------------------------------------------------------------------------------

    def next_sequence(self) -> int:
        """Return a number larger than any before, across restarts and backups."""
        if self._next >= self._reserved:
            self._reserved = self._next + RESERVE
            with nullcontext() if self._db.in_transaction else self.transaction():
                self.set_fact("sequence", str(self._reserved).encode())
        self._next += 1
        return self._next

    # -- the round in progress -------------------------------------------------------------------------------------

    def took(self, frame: bytes) -> None:
        """Keep a frame of the coordinator's until the round closes (inside a transaction)."""
        self._db.execute("INSERT INTO inbox (data) VALUES (?)", (frame,))

    def inbox(self) -> list[bytes]:
        """Return the frames that were taken in this round, in order."""
        return [row[0] for row in self._db.execute("SELECT data FROM inbox ORDER BY number")]

    def outbox(self) -> Iterator[bytes]:
        """Give all frames that were posted in this round, in order."""
        for data, file in self._db.execute("SELECT data, file FROM outbox ORDER BY number").fetchall():
            letter = messages.decode(self.read_file(file) if data is None else data, messages.Letter)
            yield from letter.frames

    def post(
        self, frames: Sequence[bytes], receipt: Receipt | None = None, spent: messages.Spent | None = None
    ) -> None:
        """Put frames into the outbox (inside a transaction), as one letter or, if they are many bytes, several.

        Args:
            frames: in order.
            receipt: of this site, to go with the last of them.
            spent: what the site has spent, to go with the last of them.

        Raises:
            StorageError: the disk refuses.
        """
        count = self._db.execute("SELECT COALESCE(MAX(number) + 1, 0) FROM outbox").fetchone()[0]
        for number, letter in enumerate(messages.letters(frames, receipt, spent), count):
            data, file = messages.encode(letter), None
            if len(data) > messages.SMALL_LETTER:
                file = str(number)
                self.write_file(file, [data])
            self._db.execute("INSERT INTO outbox VALUES (?, ?, ?)", (number, None if file else data, file))

    def unsent(self) -> Iterator[Letter]:
        """Give the letters of which this process has no acknowledgement, in order, one at a time.

        What was acknowledged is not written down: after a restart all are sent again, and the coordinator knows them.
        """
        query = "SELECT number, data, file FROM outbox WHERE number > ? ORDER BY number LIMIT 1"
        last = self._db.execute("SELECT MAX(number) FROM outbox").fetchone()[0]
        while (row := self._db.execute(query, (self._acknowledged,)).fetchone()) is not None:
            number, data, file = row
            yield Letter(number, self.read_file(file) if data is None else data, number == last)

    def acknowledged(self, number: int) -> None:
        """Note that the coordinator has a letter; it stays here until the round closes."""
        self._acknowledged = number

    def forget_round(self) -> None:
        """Erase the secrets of the round (inside a transaction); `erase` afterwards."""
        self._db.execute("DELETE FROM outbox")
        self._db.execute("DELETE FROM inbox")
        self._db.execute("DELETE FROM facts WHERE name IN ('round', 'snapshot')")
        self._acknowledged = -1

    def erase(self) -> None:
        """Erase letters that are not in the outbox any more, and what the write-ahead log holds of secrets."""
        self.sweep(row[0] for row in self._db.execute("SELECT file FROM outbox WHERE file IS NOT NULL"))
        self.scrub()

    def leave_out_round(self) -> None:
        """Leave the round in progress, if there is one: its secrets are erased."""
        with self.transaction():
            self.forget_round()

    def leave_out_until(self, round_index: int) -> None:
        """Take no part in rounds up to this one."""
        with self.transaction():
            self.set_fact("restored", str(round_index).encode())

    def leaves_out(self, round_index: int) -> bool:
        """Tell whether a round is left out."""
        return round_index <= int(self.fact("restored") or b"-1")

    # -- receipts --------------------------------------------------------------------------------------------------

    def keep_receipt(self, round_index: int, attempt: int, value: bytes) -> None:
        """Keep a signed receipt (inside a transaction)."""
        self._db.execute("INSERT OR REPLACE INTO receipts VALUES (?, ?, ?)", (round_index, attempt, value))

    def keep_own_receipt(self, receipt: Receipt) -> None:
        """Keep what this site signed of a round (inside a transaction)."""
        row = (receipt.round_index, receipt.attempt, msgspec.json.encode(receipt))
        self._db.execute("INSERT OR REPLACE INTO own_receipts VALUES (?, ?, ?)", row)

    def own_receipts(self) -> list[bytes]:
        """Return all that this site signed, oldest first, each as JSON."""
        return [row[0] for row in self._db.execute("SELECT value FROM own_receipts ORDER BY round, attempt")]

    def receipts(self) -> list[bytes]:
        """Return all receipts, oldest first."""
        return [row[0] for row in self._db.execute("SELECT value FROM receipts ORDER BY round, attempt")]
