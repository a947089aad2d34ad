"""A coordinator that deviates from the signed study: its sites refuse in one line, and say nothing twice."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator

import msgspec
import pytest

from protocols.pairwise.ledger import Participation
from secagg.coordinator.live_round import LiveRound, Opening
from secagg.errors import UsageError
from secagg.site.link import HttpLink
from secagg.site.store import SiteStore
from secagg.study import weights
from secagg.study.policy import SitePolicy
from secagg.transport.messages import Finished
from tests.consortium.test_coming_and_going import Play
from tests.consortium.test_study_over_tls import join_all
from tests.support.consortium import MODEL, Lab

OTHER = weights.encode({name: array + 1 for name, array in MODEL.items()})


@pytest.fixture
def play(make_lab) -> Iterator[Play]:
    with contextlib.ExitStack() as stack:
        made = Play(make_lab(sites=5, changes={"min_sites = 3": "min_sites = 4", "rounds = 10": "rounds = 2"}), stack)
        yield made
        made.engine.store.close()


def begin(play: Play, *clients: int) -> None:
    """Begin a round with these sites, whatever the study says."""
    engine, progress = play.engine, play.engine.progress
    opening = Opening(progress.round, progress.attempt, clients, progress.model, engine.study.hash)
    engine.live = LiveRound.begin(opening, engine._config(opening), engine.study.roster, engine.store)


def claim(play: Play, **progress: object) -> None:
    """Let the coordinator say that the study is where it is not."""
    play.engine.progress = msgspec.structs.replace(play.engine.progress, **progress)


def inputs(play: Play, site: int) -> list[tuple[int, int]]:
    """Return (round, attempt) of every masked input that the site's ledger holds."""
    return [(said.round_index, said.attempt) for said in play.sites[site]._store.entries() if said.said == "input"]


def test_fewer_sites_than_were_signed(play: Play) -> None:
    """Three of five are invited to a study of at least four: the sum would be over fewer than everybody signed."""
    play.join(1, 2, 3)
    begin(play, 1, 2, 3)
    for site in (1, 2, 3):
        play.sites[site].step()
    assert [play.events[site][-1] for site in (1, 2, 3)] == ["declined"] * 3
    assert play.engine.live is not None
    assert play.engine.live.status.have == ()


def test_a_policy_stricter_than_the_study_decides(play: Play) -> None:
    assert SitePolicy(min_sites=5).for_rounds(play.lab.study).min_clients == 5
    assert SitePolicy(min_sites=1, min_threshold=1).for_rounds(play.lab.study).min_clients == 4


@pytest.mark.parametrize(("round_index", "attempt"), [(0, 1), (0, 0)])
def test_a_second_input_in_one_round(play: Play, round_index: int, attempt: int) -> None:
    """The next attempt at a round that was summed, for other weights: one round must not cost a site two inputs."""
    play.join(1, 2, 3, 4, 5)
    play.until(1)
    assert inputs(play, 1) == [(0, 0)]
    play.steps(1)
    assert play.engine.live is None or play.engine.live.opening.round == 1
    play.engine.live = None
    play.engine.store.clear_journal()
    claim(play, round=round_index, attempt=attempt, model=play.engine.models.keep(OTHER))
    begin(play, 1, 2, 3, 4, 5)
    del play.sites[1]
    play.join(1)
    with pytest.raises(UsageError, match="has sent an input in it or in a later one already"):
        play.sites[1].step()
    assert inputs(play, 1) == [(0, 0)]


def test_more_rounds_than_were_signed(play: Play) -> None:
    play.join(1, 2, 3, 4, 5)
    play.until(2)
    play.steps(1, 2)
    assert "finished" in play.engine.progress.finished
    claim(play, finished="")
    begin(play, 1, 2, 3, 4, 5)
    play.sites[1].step()
    with pytest.raises(UsageError, match="the study has 2 rounds, and the coordinator asks for one more"):
        play.sites[1].step()
    assert inputs(play, 1) == [(0, 0), (1, 0)]


def test_other_weights_to_begin_with(play: Play) -> None:
    play.join(1, 2, 3, 4, 5)
    claim(play, model=play.engine.models.keep(OTHER))
    begin(play, 1, 2, 3, 4, 5)
    with pytest.raises(UsageError, match="other weights than those that were signed"):
        play.sites[1].step()


def test_initial_weights_that_were_signed_again(play: Play) -> None:
    """Weights that were changed and signed before the first sum are those that the study begins with."""
    stale = play.engine.models.keep(OTHER)
    with play.engine.store.transaction():
        changed = msgspec.structs.replace(play.engine.progress, model=stale, best=stale)
        play.engine.store.set_fact("progress", msgspec.msgpack.encode(changed))
    play.restart()
    assert play.engine.progress.model.hex() == play.lab.study.model.sha256


def test_the_end_in_the_middle_of_a_round(play: Play) -> None:
    """No secret of the round is left on the site's disk."""
    play.join(1, 2, 3, 4, 5)
    play.steps(2)
    site = play.sites[1]
    assert site._store.fact("snapshot") is not None
    model = play.engine.progress.model
    play.link(1).next = lambda cursor: Finished("over", model, model)  # type: ignore[method-assign]
    assert site.step() is not None
    assert site._store.fact("snapshot") is None
    assert list(site._store.outbox()) == []


def test_weights_that_are_gone_meanwhile(make_lab) -> None:
    """A site that fetches a round's weights after the round waits for what comes next, and does not stop."""
    changes = {"rounds = 10": "rounds = 3", "join = 60": "join = 0.1", "train = 3600": "train = 1"}
    lab: Lab = make_lab(sites=4, changes=changes)
    others = threading.Thread(target=join_all, args=(lab, (1, 2, 3)))

    class Slow(HttpLink):
        """Fetches its first weights when the others are through."""

        def model(self, model: bytes) -> bytes:
            others.join(60)
            return super().model(model)

    told: list[str] = []
    with (
        lab.coordinator(until_finished=True),
        lab.participant(4, carrier=Slow, give_up_after=5.0, observe=lambda event, _: told.append(event)) as late,
    ):
        others.start()
        assert late.run("test").reason == "finished: 3 rounds"
    assert "late" in told


def test_a_state_that_was_lost(make_lab) -> None:
    """A site whose state is gone, as its backup leaves it out, is let in at once: its requests are not old."""
    lab: Lab = make_lab(sites=3)
    with lab.coordinator():
        with lab.participant(1, give_up_after=0.0) as first:
            for _ in range(3):
                first.greet("test")
        shutil.rmtree(lab.site_state(1))
        with lab.participant(1, give_up_after=0.0) as again:
            again.greet("test")


def test_what_was_rolled_back_was_not_said(tmp_path) -> None:
    """The ledger that is kept in memory is the one on disk, whatever became of the transaction."""
    store = SiteStore(tmp_path)
    said = Participation("keys", "trial", 0, 0, bytes(32), bytes(32), "", bytes(32), (1, 2, 3))
    assert store.entries() == ()
    with store.transaction():
        store.append(said)
    with contextlib.suppress(KeyboardInterrupt), store.transaction():
        store.append(msgspec.structs.replace(said, round_index=1))
        raise KeyboardInterrupt
    assert store.entries() == (said,)
    with store.transaction():
        store.append(msgspec.structs.replace(said, round_index=2))
    kept = store.entries()
    store.close()
    again = SiteStore(tmp_path)
    assert again.entries() == kept
    assert [entry.round_index for entry in kept] == [0, 2]
    again.close()


def test_sequence_numbers_grow_though_the_clock_goes_back(tmp_path, monkeypatch) -> None:
    store = SiteStore(tmp_path)
    last = store.next_sequence()
    store.close()
    monkeypatch.setattr("secagg.site.store.time.time_ns", lambda: 0)
    store = SiteStore(tmp_path)
    assert store.next_sequence() > last
    store.close()
