"""What a coordinator remembers: a journal of the round in progress, the outcome of every round, and masked inputs.

Masked inputs are files that are synced before the journal names them. Journal and files are erased when their round
closes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from secagg.study.durable import Durable

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE approvals (site INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE sequences (site INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
CREATE TABLE journal (
    entry INTEGER PRIMARY KEY, kind TEXT NOT NULL, site INTEGER NOT NULL DEFAULT 0, number INTEGER NOT NULL DEFAULT 0,
    digest BLOB NOT NULL DEFAULT x'', data BLOB, file TEXT
) STRICT;
CREATE UNIQUE INDEX said ON journal (site, number) WHERE kind = 'letter';
CREATE TABLE rounds (
    round INTEGER NOT NULL, attempt INTEGER NOT NULL, outcome TEXT NOT NULL, receipt BLOB NOT NULL, line TEXT NOT NULL,
    PRIMARY KEY (round, attempt)
) STRICT;
CREATE TABLE site_receipts (site INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE spent (site INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE transcript (part INTEGER NOT NULL, number INTEGER NOT NULL, line TEXT NOT NULL,
    PRIMARY KEY (part, number)) STRICT;
"""


@dataclass(frozen=True)
class Entry:
    """One line of the journal: the round that began, a letter that was taken, or the end of a phase."""

    kind: str
    site: int
    number: int
    digest: bytes
    data: bytes | None
    file: str | None


class Store(Durable):
    """The folder of a coordinator's state.

    Args:
        folder: exists and is locked by this process.

    Raises:
        StorageError: the disk refuses, or the files are not of this version.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "coordinator.db", _SCHEMA, SCHEMA_VERSION, "masked", "the coordinator")
        self._sweep()
        self._part = int(self.fact("part") or b"0")

    @property
    def part(self) -> int:
        """Number of the transcript that is written now, from 0; a study that was changed and signed again has more."""
        return self._part

    def begin_part(self, study: bytes) -> None:
        """Begin a transcript of its own for a study that was changed (inside a transaction)."""
        self._part += 1
        self.set_fact("part", str(self._part).encode())
        self.set_fact("study", study)
        self._db.execute("DELETE FROM site_receipts")

    def _sweep(self) -> None:
        """Erase files that no journal entry names: uploads that were never acknowledged."""
        self.sweep(row[0] for row in self._db.execute("SELECT file FROM journal WHERE file IS NOT NULL"))

    def approvals(self) -> dict[int, bytes]:
        """Return the members' approvals as they sent them."""
        return dict(self._db.execute("SELECT site, value FROM approvals"))

    def set_approval(self, site: int, value: bytes) -> None:
        """Remember an approval (inside a transaction)."""
        self._db.execute("INSERT OR REPLACE INTO approvals VALUES (?, ?)", (site, value))

    def sequences(self) -> dict[int, int]:
        """Return the highest sequence number that each site has used in a request that was remembered."""
        return dict(self._db.execute("SELECT site, last FROM sequences"))

    def set_sequence(self, site: int, last: int) -> None:
        """Remember a sequence number (inside a transaction)."""
        self._db.execute("INSERT OR REPLACE INTO sequences VALUES (?, ?)", (site, last))

    def site_receipt(self, site: int) -> bytes | None:
        """Return the last receipt of a site that stands in the transcript."""
        row = self._db.execute("SELECT value FROM site_receipts WHERE site = ?", (site,)).fetchone()
        return None if row is None else row[0]

    def set_site_receipt(self, site: int, value: bytes) -> None:
        """Remember a site's receipt (inside a transaction)."""
        self._db.execute("INSERT OR REPLACE INTO site_receipts VALUES (?, ?)", (site, value))

    def spent(self, site: int) -> bytes | None:
        """Return a site's last countersigned statement of what it has spent."""
        row = self._db.execute("SELECT value FROM spent WHERE site = ?", (site,)).fetchone()
        return None if row is None else row[0]

    def set_spent(self, site: int, value: bytes) -> None:
        """Remember a countersigned statement (inside a transaction)."""
        self._db.execute("INSERT OR REPLACE INTO spent VALUES (?, ?)", (site, value))

    # -- the round in progress -------------------------------------------------------------------------------------

    def journal(self) -> list[Entry]:
        """Return the journal of the round in progress, oldest entry first."""
        rows = self._db.execute("SELECT kind, site, number, digest, data, file FROM journal ORDER BY entry")
        return [Entry(*row) for row in rows]

    def note(self, entry: Entry) -> int:
        """Append to the journal (inside a transaction) and return the entry's number."""
        cursor = self._db.execute(
            "INSERT INTO journal (kind, site, number, digest, data, file) VALUES (?, ?, ?, ?, ?, ?)",
            (entry.kind, entry.site, entry.number, entry.digest, entry.data, entry.file),
        )
        return cursor.lastrowid or 0

    def strike(self, entry: int) -> None:
        """Take an entry back that was refused after all (inside a transaction)."""
        self._db.execute("DELETE FROM journal WHERE entry = ?", (entry,))

    def clear_journal(self) -> None:
        """Forget the round in progress (inside a transaction); `erase` afterwards."""
        self._db.execute("DELETE FROM journal")

    def erase(self) -> None:
        """Erase the masked inputs that no journal entry names any more, and what the write-ahead log holds of them."""
        self._sweep()
        self.scrub()

    # -- outcomes --------------------------------------------------------------------------------------------------

    def add_round(self, round_index: int, attempt: int, outcome: str, receipt: bytes, line: str) -> None:
        """Remember how an attempt ended (inside a transaction)."""
        self._db.execute("INSERT INTO rounds VALUES (?, ?, ?, ?, ?)", (round_index, attempt, outcome, receipt, line))

    def receipt(self, round_index: int, attempt: int) -> bytes | None:
        """Return the signed receipt of an attempt that has ended."""
        query = "SELECT receipt FROM rounds WHERE round = ? AND attempt = ?"
        row = self._db.execute(query, (round_index, attempt)).fetchone()
        return None if row is None else row[0]

    def receipts(self) -> list[bytes]:
        """Return all signed receipts, oldest first."""
        return [row[0] for row in self._db.execute("SELECT receipt FROM rounds ORDER BY round, attempt")]

    def lines(self) -> list[str]:
        """Return the receipts' lines, oldest first."""
        return [row[0] for row in self._db.execute("SELECT line FROM rounds ORDER BY round, attempt")]

    def add_transcript(self, lines: Sequence[str]) -> None:
        """Remember further lines of the audit transcript (inside a transaction)."""
        query = "SELECT COUNT(*) FROM transcript WHERE part = ?"
        start = self._db.execute(query, (self._part,)).fetchone()[0]
        rows = [(self._part, number, line) for number, line in enumerate(lines, start)]
        self._db.executemany("INSERT INTO transcript VALUES (?, ?, ?)", rows)

    def transcript(self, part: int | None = None) -> list[str]:
        """Return the lines of an audit transcript, by default of the one that is written now."""
        query = "SELECT line FROM transcript WHERE part = ? ORDER BY number"
        return [row[0] for row in self._db.execute(query, (self._part if part is None else part,))]

    def end_of_transcript(self) -> tuple[int, str] | None:
        """Return how many lines there are, and the last; ``None`` before the first."""
        query = "SELECT number, line FROM transcript WHERE part = ? ORDER BY number DESC LIMIT 1"
        row = self._db.execute(query, (self._part,)).fetchone()
        return None if row is None else (row[0] + 1, row[1])
