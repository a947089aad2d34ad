"""One audit: read, judge every round, judge the rounds together."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from secagg.audit import cohorts, keys, parameters, receipts, sums, survivors
from secagg.audit.budget import check_budget
from secagg.audit.reading import StudyRecords, read_study
from secagg.audit.verdicts import Report
from secagg.errors import UsageError
from secagg.transcript.receipts import Receipt

Members = tuple[tuple[int, str], ...]


def audit_file(
    path: Path, *, roster: Path | None = None, own: Path | None = None, running: bool = False
) -> tuple[Report, StudyRecords]:
    """Audit a transcript, or the receipts of one site alone.

    Args:
        path: a transcript, or a file of receipts, one JSON object a line.
        roster: TOML with the identities that the auditor knows (see ``read_roster``).
        own: receipts that a site kept, to be found in the transcript.
        running: whether the study still goes on.

    Raises:
        UsageError: a file that cannot be read.
    """
    data, known = _bytes(path), None if roster is None else read_roster(roster)
    kept = () if own is None else read_receipts(_bytes(own), own)
    report = Report(str(path))
    if data.lstrip().startswith(b'{"client"'):
        report.extend(receipts.check_alone(read_receipts(data, path), _keys(known or ())))
        return report, StudyRecords()
    found = read_study(data, running=running)
    report.extend(found.findings)
    study = found.study
    if study is None:
        return report, found
    trusted = _keys(known if known is not None else study.roster)
    report.extend(parameters.check_roster(study, known))
    report.extend(parameters.check_all(found, study))
    for one in found.rounds:
        report.extend(keys.check_keys(one, trusted))
        report.extend(survivors.check_survivors(study, one, trusted))
        report.extend(sums.check_sum(one))
    report.extend(receipts.check_receipts(found, trusted, kept))
    report.extend(cohorts.check_rounds(found, study))
    report.extend(check_budget(found, study))
    return report, found


def _keys(members: Members) -> dict[int, bytes]:
    return {client: bytes.fromhex(key) for client, key in members}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror or error}") from None


def read_receipts(data: bytes, path: Path) -> tuple[Receipt, ...]:
    """Read receipts, one JSON object a line.

    Raises:
        UsageError: a line that is no receipt.
    """
    try:
        return tuple(msgspec.json.decode(line, type=Receipt) for line in data.splitlines() if line.strip())
    except (msgspec.DecodeError, ValueError) as error:
        raise UsageError(f"{str(path)!r} holds a line that is no receipt: {error}") from None


def read_roster(path: Path) -> Members:
    """Read a roster: tables ``[[members]]``, or the ``[[site]]`` of a study.toml, with ``id`` and ``key`` (hex).

    Raises:
        UsageError: no such file, or no roster.
    """
    try:
        document = tomllib.loads(_bytes(path).decode())
        listed = document.get("members") or document.get("site") or []
        members = tuple((int(entry["id"]), str(entry["key"]).lower()) for entry in listed)
        if not members or any(len(bytes.fromhex(key)) != 32 for _, key in members):
            raise ValueError("no [[members]] or [[site]] with an id and a key of 64 hex digits")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{str(path)!r} is not a roster: {error}") from None
    return tuple(sorted(members))
