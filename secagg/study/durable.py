"""What a party remembers, and what survives a crash of its machine: one SQLite file, and a folder of files beside it.

SQLite in WAL mode with ``synchronous = FULL``: when a transaction has committed, it is on disk. Files are synced before
a transaction names them. What is erased is overwritten, as far as SQLite and the file system can.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from secagg.errors import UsageError
from secagg.study.weights import sync_folder

FACTS = "CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;"


class StorageError(UsageError):
    """The disk refused; nothing was acknowledged, and nothing was sent."""


class Durable:
    """A database and its folder of files; the two ends of a study each keep one.

    Args:
        folder: exists, and is locked by this process (or is only read).
        name: of the database file.
        schema: SQL that makes the tables, beside ``facts``.
        version: of the schema.
        files: name of the sub-folder of files.
        owner: what errors call this party.

    Raises:
        StorageError: the disk refuses, or the files are not of this version.
    """

    def __init__(self, folder: Path, name: str, schema: str, version: int, files: str, owner: str) -> None:
        self.folder, self.files, self.models = folder, folder / files, folder / "models"
        self._owner = owner
        with self.complaining("open its state"):
            for path in (self.files, self.models):
                path.mkdir(exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(folder / name, check_same_thread=False, isolation_level=None)
            (folder / name).chmod(0o600)
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "foreign_keys = ON"):
                self._db.execute(f"PRAGMA {pragma}")
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found == 0:
                self._db.executescript(f"BEGIN; {FACTS} {schema} PRAGMA user_version = {version}; COMMIT;")
            elif found != version:
                raise StorageError(
                    f"{folder} was written by another version of secagg (format {found}, this one reads {version}): "
                    "use that version, or finish the study with it first"
                )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside, durably, or nothing.

        Raises:
            StorageError: the disk refuses.
        """
        with self.complaining("write its journal"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def complaining(self, what: str) -> Iterator[None]:
        """Turn the disk's refusals into one typed error."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"{self._owner} cannot {what}: {error}") from error

    def fact(self, name: str) -> bytes | None:
        """Return a fact, or ``None``."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def set_fact(self, name: str, value: bytes) -> None:
        """Remember a fact (inside a transaction)."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def write_file(self, name: str, parts: Iterable[bytes]) -> None:
        """Write a file and its name durably, before a transaction names it.

        Raises:
            StorageError: the disk refuses.
        """
        path = self.files / name
        with self.complaining("keep a masked input"):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self.files)

    def read_file(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            StorageError: it is gone.
        """
        with self.complaining("read a masked input"):
            return (self.files / name).read_bytes()

    def drop_files(self, names: Iterable[str | None]) -> None:
        """Erase files that were not journalled after all; ``None`` is no file.

        Raises:
            StorageError: the disk refuses.
        """
        with self.complaining("erase masked inputs"):
            for name in names:
                if name is not None:
                    (self.files / name).unlink(missing_ok=True)

    def sweep(self, named: Iterable[str]) -> None:
        """Erase the files that nothing names any more.

        Raises:
            StorageError: the disk refuses.
        """
        kept = set(named)
        with self.complaining("erase masked inputs"):
            for path in self.files.iterdir():
                if path.name not in kept:
                    path.unlink(missing_ok=True)  # whoever wrote it may erase it at the same time

    def scrub(self) -> None:
        """Overwrite what the write-ahead log still holds of what was erased.

        Raises:
            StorageError: the disk refuses.
        """
        with self.complaining("erase the secrets of a round"):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the database."""
        self._db.close()
