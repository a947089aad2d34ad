"""Sites that are late, vanish, return, are removed or restored; disks that are full. The clock is simulated."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from secagg.audit.audit import audit_file
from secagg.coordinator import archive
from secagg.coordinator.engine import Engine, LateFrame
from secagg.coordinator.live_round import Contradiction, Delivery
from secagg.coordinator.lock import StateLock
from secagg.coordinator.store import Store
from secagg.errors import UsageError
from secagg.site.link import Unreachable
from secagg.site.participant import Participant
from secagg.study import folder
from secagg.study.durable import StorageError
from secagg.study.receipt import Receipt, SignedReceipt
from secagg.transport.messages import Cursor, Instruction, Over
from tests.consortium.test_study_over_tls import after
from tests.support.consortium import MODEL, DirectLink, Lab, known_update


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Play:
    """An engine and its sites in one thread: every step is the test's."""

    def __init__(self, lab: Lab, stack: contextlib.ExitStack) -> None:
        self.lab, self.stack, self.clock = lab, stack, Clock()
        self.events: dict[int, list[str]] = {}
        self.engine: Engine = lab.engine(clock=self.clock)
        self.sites: dict[int, Participant] = {}

    def join(self, *sites: int, **options: Any) -> None:
        for site in sites:
            told = self.events.setdefault(site, [])
            self.sites[site] = self.stack.enter_context(
                self.lab.participant(
                    site,
                    link_to=self.engine,
                    observe=lambda event, facts, told=told: told.append(event),
                    **options,
                )
            )
            self.sites[site].greet("test")

    def link(self, site: int) -> DirectLink:
        found = self.sites[site]._link
        assert isinstance(found, DirectLink)
        return found

    def restart(self) -> None:
        """Kill the coordinator and start it again."""
        self.engine.store.close()
        self.engine = self.lab.engine(clock=self.clock)
        for site in self.sites:
            self.link(site).engine = self.engine
            self.sites[site].greet("test")

    def steps(self, count: int = 1, *sites: int) -> None:
        for _ in range(count):
            for site in sites or tuple(self.sites):
                self.sites[site].step()
            self.engine.tick()

    def until(self, outcome: int, *sites: int, most: int = 40) -> None:
        """Go on until so many attempts have ended."""
        for _ in range(most):
            if len(self.receipts) >= outcome:
                return
            self.steps(1, *sites)
        raise AssertionError(f"only {len(self.receipts)} attempts ended; {self.events}")

    @property
    def receipts(self) -> list[Receipt]:
        return [msgspec.json.decode(data, type=SignedReceipt).receipt for data in self.engine.store.receipts()]

    def check_sums(self) -> None:
        model = {name: array.copy() for name, array in sorted(MODEL.items())}
        for said in self.receipts:
            if said.outcome == "opened":
                model = after(self.lab, model, said)
        from secagg.study import weights

        assert weights.digest(weights.encode(model)) == self.engine.progress.model


@pytest.fixture
def play(make_lab) -> Iterator[Play]:
    with contextlib.ExitStack() as stack:
        made = Play(make_lab(sites=5, changes={"rounds = 10": "rounds = 6"}), stack)
        yield made
        made.engine.store.close()


def test_a_site_thirty_minutes_late(play: Play) -> None:
    """The round goes on without it after the join deadline; it is invited to the next one."""
    play.join(1, 2, 3, 4)
    play.steps(2)
    assert play.engine.live is None, "the coordinator waits for the fifth"
    play.clock.now += play.lab.study.deadlines.join + 1
    play.until(1)
    play.clock.now += 1800
    play.join(5)
    play.steps(1)
    play.until(2)
    assert [said.included for said in play.receipts] == [(1, 2, 3, 4), (1, 2, 3, 4, 5)]
    play.check_sums()


def test_a_site_drops_for_two_rounds_and_returns(play: Play) -> None:
    play.join(1, 2, 3, 4, 5)
    play.until(1)
    for ended in (2, 3):
        for _ in range(20):
            if len(play.receipts) == ended:
                break
            play.steps(1, 1, 2, 3, 4)
            play.clock.now += 15
    play.steps(1)
    play.until(4)
    assert [5 in said.included for said in play.receipts] == [True, False, False, True]
    play.check_sums()


def test_a_site_that_vanishes_after_sharing_keys(play: Play) -> None:
    """Its masks are taken off; when it comes back it is told that the round went on, and joins the next."""
    play.join(1, 2, 3, 4, 5)
    while play.engine.live is None or play.engine.live.status.phase.value != "masked-input":
        play.steps(1)
    play.steps(1, 1, 2, 3, 4)
    play.clock.now += play.lab.study.deadlines.phase + 1
    play.until(1, 1, 2, 3, 4)
    play.steps(2)
    play.until(2)
    assert [said.included for said in play.receipts] == [(1, 2, 3, 4), (1, 2, 3, 4, 5)]
    play.check_sums()


def test_too_few_end_in_an_abort_and_the_next_round_succeeds(play: Play) -> None:
    play.join(1, 2, 3, 4, 5)
    while play.engine.live is None or play.engine.live.status.phase.value != "masked-input":
        play.steps(1)
    play.steps(1, 1, 2)
    play.clock.now += play.lab.study.deadlines.phase + 1
    play.engine.tick()
    assert [(said.outcome, said.round) for said in play.receipts] == [("aborted", 0)]
    assert "are needed" in play.receipts[0].reason
    play.steps(2)
    play.until(2)
    assert [(said.outcome, said.round) for said in play.receipts] == [("aborted", 0), ("opened", 1)]
    play.check_sums()


def test_a_removed_site(play: Play) -> None:
    """The study goes on from the round where it is, without the site, once the others have signed again."""
    play.join(1, 2, 3, 4, 5)
    play.until(2)
    play.engine.store.close()
    folder.remove_site(play.lab.home / "lead" / "study.toml", 5)
    play.lab.distribute()
    play.stack.close()
    play.engine = play.lab.engine(clock=play.clock)
    play.sites.clear()
    play.join(1, 2, 3, 4)
    play.until(4)
    assert "signed again" in play.receipts[2].reason, "the round that was on was bound to the old roster"
    assert (play.receipts[3].round, play.receipts[3].included) == (3, (1, 2, 3, 4))
    for name, sites in (("transcript", 5), ("transcript-2", 4)):
        report, found = audit_file(play.lab.state / f"{name}.jsonl", running=True)
        assert not report.broken, (name, report.broken)
        assert found.study is not None
        assert len(found.study.roster) == sites
    with pytest.raises(UsageError, match="not in the roster"):
        play.lab.participant(5, link_to=play.engine).__enter__()


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 6])
def test_the_coordinator_restarts_at_every_step(play: Play, steps: int) -> None:
    play.join(1, 2, 3, 4, 5)
    play.steps(steps)
    play.restart()
    play.until(2)
    assert [said.outcome for said in play.receipts] == ["opened", "opened"]
    assert all(len(said.included) == 5 for said in play.receipts)
    play.check_sums()


def test_a_site_restored_from_an_old_backup(play: Play, tmp_path) -> None:
    """Its stale journal makes it send another masked input: the coordinator refuses, and the sum is not wrong."""
    play.join(1, 2, 3, 4, 5)
    while play.engine.live is None or play.engine.live.status.phase.value != "masked-input":
        play.steps(1)
    state = play.lab.site_state(5)
    backup = tmp_path / "backup"
    backup.mkdir()
    with sqlite3.connect(state / "site.db") as source, sqlite3.connect(backup / "site.db") as copy:
        source.backup(copy)
    shutil.copytree(state / "models", backup / "models")
    play.steps(1, 5)
    first = [letter for *_, letter in play.link(5).sent]
    del play.sites[5]
    shutil.rmtree(state)
    shutil.copytree(backup, state)
    play.join(5, train=lambda model, context: known_update(context.site + 1, context.round))
    play.steps(1, 5)
    assert "left" in play.events[5]
    play.steps(3)
    play.clock.now += play.lab.study.deadlines.phase + 1
    play.until(1)
    play.check_sums()
    assert 5 in play.receipts[0].included
    assert len(first) > 2


def test_a_site_told_that_it_was_restored_skips_the_round(play: Play) -> None:
    play.join(1, 2, 3, 4, 5)
    play.steps(3)
    del play.sites[5]
    play.join(5, restored=True)
    while not play.receipts:
        play.steps(1)
        play.clock.now += 10
    play.until(2)
    assert [(said.round, 5 in said.included) for said in play.receipts[:2]] == [(0, False), (1, True)], play.receipts
    play.check_sums()


def test_nothing_else_is_taken_under_a_number(play: Play) -> None:
    play.join(1, 2, 3, 4, 5)
    play.steps(1)
    play.steps(1, 1)
    assert play.engine.live is not None
    round_index, attempt, number, body = play.link(1).sent[0]
    cursor = Cursor(round_index, attempt)
    letter = Delivery(1, number, 10**9, body, hashlib.sha256(body).digest())
    assert play.engine.accept(cursor, [letter]) == [False]
    (told,) = play.engine.accept(cursor, [replace(letter, body=body + b"x", digest=bytes(32))])
    assert isinstance(told, Contradiction)
    assert "never say it twice" in str(told)
    (told,) = play.engine.accept(Cursor(round_index + 1), [letter])
    assert isinstance(told, LateFrame)


def test_an_answer_that_is_lost_while_the_round_closes(play: Play) -> None:
    """The last letter is taken, its answer is not heard: the site asks again, and has its receipt all the same."""
    play.join(1, 2, 3, 4, 5)
    link, lost = play.link(5), []
    heard = link.send

    def send(cursor: Cursor, number: int, letter: bytes, *, then: bool) -> Instruction | None:
        heard(cursor, number, letter, then=then)
        told = link.next(cursor) if then else None
        if isinstance(told, Over) and not lost:
            lost.append(told)
            raise Unreachable("the answer is lost")
        return told

    link.send = send  # type: ignore[method-assign]
    play.until(1)
    play.steps(2)
    assert lost
    assert "left" not in play.events[5]
    assert play.events[5].count("receipt") == 1
    assert play.receipts[0].included == (1, 2, 3, 4, 5)
    play.check_sums()


def fill(store: Store) -> None:
    """Let no page be added to the database any more, and use up what is free in it."""
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(1000):
        with store.transaction():
            store.set_fact(f"filler {number}", bytes(4000))


def failure(play: Play, site: int) -> UsageError | None:
    try:
        play.sites[site].step()
    except UsageError as error:
        return error
    return None


def test_a_full_disk_at_the_coordinator(play: Play) -> None:
    """Nothing is acknowledged that is not on disk; with room again, the round goes on."""
    play.join(1, 2, 3, 4, 5, give_up_after=0.0)
    play.steps(1)
    with pytest.raises(StorageError, match="full"):
        fill(play.engine.store)
    assert play.engine.live is not None
    refusals = [str(error) for _ in range(3) for site in play.sites if (error := failure(play, site)) is not None]
    assert refusals
    assert all("disk" in text or "full" in text for text in refusals)
    play.restart()
    play.until(1)
    assert play.receipts[0].included == (1, 2, 3, 4, 5)
    play.check_sums()


def refuse_once(error: Exception, then: Any) -> Any:
    """Return a function that fails once, and is ``then`` afterwards."""
    errors = [error]

    def act(*given: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return then(*given, **options)

    return act


def test_no_room_for_the_weights(play: Play, monkeypatch) -> None:
    """The sum is opened again from what is there, as soon as there is room; nobody is told of a mistake."""
    play.join(1, 2, 3, 4, 5)
    monkeypatch.setattr(play.engine.models, "keep", refuse_once(OSError(28, "no space"), play.engine.models.keep))
    with contextlib.suppress(StorageError):
        play.until(1)
    play.until(1)
    assert [said.outcome for said in play.receipts] == ["opened"]
    play.check_sums()


def test_a_transcript_that_could_not_be_written_is_brought_up(play: Play, monkeypatch) -> None:
    play.join(1, 2, 3, 4, 5)
    monkeypatch.setattr(archive.chain, "append", refuse_once(StorageError("no space"), archive.chain.append))
    with contextlib.suppress(StorageError):
        play.until(1)
    play.until(2)
    for name, lines in (("receipts", play.engine.store.lines()), ("transcript", play.engine.store.transcript())):
        assert (play.lab.state / f"{name}.jsonl").read_text().splitlines() == lines


def test_the_last_weights_are_named_after_a_crash(play: Play, monkeypatch) -> None:
    play.join(1, 2, 3, 4, 5)
    play.until(1)
    monkeypatch.setattr(play.engine._archive, "add", refuse_once(KeyboardInterrupt(), None))
    with pytest.raises(KeyboardInterrupt):
        play.until(2)
    play.restart()
    last = (play.lab.state / "models" / "last.safetensors").read_bytes()
    assert hashlib.sha256(last).digest() == play.engine.progress.model


def test_two_letters_under_one_number_at_the_same_time(play: Play) -> None:
    """What is not taken is not acknowledged: neither another text, nor a copy of what was refused."""
    play.join(1, 2, 3, 4, 5)
    play.steps(1)
    live = play.engine.live
    assert live is not None
    cursor = Cursor(live.opening.round, live.opening.attempt)
    bad = Delivery(1, 7, 10**9, b"no letter", hashlib.sha256(b"no letter").digest())
    other = replace(bad, body=b"another", digest=hashlib.sha256(b"another").digest())
    told = play.engine.accept(cursor, [bad, bad, other])
    assert [type(one) for one in told] == [UsageError, UsageError, Contradiction]


def test_a_torn_transcript_is_mended(play: Play) -> None:
    play.join(1, 2, 3, 4, 5)
    play.until(2)
    for name in ("transcript.jsonl", "receipts.jsonl"):
        path = play.lab.state / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-40])
        play.restart()
        assert path.read_bytes() == whole


def test_a_damaged_journal_is_refused(play: Play) -> None:
    play.join(1, 2, 3, 4, 5)
    play.steps(3)
    assert play.engine.live is not None
    play.engine.store._db.execute("UPDATE journal SET data = x'00' WHERE kind = 'letter' AND site = 2")
    with pytest.raises(UsageError, match="letter 0 of site 2 is damaged"):
        play.restart()


def test_one_coordinator_per_folder(tmp_path) -> None:
    with StateLock(tmp_path), pytest.raises(UsageError, match="another process works on"):
        StateLock(tmp_path)
    StateLock(tmp_path).release()


def test_a_state_of_another_version(tmp_path) -> None:
    Store(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "coordinator.db")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="another version"):
        Store(tmp_path)


def test_masked_inputs_are_erased_when_the_round_closes(play: Play) -> None:
    play.join(1, 2, 3, 4, 5)
    play.until(1)
    masked = [letter for *_, letter in play.link(1).sent]
    held = b"".join(path.read_bytes() for path in play.lab.state.rglob("*") if path.is_file())
    assert not any(letter[-64:] in held for letter in masked)
    assert [entry.kind for entry in play.engine.store.journal()] in ([], ["begin"])
