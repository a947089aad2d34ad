"""Two machines with one site's key: at most one is heard in a round, and the one that must act is told so."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np

from secagg.coordinator.web import Web
from secagg.errors import UsageError
from secagg.study.task import Context
from secagg.study.weights import Weights
from tests.consortium.test_study_over_tls import check_study
from tests.support.consortium import Lab, known_update

TWICE = 2
"""The site whose key is on two machines."""


class Second(threading.Thread):
    """The second machine, with a state folder of its own."""

    def __init__(self, lab: Lab, home: Path) -> None:
        super().__init__()
        self._lab, self._home = lab, home
        self.events: list[str] = []
        self.heard = threading.Event()
        self.ended: BaseException | None = None

    def run(self) -> None:
        """Take part until it is told to stop."""

        def observe(event: str, facts: object) -> None:
            self.events.append(event)
            if event == "welcome":
                self.heard.set()

        machine = self._lab.participant(TWICE, state=self._home, observe=observe, give_up_after=120.0)
        try:
            with machine as participant:
                participant.run("second")
        except BaseException as error:  # noqa: BLE001  # the test looks at it, in its own thread
            self.ended = error


def until_round(web: Web, number: int) -> None:
    until = time.monotonic() + 120
    while web.engine.progress.round < number:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_second_machine_takes_over_and_the_first_is_told(make_lab, tmp_path: Path) -> None:
    """The one that was started last takes over; in no round are both summed."""
    lab = make_lab(sites=4, changes={"rounds = 10": "rounds = 12", "train = 3600": "train = 200"})
    ended: dict[int, BaseException] = {}
    second = Second(lab, tmp_path / "second")

    def train(model: Weights, context: Context) -> dict[str, np.ndarray]:
        if context.round > 2:
            assert second.heard.wait(60)  # the study does not end before the second machine is there
        return known_update(context.site, context.round)

    def take_part(site: int) -> None:
        try:
            with lab.participant(site, train=train, give_up_after=120.0) as participant:
                participant.run("first")
        except UsageError as error:
            ended[site] = error

    with lab.coordinator(poll_seconds=0.5) as web:
        firsts = [threading.Thread(target=take_part, args=(site,)) for site in lab.sites]
        for first in firsts:
            first.start()
        until_round(web, 2)
        second.start()
        for thread in (*firsts, second):
            thread.join(200)
    assert list(ended) == [TWICE]
    assert "uses its key" in str(ended[TWICE])
    assert second.ended is None
    told = check_study(lab, 1)
    assert sum(said.outcome == "opened" for said in told) == 12
    assert TWICE in told[0].included
    assert TWICE in told[-1].included


def test_a_new_state_folder_is_heard(make_lab) -> None:
    """Its numbers of requests go on above what the lost one used, however often that one was started."""
    lab = make_lab(sites=3)
    with lab.coordinator(poll_seconds=0.5) as web:
        for state in (None, None, lab.home / "fresh", lab.home / "fresh"):
            with lab.participant(1, state=state, give_up_after=30.0) as site:
                site.greet("again")
        assert set(web.engine.approvals) == {1}
