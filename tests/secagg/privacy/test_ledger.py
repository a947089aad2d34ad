"""The ledger: charge first, stop at the budget, forget nothing, whenever the process dies."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from secagg.privacy import (
    Budget,
    BudgetExhausted,
    Charge,
    Cost,
    Ledger,
    LedgerError,
    PrivacyInputError,
    Relation,
    Sensitivity,
    SkellamNoise,
    Unit,
    countersign,
    issue,
    raise_to,
    release,
)
from secagg.privacy.ledger import cost_bytes, cost_from

SENSITIVITY = Sensitivity(unit=Unit.PATIENT, relation=Relation.ADD_REMOVE, l2_squared=100, dim=64, failure=1e-9)
COST = release(SkellamNoise(40_000.0), SENSITIVITY)
BUDGET = Budget(epsilon=1.0, delta=1e-5)
COHORT = "oncology-2026-03"
SITE, WITNESS = b"\x01" * 32, b"\x02" * 32


def charge(name: str, cost: Cost = COST, **changes) -> Charge:
    return Charge(
        **{
            "cohort": COHORT,
            "release": name,
            "cost": cost,
            "unit": Unit.PATIENT,
            "relation": Relation.ADD_REMOVE,
            "terms": b"t" * 32,
            **changes,
        }
    )


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        opened.open_cohort(COHORT, BUDGET)
        yield opened


def test_costs_survive_the_file_exactly():
    assert cost_from(cost_bytes(COST)) == COST
    with pytest.raises(LedgerError, match="length"):
        cost_from(b"short")


def test_charges_add_up_and_survive_reopening(ledger, tmp_path):
    spent = [ledger.charge(charge(f"round {i}")).epsilon for i in range(5)]
    assert spent == sorted(spent)
    assert spent[0] > 0
    assert ledger.spent(COHORT).releases == 5
    assert ledger.spent(COHORT).failure >= 5e-9
    with Ledger(tmp_path / "ledger.sqlite") as again:
        assert again.epsilon(COHORT) == spent[-1]
        again.verify()


def test_hard_stop_at_the_budget(ledger):
    count = 0
    while ledger.epsilon(COHORT) + 0.05 < BUDGET.epsilon:
        ledger.charge(charge(f"round {count}"))
        count += 1
    assert count > 3
    large = release(SkellamNoise(2000.0), SENSITIVITY)
    with pytest.raises(BudgetExhausted, match="nothing was charged") as caught:
        ledger.charge(charge("too much", large))
    assert ledger.epsilon(COHORT) <= 1.0 < caught.value.wanted
    assert ledger.last()[0] == count
    with pytest.raises(BudgetExhausted):
        ledger.charge(charge("too much", large))
    small = release(SkellamNoise(4e9), SENSITIVITY)
    assert ledger.charge(charge("something small", small)).epsilon <= 1.0


def test_a_repetition_is_charged_once_and_says_so(ledger):
    first = ledger.charge(charge("round 0"))
    second = ledger.charge(charge("round 0"))
    assert (first.repeated, second.repeated) == (False, True)
    assert first.sequence == second.sequence
    assert ledger.spent(COHORT).releases == 1
    with pytest.raises(LedgerError, match="other terms"):
        ledger.charge(charge("round 0", terms=b"u" * 32))
    with pytest.raises(LedgerError, match="other terms"):
        ledger.charge(charge("round 0", release(SkellamNoise(50_000.0), SENSITIVITY)))


def test_repetition_still_answers_once_the_budget_is_gone(ledger):
    ledger.charge(charge("round 0"))
    ledger.change_budget(COHORT, 0.01)
    assert ledger.charge(charge("round 0")).repeated
    with pytest.raises(BudgetExhausted):
        ledger.charge(charge("round 1"))


def test_cohorts_have_budgets_of_their_own(ledger):
    ledger.open_cohort("cardiology-2026-01", replace(BUDGET, epsilon=0.05))
    ledger.charge(charge("round 0"))
    assert ledger.spent("cardiology-2026-01") == Cost()
    with pytest.raises(BudgetExhausted, match="cardiology"):
        ledger.charge(charge("round 0", cohort="cardiology-2026-01"))
    with pytest.raises(LedgerError, match="no budget"):
        ledger.charge(charge("round 0", cohort="unknown"))
    ledger.open_cohort(COHORT, BUDGET)
    with pytest.raises(LedgerError, match="another budget"):
        ledger.open_cohort(COHORT, replace(BUDGET, epsilon=50.0))


def test_cost_of_another_unit_says_nothing(ledger):
    with pytest.raises(PrivacyInputError, match="says nothing"):
        ledger.charge(charge("round 0", unit=Unit.SITE, relation=Relation.ZERO_OUT))


def test_two_processes_share_one_budget(ledger, tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as other:
        ledger.charge(charge("round 0"))
        other.charge(charge("round 1"))
        assert ledger.charge(charge("round 2")).epsilon > other.charge(charge("round 1")).epsilon * 0.99
        assert other.spent(COHORT).releases == 3
        other.verify()


@pytest.mark.parametrize(
    "tamper",
    [
        "DELETE FROM charges WHERE sequence = 2",
        "UPDATE charges SET release = 'x' WHERE sequence = 1",
        "UPDATE charges SET total = cost WHERE sequence = 3",
        "UPDATE charges SET cohort = 'other' WHERE sequence = 3",
    ],
)
def test_altered_rows_are_found(ledger, tmp_path, tamper):
    for i in range(3):
        ledger.charge(charge(f"round {i}"))
    ledger.verify()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as raw:
        raw.execute(tamper)
    raw.close()
    with pytest.raises(LedgerError, match="altered"):
        ledger.verify()


def test_other_files_and_versions_are_refused(tmp_path):
    (tmp_path / "text").write_text("this is no database, and long enough to show it" * 10)
    with pytest.raises(LedgerError, match="cannot be used"):
        Ledger(tmp_path / "text")
    with sqlite3.connect(tmp_path / "later") as raw:
        raw.execute("PRAGMA user_version = 9")
        raw.execute("CREATE TABLE charges (x)")
    raw.close()
    with pytest.raises(LedgerError, match="version 9"):
        Ledger(tmp_path / "later")


# --- receipts -------------------------------------------------------------------------------------


def countersigned(ledger: Ledger):
    receipt, signature = issue(ledger, SITE)
    return countersign(receipt, signature, public(SITE), WITNESS)


def public(secret: bytes) -> bytes:
    from protocols.primitives import signing

    return signing.public_key(secret)


def backup(ledger: Ledger, path: Path) -> Path:
    target = sqlite3.connect(path)
    source = sqlite3.connect(ledger._db.execute("PRAGMA database_list").fetchone()[2])
    source.backup(target)
    source.close()
    target.close()
    return path


def test_a_restored_ledger_owes_what_its_receipt_says(ledger, tmp_path):
    ledger.charge(charge("round 0"))
    countersigned(ledger)
    old = backup(ledger, tmp_path / "backup.sqlite")
    for i in range(1, 5):
        ledger.charge(charge(f"round {i}"))
    last = countersigned(ledger)
    with Ledger(old) as restored:
        assert restored.epsilon(COHORT) < ledger.epsilon(COHORT)
        assert raise_to(restored, last, public(SITE), public(WITNESS))
        assert restored.spent(COHORT) == ledger.spent(COHORT)
        assert raise_to(restored, last, public(SITE), public(WITNESS))  # twice is once
        assert restored.spent(COHORT) == ledger.spent(COHORT)
        restored.charge(charge("round 5"))
        assert restored.epsilon(COHORT) > ledger.epsilon(COHORT)
        restored.verify()
    assert not raise_to(ledger, last, public(SITE), public(WITNESS))


def test_what_a_restored_ledger_spent_before_it_was_raised_comes_on_top(ledger, tmp_path):
    ledger.charge(charge("round 0"))
    countersigned(ledger)
    old = backup(ledger, tmp_path / "backup.sqlite")
    ledger.charge(charge("round 1"))
    last = countersigned(ledger)
    with Ledger(old) as restored:
        restored.charge(charge("round 1 of a site that forgot"))
        raise_to(restored, last, public(SITE), public(WITNESS))
        assert restored.spent(COHORT).gaussian >= 3 * COST.gaussian
        assert restored.spent(COHORT).releases == 3


def test_an_empty_ledger_is_raised_too(ledger, tmp_path):
    for i in range(3):
        ledger.charge(charge(f"round {i}"))
    last = countersigned(ledger)
    with Ledger(tmp_path / "new.sqlite") as fresh:
        raise_to(fresh, last, public(SITE), public(WITNESS))
        assert fresh.spent(COHORT) == ledger.spent(COHORT)
        assert fresh.budget(COHORT) == BUDGET


def test_receipts_must_be_signed_by_both(ledger, tmp_path):
    ledger.charge(charge("round 0"))
    receipt, signature = issue(ledger, SITE)
    with pytest.raises(LedgerError, match="site's signature"):
        countersign(receipt, bytes(64), public(SITE), WITNESS)
    with pytest.raises(LedgerError, match="site's signature"):
        countersign(receipt[:-1] + b"\x00", signature, public(SITE), WITNESS)
    last = countersign(receipt, signature, public(SITE), WITNESS)
    with Ledger(tmp_path / "new.sqlite") as fresh:
        with pytest.raises(LedgerError, match="countersignature"):
            raise_to(fresh, last, public(SITE), public(b"\x03" * 32))
        with pytest.raises(LedgerError, match="signature"):
            raise_to(fresh, last, public(b"\x03" * 32), public(WITNESS))
        assert fresh.cohorts() == ()


# --- crashes --------------------------------------------------------------------------------------

SPENDER = """
import json, os, resource, signal, sys
from secagg.privacy import Ledger
from tests.secagg.privacy.test_ledger import BUDGET, COHORT, charge

def spend(path, log, kind, limit):
    ledger = Ledger(path)
    ledger.open_cohort(COHORT, BUDGET)
    steps = 0

    def boundary(*ignored):
        nonlocal steps
        steps += 1
        if kind == "step" and steps == limit:
            os.kill(os.getpid(), signal.SIGKILL)

    if kind == "byte":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    ledger._db.set_trace_callback(boundary)
    ledger._db.set_progress_handler(boundary, 7)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for i in range(3):
        permit = ledger.charge(charge(f"round {i}"))
        boundary()
        os.write(out, f"{permit.charge.release}\\n".encode())
        boundary()

for line in sys.stdin:
    folder, kind, limit = json.loads(line)
    os.mkdir(folder)
    child = os.fork()
    if child == 0:
        try:
            spend(folder + "/ledger", folder + "/released", kind, limit)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    print(json.dumps(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture
def spender():
    """A process that forks: each child spends in a folder of its own until it is killed at a boundary."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", SPENDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    with process:
        yield process
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def killed_at(spender, folder: Path, kind: str, limit: int) -> bool:
    """Let a child spend, kill it at a boundary, and compare what it released with what it charged."""
    spender.stdin.write(json.dumps([str(folder), kind, limit]) + "\n")
    spender.stdin.flush()
    status = os.waitstatus_to_exitcode(json.loads(spender.stdout.readline()))
    assert status in (0, -signal.SIGKILL, -signal.SIGXFSZ)
    log = folder / "released"
    released = log.read_text().split("\n")[:-1] if log.exists() else []
    with Ledger(folder / "ledger") as ledger:
        ledger.verify()
        charged = [row[0] for row in ledger._db.execute("SELECT release FROM charges ORDER BY sequence")]
        assert ledger.spent(COHORT).releases == len(charged)
    assert released == charged[: len(released)], "a release was not charged"
    assert len(charged) <= len(released) + 1
    assert status or len(released) == 3
    shutil.rmtree(folder)
    return status != 0


def test_no_step_at_which_a_release_is_not_charged(spender, tmp_path):
    """SIGKILL at every statement, every seventh instruction of SQLite's machine, before and after every release."""
    limit = 1
    while killed_at(spender, tmp_path / str(limit), "step", limit):
        limit += 1
        assert limit < 5000
    assert limit > 50


@pytest.mark.parametrize("stride", [1030, pytest.param(97, marks=pytest.mark.slow)])
def test_no_byte_at_which_a_release_is_not_charged(spender, tmp_path, stride):
    """The kernel ends the process within the write that passes the limit: torn pages, torn frames of the log."""
    outcomes = [killed_at(spender, tmp_path / str(limit), "byte", limit) for limit in range(24_000, 110_000, stride)]
    assert outcomes[0]
    assert not outcomes[-1]


def test_the_crash_test_can_fail(tmp_path):
    """Releasing before charging is caught at some boundary."""
    early = SPENDER.replace(
        'permit = ledger.charge(charge(f"round {i}"))',
        'os.write(out, f"round {i}\\n".encode()); boundary(); permit = ledger.charge(charge(f"round {i}"))',
    ).replace('os.write(out, f"{permit.charge.release}\\n".encode())', "pass")
    assert early != SPENDER
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", early], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        with pytest.raises(AssertionError, match="not charged"):
            all(killed_at(process, tmp_path / str(limit), "step", limit) for limit in range(1, 400))
        process.stdin.close()
