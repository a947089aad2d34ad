"""``kill -9`` of the coordinator and of sites at random instants: nothing acknowledged is lost, nothing said twice."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from secagg.audit.audit import audit_file
from secagg.site.store import SiteStore
from tests.consortium.test_study_over_tls import check_study
from tests.support.consortium import Lab

SITES = 4
LONGEST_LIFE = 3.0


def kill_at_random(lab: Lab, rng: np.random.Generator, kills: int, seconds: float) -> None:
    """Run coordinator and sites as processes, kill one of them again and again, and start it again each time."""
    spawn = {0: lab.spawn_coordinator, **{site: (lambda s=site: lab.spawn_site(s)) for site in lab.sites}}
    running = {who: start() for who, start in spawn.items()}
    until, left = time.monotonic() + seconds, kills
    while time.monotonic() < until:
        over = all(process.poll() == 0 for process in running.values())
        if left:
            assert not over, f"the study was over after {kills - left} kills: give it more rounds"
            time.sleep(rng.uniform(0.3, LONGEST_LIFE))
            victim = int(rng.integers(0, SITES + 1))
            if running[victim].poll() is None:
                os.killpg(running[victim].pid, signal.SIGKILL)
                running[victim].wait(10)
                running[victim] = spawn[victim]()
                left -= 1
            continue
        if over:
            return
        time.sleep(0.2)
    raise AssertionError(f"not finished in {seconds} s:\n" + "\n".join(lab.log(w)[-2000:] for w in ("lead", "site1")))


def check_nothing_said_twice(lab: Lab) -> None:
    """Every site put at most one input into a round and gave at most one answer in a session."""
    for site in lab.sites:
        store = SiteStore(lab.site_state(site))
        entries = store.entries()
        store.close()
        inputs = [(entry.study, entry.round_index, entry.model_hash) for entry in entries if entry.said == "input"]
        answers = [entry.session for entry in entries if entry.said == "answer"]
        assert len(set(inputs)) == len(inputs)
        assert len(set(answers)) == len(answers)
    assert "said something else" not in lab.log("lead")
    assert "Traceback" not in "".join(lab.log(where) for where in ("lead", *(f"site{s}" for s in lab.sites)))


@pytest.mark.parametrize(
    ("kills", "rounds", "seconds"),
    [pytest.param(5, 30, 240), pytest.param(50, 300, 900, marks=pytest.mark.slow)],
)
def test_kill_and_restart(make_lab, rng: np.random.Generator, kills: int, rounds: int, seconds: float) -> None:
    changes = {
        "rounds = 10": f"rounds = {rounds}", "join = 60": "join = 2", "phase = 60": "phase = 4",
        "train = 3600": "train = 8", "[task]": "seconds = 0.2\n",
    }  # fmt: skip
    lab = make_lab(sites=SITES, changes=changes)
    kill_at_random(lab, rng, kills, seconds)
    told = check_study(lab, 1)
    assert sum(said.outcome == "opened" for said in told) == rounds
    check_nothing_said_twice(lab)
    for site in lab.sites:
        own, roster = lab.site_state(site) / "own-receipts.jsonl", lab.home / "lead" / "study.toml"
        report, _ = audit_file(lab.state / "transcript.jsonl", roster=roster, own=own, running=False)
        assert not report.broken, report.broken
