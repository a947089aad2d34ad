"""What a site remembers: the ledger of everything it said, the round in progress, and what is still to be sent.

One SQLite file (WAL, ``synchronous = FULL``, mode 0600). A masked input and the shares of an answer are in it before
their first byte leaves, and afterwards they are sent again byte for byte or never. Secrets of a round are erased when
it closes: keep the file out of backups (an old copy would not know what was said since).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from protocols.pairwise.ledger import Participation
from secagg.errors import UsageError

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE ledger (entry INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE outbox (number INTEGER PRIMARY KEY, data BLOB NOT NULL, sent INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE receipts (round INTEGER NOT NULL, attempt INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (round, attempt)) STRICT;
"""

RESERVE = 10_000
"""Sequence numbers that are reserved with one write; a restart skips what was reserved and not used."""


class SiteStorageError(UsageError):
    """This site's disk refused; nothing was sent."""


class Letter(NamedTuple):
    """A frame on its way to the coordinator, the ``number``-th of its attempt."""

    number: int
    data: bytes


class SiteStore:
    """The folder of one site's state; also the protocol's ``Ledger``.

    Args:
        folder: made if it is missing.

    Raises:
        SiteStorageError: the disk refuses, or the file is not of this version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = folder / "models"
        with _complaining("open its state"):
            self._db = sqlite3.connect(folder / "site.db", check_same_thread=False, isolation_level=None)
            (folder / "site.db").chmod(0o600)
            self.models.mkdir(exist_ok=True, mode=0o700)
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
                self._db.execute(f"PRAGMA {pragma}")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
            elif version != SCHEMA_VERSION:
                raise SiteStorageError(f"{folder} was written by another version of secagg (format {version})")
        self._next = self._reserved = int(self.fact("sequence") or b"0")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside, durably, or nothing.

        Raises:
            SiteStorageError: the disk refuses.
        """
        with _complaining("write its journal"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    # -- ledger ----------------------------------------------------------------------------------------------------

    def entries(self) -> Sequence[Participation]:
        """Return everything this site ever said, oldest first."""
        rows = self._db.execute("SELECT value FROM ledger ORDER BY entry")
        return [msgspec.msgpack.decode(row[0], type=Participation) for row in rows]

    def append(self, entry: Participation) -> None:
        """Add to the ledger; inside a transaction it is durable when that commits, and nothing is sent before."""
        self._db.execute("INSERT INTO ledger (value) VALUES (?)", (msgspec.msgpack.encode(entry),))

    # -- facts and sequence numbers --------------------------------------------------------------------------------

    def fact(self, name: str) -> bytes | None:
        """Return a fact, or ``None``."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def set_fact(self, name: str, value: bytes) -> None:
        """Remember a fact."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def next_sequence(self) -> int:
        """Return a number larger than any before, across restarts."""
        if self._next >= self._reserved:
            self._reserved = self._next + RESERVE
            with self.transaction():
                self.set_fact("sequence", str(self._reserved).encode())
        self._next += 1
        return self._next

    def skip_sequence(self, last: int) -> None:
        """Go on above ``last``."""
        self._next = self._reserved = max(self._next, last)

    # -- the round in progress -------------------------------------------------------------------------------------

    def post(self, frames: Sequence[bytes]) -> None:
        """Put frames into the outbox (inside a transaction), numbered on from those before."""
        count = self._db.execute("SELECT COALESCE(MAX(number) + 1, 0) FROM outbox").fetchone()[0]
        rows = [(count + place, frame) for place, frame in enumerate(frames)]
        self._db.executemany("INSERT INTO outbox (number, data) VALUES (?, ?)", rows)

    def unsent(self) -> Iterator[Letter]:
        """Give the frames that were not acknowledged yet, in order, one at a time."""
        while True:
            query = "SELECT number, data FROM outbox WHERE sent = 0 ORDER BY number LIMIT 1"
            row = self._db.execute(query).fetchone()
            if row is None:
                return
            yield Letter(*row)

    def acknowledged(self, number: int) -> None:
        """Note that the coordinator has a frame; it stays here until the round closes."""
        with _complaining("write its journal"):
            self._db.execute("UPDATE outbox SET sent = 1 WHERE number = ?", (number,))

    def forget_round(self) -> None:
        """Erase the outbox and the secrets of the round (inside a transaction)."""
        self._db.execute("DELETE FROM outbox")
        self._db.execute("DELETE FROM facts WHERE name IN ('round', 'snapshot')")

    def scrub(self) -> None:
        """Overwrite what the write-ahead log still holds of erased secrets."""
        with _complaining("erase the secrets of a round"):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

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

    def receipts(self) -> list[bytes]:
        """Return all receipts, oldest first."""
        return [row[0] for row in self._db.execute("SELECT value FROM receipts ORDER BY round, attempt")]

    def close(self) -> None:
        """Close the file."""
        self._db.close()


@contextmanager
def _complaining(what: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise SiteStorageError(f"this site cannot {what}: {error}") from error
