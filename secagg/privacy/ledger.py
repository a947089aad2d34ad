"""What a site has spent, per patient cohort: charge first, release second, stop at the budget.

A charge is one SQLite transaction with write-ahead log and ``synchronous = FULL``: once `Ledger.charge` returns, it is
on disk, and only then is there a `Permit`, which whoever releases asks for. A crash before costs nothing and releases
nothing; a crash after costs a release that never happened. Totals stand in every row, so a charge reads one row. Rows
form a hash chain, which receipts sign.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from secagg.privacy import renyi
from secagg.privacy.errors import BudgetExhausted, LedgerError, PrivacyInputError
from secagg.privacy.gaussian import check_delta
from secagg.privacy.mechanism import Cost
from secagg.privacy.sensitivity import Relation, Unit, check_relation

VERSION = 1
FIRST_HEAD = hashlib.sha256(b"secagg privacy ledger 1").digest()
COST_FORMAT = struct.Struct(f">{len(renyi.ORDERS) + 2}dQ")

SCHEMA = (
    """CREATE TABLE cohorts (
        cohort TEXT PRIMARY KEY, epsilon REAL NOT NULL, delta REAL NOT NULL, unit TEXT NOT NULL, relation TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE charges (
        sequence INTEGER PRIMARY KEY, cohort TEXT NOT NULL REFERENCES cohorts, release TEXT NOT NULL,
        terms BLOB NOT NULL, cost BLOB NOT NULL, total BLOB NOT NULL, head BLOB NOT NULL, UNIQUE (cohort, release)
    ) STRICT""",
    "CREATE INDEX by_cohort ON charges (cohort, sequence)",
    """CREATE TABLE receipts (
        sequence INTEGER NOT NULL, head BLOB NOT NULL, receipt BLOB NOT NULL, PRIMARY KEY (sequence, head)
    ) STRICT""",
    f"PRAGMA user_version = {VERSION}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a cohort may spend over its lifetime.

    Attributes:
        epsilon: at most this.
        delta: at this delta, failures of bounds included.
        unit: whose data the budget protects.
        relation: what neighbours are.

    Raises:
        PrivacyInputError: numbers out of range, or a relation that does not go with the unit.
    """

    epsilon: float
    delta: float
    unit: Unit = Unit.PATIENT
    relation: Relation = Relation.ADD_REMOVE

    def __post_init__(self) -> None:
        """Refuse what is no budget."""
        check_delta(self.delta)
        try:
            object.__setattr__(self, "unit", Unit(self.unit))
            object.__setattr__(self, "relation", Relation(self.relation))
        except ValueError as error:
            raise PrivacyInputError(f"a budget names its unit and neighbours: {error}") from error
        check_relation(self.unit, self.relation)
        if not 0 < self.epsilon < float("inf"):
            raise PrivacyInputError(f"a budget is a positive epsilon, not {self.epsilon!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What is about to be released.

    Attributes:
        cohort: id of the named dataset version whose patients are in it.
        release: id of the release, unique in the cohort: the study, the round, the attempt.
        cost: what it costs.
        unit: whose data the cost is stated for.
        relation: what neighbours are in that statement.
        terms: hash of everything that was agreed on (parameters, roster, model); a repetition must have the same.
    """

    cohort: str
    release: str
    cost: Cost
    unit: Unit
    relation: Relation
    terms: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Proof that a release is charged.

    Attributes:
        charge: what was charged.
        sequence: its place in the ledger.
        repeated: it was charged before: only the very bytes that were released then may be sent again.
        epsilon: what the cohort has spent, this charge included.
    """

    charge: Charge
    sequence: int
    repeated: bool
    epsilon: float


class Ledger:
    """One file per site; several processes may use it at once.

    Args:
        path: of the SQLite file; created if missing. Back it up, and see ``receipts`` for what a restored one owes.

    Raises:
        LedgerError: a file of another version, or no ledger.
    """

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(str(path), isolation_level=None, timeout=30)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise LedgerError(f"{path} cannot be used as a privacy ledger: {error}") from error
        except LedgerError:
            self._db.close()
            raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        with self.transaction():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0 and not self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
                for statement in SCHEMA:
                    self._db.execute(statement)
            elif version != VERSION:
                raise LedgerError(f"this ledger has version {version}; this release of secagg reads version {VERSION}")

    def close(self) -> None:
        """Close the file; nothing is pending, ever."""
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all or nothing; returns when it is on disk."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def open_cohort(self, cohort: str, budget: Budget) -> None:
        """Give a cohort its budget; the same again changes nothing.

        Raises:
            LedgerError: the cohort has another budget; `change_budget` is the deliberate way.
        """
        if not cohort:
            raise PrivacyInputError("a cohort is named by its dataset version; an empty name is none")
        with self.transaction() as db:
            row = (budget.epsilon, budget.delta, budget.unit.value, budget.relation.value)
            known = db.execute("SELECT epsilon, delta, unit, relation FROM cohorts WHERE cohort = ?", (cohort,))
            found = known.fetchone()
            if found is None:
                db.execute("INSERT INTO cohorts VALUES (?, ?, ?, ?, ?)", (cohort, *row))
            elif found != row:
                raise LedgerError(f"cohort {cohort!r} has another budget already: change it deliberately")

    def change_budget(self, cohort: str, epsilon: float) -> None:
        """Set another epsilon for a cohort, as its data protection officer decided; what is spent stays spent."""
        changed = replace(self.budget(cohort), epsilon=epsilon)
        with self.transaction() as db:
            db.execute("UPDATE cohorts SET epsilon = ? WHERE cohort = ?", (changed.epsilon, cohort))

    def budget(self, cohort: str) -> Budget:
        """Return the budget of a cohort.

        Raises:
            LedgerError: no such cohort.
        """
        query = "SELECT epsilon, delta, unit, relation FROM cohorts WHERE cohort = ?"
        row = self._db.execute(query, (cohort,)).fetchone()
        if row is None:
            raise LedgerError(f"cohort {cohort!r} has no budget here: open it with one before it is used")
        return Budget(epsilon=row[0], delta=row[1], unit=Unit(row[2]), relation=Relation(row[3]))

    def cohorts(self) -> tuple[str, ...]:
        """Return the ids of all cohorts."""
        return tuple(row[0] for row in self._db.execute("SELECT cohort FROM cohorts ORDER BY cohort"))

    def spent(self, cohort: str) -> Cost:
        """Return the total cost of a cohort so far."""
        query = "SELECT total FROM charges WHERE cohort = ? ORDER BY sequence DESC LIMIT 1"
        row = self._db.execute(query, (cohort,)).fetchone()
        return Cost() if row is None else cost_from(row[0])

    def epsilon(self, cohort: str) -> float:
        """Return the epsilon spent by a cohort so far, at its budget's delta."""
        return self.spent(cohort).epsilon(self.budget(cohort).delta)[0]

    def last(self) -> tuple[int, bytes]:
        """Return (sequence, head) of the last row; (0, a constant) of an empty ledger."""
        row = self._db.execute("SELECT sequence, head FROM charges ORDER BY sequence DESC LIMIT 1").fetchone()
        return (0, FIRST_HEAD) if row is None else (row[0], row[1])

    def charged(self, cohort: str, release: str) -> bool:
        """Tell whether a release of this id was charged to a cohort."""
        query = "SELECT 1 FROM charges WHERE cohort = ? AND release = ?"
        return self._db.execute(query, (cohort, release)).fetchone() is not None

    def charge(self, charge: Charge) -> Permit:
        """Charge a release; when this returns, it is on disk, and the release may go out.

        Raises:
            BudgetExhausted: it would pass the budget; nothing is written.
            LedgerError: no such cohort, or a release of this id was charged under other terms.
            PrivacyInputError: a cost stated for another unit or relation than the budget.
        """
        budget = self.budget(charge.cohort)
        if (charge.unit, charge.relation) != (budget.unit, budget.relation):
            raise PrivacyInputError(
                f"the budget of cohort {charge.cohort!r} is for {budget.unit} ({budget.relation}); "
                f"a cost for {charge.unit} ({charge.relation}) says nothing about it"
            )
        with self.transaction() as db:
            query = "SELECT sequence, cost, terms, total FROM charges WHERE cohort = ? AND release = ?"
            known = db.execute(query, (charge.cohort, charge.release)).fetchone()
            if known is not None:
                if known[1:3] != (cost_bytes(charge.cost), charge.terms):
                    raise LedgerError(
                        f"release {charge.release!r} of cohort {charge.cohort!r} was charged under other terms; "
                        "a different release needs an id of its own"
                    )
                epsilon = self.spent(charge.cohort).epsilon(budget.delta)[0]
                return Permit(charge=charge, sequence=known[0], repeated=True, epsilon=epsilon)
            before = self.spent(charge.cohort)
            total = before + charge.cost
            epsilon = total.epsilon(budget.delta)[0]
            if not epsilon <= budget.epsilon:
                raise BudgetExhausted(charge.cohort, before.epsilon(budget.delta)[0], epsilon, budget.epsilon)
            sequence = self.append(db, charge, total)
        return Permit(charge=charge, sequence=sequence, repeated=False, epsilon=epsilon)

    def append(self, db: sqlite3.Connection, charge: Charge, total: Cost) -> int:
        """Write one row into an open transaction and return its sequence; `charge` is the way to spend."""
        last, head = self.last()
        row = (last + 1, charge.cohort, charge.release, charge.terms, cost_bytes(charge.cost), cost_bytes(total))
        db.execute("INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, chained(head, row)))
        return last + 1

    def head_at(self, sequence: int) -> bytes | None:
        """Return the head after that row, or None if there is no such row."""
        if sequence == 0:
            return FIRST_HEAD
        row = self._db.execute("SELECT head FROM charges WHERE sequence = ?", (sequence,)).fetchone()
        return None if row is None else bytes(row[0])

    def costs_after(self, cohort: str, sequence: int) -> Cost:
        """Return the sum of the charges of a cohort that came after a row."""
        query = "SELECT cost FROM charges WHERE cohort = ? AND sequence > ? ORDER BY sequence"
        total = Cost()
        for (cost,) in self._db.execute(query, (cohort, sequence)).fetchall():
            total = total + cost_from(cost)
        return total

    def verify(self) -> None:
        """Walk the whole chain and every total.

        Raises:
            LedgerError: a row was altered, removed or inserted.
        """
        head, expected, totals = FIRST_HEAD, 1, dict[str, Cost]()
        for row in self._db.execute("SELECT * FROM charges ORDER BY sequence").fetchall():
            *body, found = row
            if body[0] != expected or chained(head, tuple(body)) != found:
                raise LedgerError(f"row {expected} of the ledger is missing or was altered")
            total = cost_from(body[5])
            if total.gaussian < totals.get(body[1], Cost()).gaussian or total.gaussian < cost_from(body[4]).gaussian:
                raise LedgerError(f"the total of row {expected} is below what was charged")
            totals[body[1]] = total
            head, expected = found, expected + 1


def cost_bytes(cost: Cost) -> bytes:
    """Write a cost exactly: big-endian float64 of m^2, the failure and the curve, then the number of releases."""
    return COST_FORMAT.pack(cost.gaussian, cost.failure, *cost.curve, cost.releases)


def cost_from(written: bytes) -> Cost:
    """Read what `cost_bytes` wrote.

    Raises:
        LedgerError: bytes of another length.
    """
    if len(written) != COST_FORMAT.size:
        raise LedgerError("a cost in the ledger has another length: it was written for other orders")
    gaussian, failure, *rest = COST_FORMAT.unpack(written)
    return Cost(gaussian=gaussian, failure=failure, curve=tuple(rest[:-1]), releases=int(rest[-1]))


def chained(head: bytes, row: tuple[int, str, str, bytes, bytes, bytes]) -> bytes:
    """Hash a row onto the head of its predecessor; every part with its length, so no two rows write alike."""
    digest = hashlib.sha256(head)
    sequence, cohort, release, terms, cost, total = row
    digest.update(struct.pack(">Q", sequence))
    for raw in (cohort.encode(), release.encode(), terms, cost, total):
        digest.update(struct.pack(">Q", len(raw)) + raw)
    return digest.digest()
