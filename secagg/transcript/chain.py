"""Writing the chain: each line carries the hash of the line before it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from protocols.pairwise.params import LocalPolicy, Roster
from secagg.errors import UsageError
from secagg.transcript import records
from secagg.transcript.records import Record, Study


def study_record(study: str, software: str, policy: LocalPolicy, facts: dict[str, str] | None = None) -> Study:
    """Return the first record of a study, from the policy that its sites share."""
    roster = policy.roster or Roster(())
    return Study(
        format=records.FORMAT,
        study=study,
        software=software,
        roster=tuple((client, key.hex()) for client, key in roster.members),
        colluders=policy.colluders,
        sigma=policy.sigma,
        max_attempts=policy.max_attempts,
        min_cohort_difference=policy.min_cohort_difference,
        facts=facts or {},
    )


class Transcript:
    """An append-only transcript file. Every record is on disk when ``append`` returns.

    Args:
        path: the file; one that exists is continued where it ends, if it ends with a whole record.

    Raises:
        UsageError: the file ends in the middle of a record, or with the study's last one.
    """

    def __init__(self, path: Path) -> None:
        self._number, self._previous, self.rounds = 0, "0" * 64, 0
        lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
        if lines.pop():
            raise UsageError(f"{str(path)!r} ends in the middle of a record: cut the last line off, or start another")
        for line in lines:
            self._advance(records.read(line), line)
        self._file: BinaryIO = path.open("ab")

    def append(self, record: Record) -> None:
        """Write one record; its number and the hash before it are filled in here."""
        chained = msgspec.structs.replace(record, number=self._number, previous=self._previous)
        line = records.write(chained)
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._advance(chained, line)

    def _advance(self, record: Record, line: bytes) -> None:
        self._number += 1
        self._previous = hashlib.sha256(line).hexdigest()
        self.rounds += isinstance(record, records.Parameters)

    @property
    def head(self) -> str:
        """SHA-256 of the last line, in hex: who keeps it can tell a shortened or rewritten transcript."""
        return self._previous

    def end(self) -> None:
        """Write the last record and close the file."""
        self.append(records.End(rounds=self.rounds))
        self.close()

    def close(self) -> None:
        """Close the file; it can be continued."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
