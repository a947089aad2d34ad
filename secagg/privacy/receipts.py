"""Signed statements of what a site has spent, kept by somebody else, so that a backup cannot make it forget.

After a round a site signs its totals, and a witness (the coordinator, a registry) countersigns and keeps them. A site
whose disk was restored asks for its last countersigned receipt and calls `raise_to` before anything else: its totals
are then no lower than the receipt's, plus whatever it charged since the last row that both histories surely share.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from protocols.primitives import signing
from secagg.privacy import ledger as ledgers
from secagg.privacy.errors import LedgerError
from secagg.privacy.ledger import Budget, Charge, Ledger
from secagg.privacy.mechanism import largest
from secagg.privacy.sensitivity import Relation, Unit

SITE_DOMAIN = b"secagg privacy receipt 1"
WITNESS_DOMAIN = b"secagg privacy receipt 1 countersigned"
HISTORY = 256
"""Earlier receipts that a receipt names, the latest."""

Name = Annotated[str, msgspec.Meta(max_length=256)]
Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
Sequence = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class Total(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What one cohort has spent: its budget, and the exact cost as in the ledger."""

    cohort: Name
    epsilon: float
    delta: float
    unit: Unit
    relation: Relation
    cost: Annotated[bytes, msgspec.Meta(max_length=4096)]


class Receipt(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A site's statement.

    Attributes:
        site: Ed25519 verification key of the site.
        sequence: last row that is included.
        head: hash of the chain up to there.
        earlier: (sequence, head) of earlier receipts of the same ledger.
        totals: all cohorts, by name.
    """

    site: Digest
    sequence: Sequence
    head: Digest
    earlier: Annotated[tuple[tuple[Sequence, Digest], ...], msgspec.Meta(max_length=HISTORY)]
    totals: Annotated[tuple[Total, ...], msgspec.Meta(max_length=65536)]


class Countersigned(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A receipt as written, with the signature of its site and then of the witness who keeps it."""

    receipt: bytes
    site_signature: Signature
    witness: Digest
    witness_signature: Signature


def issue(ledger: Ledger, secret: bytes) -> tuple[bytes, bytes]:
    """Return (receipt as bytes, signature) of all that the ledger holds, and remember it there.

    Args:
        ledger: the site's.
        secret: the site's 32-byte Ed25519 secret.
    """
    with ledger.transaction() as db:
        sequence, head = ledger.last()
        rows = db.execute("SELECT sequence, head FROM receipts ORDER BY sequence DESC LIMIT ?", (HISTORY,)).fetchall()
        totals = []
        for cohort in ledger.cohorts():
            budget = ledger.budget(cohort)
            cost = ledgers.cost_bytes(ledger.spent(cohort))
            totals.append(Total(cohort, budget.epsilon, budget.delta, budget.unit, budget.relation, cost))
        site = signing.public_key(secret)
        earlier = tuple((row[0], row[1]) for row in rows)
        written = msgspec.msgpack.encode(Receipt(site, sequence, head, earlier, tuple(totals)))
        db.execute("INSERT OR REPLACE INTO receipts VALUES (?, ?, ?)", (sequence, head, written))
    return written, signing.sign(secret, SITE_DOMAIN + written)


def countersign(receipt: bytes, signature: bytes, site: bytes, secret: bytes) -> Countersigned:
    """Check a site's receipt and sign it as the witness.

    Args:
        receipt: as `issue` gave it.
        signature: of the site.
        site: verification key of the site, from the roster.
        secret: the witness's 32-byte Ed25519 secret.

    Raises:
        LedgerError: not a receipt of this site.
    """
    read(receipt, signature, site)
    signed = signing.sign(secret, WITNESS_DOMAIN + receipt + signature)
    return Countersigned(receipt, signature, signing.public_key(secret), signed)


def read(receipt: bytes, signature: bytes, site: bytes) -> Receipt:
    """Return the receipt that ``site`` signed.

    Raises:
        LedgerError: a wrong signature, another site's receipt, or no receipt at all.
    """
    if not signing.verify(site, SITE_DOMAIN + receipt, signature):
        raise LedgerError("the site's signature on this privacy receipt is wrong")
    try:
        found = msgspec.msgpack.decode(receipt, type=Receipt)
    except msgspec.MsgspecError as error:
        raise LedgerError(f"this is no privacy receipt: {error}") from error
    if found.site != site or msgspec.msgpack.encode(found) != receipt:
        raise LedgerError("this privacy receipt is another site's, or not in its one canonical form")
    return found


def raise_to(ledger: Ledger, last: Countersigned, site: bytes, witness: bytes) -> bool:
    """Make a restored ledger spend no less than its last countersigned receipt says; True if it had to be raised.

    Charges that came after the latest row that the receipt surely includes are added on top, as if they were missing
    from it: too much rather than too little.

    Args:
        ledger: the restored one.
        last: the site's last receipt, from the witness.
        site: the site's own verification key.
        witness: verification key of the witness.

    Raises:
        LedgerError: a receipt that is not signed by both.
    """
    signed = WITNESS_DOMAIN + last.receipt + last.site_signature
    if last.witness != witness or not signing.verify(witness, signed, last.witness_signature):
        raise LedgerError("the countersignature of this privacy receipt is wrong")
    receipt = read(last.receipt, last.site_signature, site)
    if ledger.head_at(receipt.sequence) == receipt.head:
        return False
    shared = max((place for place, head in receipt.earlier if ledger.head_at(place) == head), default=0)
    for total in receipt.totals:
        if total.cohort not in ledger.cohorts():
            ledger.open_cohort(
                total.cohort,
                Budget(epsilon=total.epsilon, delta=total.delta, unit=total.unit, relation=total.relation),
            )
    mark = f"receipt {receipt.sequence} {receipt.head.hex()}"
    with ledger.transaction() as db:
        for total in receipt.totals:
            query = "SELECT 1 FROM charges WHERE cohort = ? AND release = ?"
            if db.execute(query, (total.cohort, mark)).fetchone():
                continue
            owed = ledgers.cost_from(total.cost)
            target = owed + ledger.costs_after(total.cohort, shared)
            charge = Charge(
                cohort=total.cohort,
                release=mark,
                cost=owed,
                unit=total.unit,
                relation=total.relation,
                terms=b"restored",
            )
            ledger.append(db, charge, largest([target, ledger.spent(total.cohort)]))
    return True
