"""Secure rounds as PySyft jobs: every exchange is one job for each data owner, who approves it; its result goes back.

A job is one line: it hands the letters of the round to a program of the data owner's own, which masks. So the data
scientist brings no code, and a result holds parcels only. Owners and scientist meet on PySyft's mocked drive, one for
each pair, so that no account is needed; all else is PySyft's own. Prints one JSON object.

python -m tests.integrations.pysyft.jobs_round [DIM] [ROUNDS]
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from protocols.pairwise import LocalPolicy
from secagg.errors import RoundRefused
from secagg.integrations.letters import read_letters, write_letters
from secagg.integrations.member import MemberRounds
from secagg.integrations.parcel import Mail, merge
from secagg.integrations.training import Model, ModelRounds, Terms, Trained, contribute

OWNERS = 4
CLOSED = 2
"""The data owner who approves nothing from the second round on."""

HOME = "HOSPITAL_HOME"
"""Where a data owner's program keeps the secrets of open rounds: not in a folder that PySyft shares."""


def owner_program() -> None:
    """The data owner's own program: letters and a model in, letters out."""
    letters, w = msgspec.msgpack.decode(base64.b64decode(sys.stdin.read()))
    home = Path(os.environ[HOME])
    memory, place = home / "rounds", int(home.name)
    store = msgspec.msgpack.decode(memory.read_bytes(), type=dict[str, bytes]) if memory.exists() else {}
    rounds = MemberRounds(store, LocalPolicy())
    parcels = read_letters(letters)
    answers = rounds.answer_all(parcels)
    for number, parcel in enumerate(parcels):
        if rounds.waiting(parcel.round):
            model = {"w": np.frombuffer(w, np.float32)}
            answers[number], _ = contribute(
                rounds, parcel.round, model, lambda model: Trained({"w": model["w"] + np.float32(place / 256)}, 1)
            )
    rounds.save()
    memory.write_bytes(msgspec.msgpack.encode(store))
    sys.stdout.write(base64.b64encode(msgspec.msgpack.encode(write_letters(answers))).decode())


def pairs() -> dict[int, tuple[Any, Any]]:
    """Return (scientist's client, owner's client) of every data owner."""
    from syft_rds.client import SyftRDSClient

    return {
        owner: SyftRDSClient.pair_with_mock_drive_service_connection(
            email1=f"hospital{owner}@example.org", email2="lead@example.org", use_in_memory_cache=False
        )
        for owner in range(1, OWNERS + 1)
    }


def ask(scientist: Any, owner: Any, name: str, home: Path, question: list[Any]) -> list[Any]:
    """Submit one job, let the owner approve and run it, and return its result."""
    sealed = base64.b64encode(msgspec.msgpack.encode(question)).decode()
    program = f"{sys.executable} -m tests.integrations.pysyft.jobs_round owner"
    script = f"{program} > code/outputs/letters.txt <<'LETTERS'\n{sealed}\nLETTERS\n"
    with contextlib.redirect_stdout(sys.stderr):  # PySyft tells people what it does
        scientist.submit_bash_job(owner.email, script, job_name=name)
        next(job for job in owner.jobs if job.name == name).approve()
        os.environ[HOME] = str(home)
        owner.process_approved_jobs(share_outputs_with_submitter=True)
        result = next(job for job in scientist.jobs if job.name == name).output_paths
    answer: list[Any] = msgspec.msgpack.decode(base64.b64decode(Path(result[0]).read_text()))
    return answer


def run(dim: int, rounds: int, folder: Path) -> list[dict[str, object]]:
    """Run all rounds and say what each gave."""
    made, told, jobs = pairs(), [], 0
    model: Model = {"w": np.zeros(dim, np.float32)}
    for owner in made:
        (folder / str(owner)).mkdir()

    def carry(mail: Mail, w: bytes = b"") -> Mail:
        nonlocal jobs
        jobs += 1
        open_ones = {owner: parcels for owner, parcels in mail.items() if not (owner == CLOSED and told)}
        return {
            owner: read_letters(ask(*made[owner], f"step-{jobs}", folder / str(owner), [write_letters(parcels), w]))
            for owner, parcels in open_ones.items()
        }

    names = {owner: made[owner][1].email for owner in made}
    running = ModelRounds(Terms(None, {"bits": 16, "range": 1.0}, threshold=3, study="pysyft"), model, carry)
    for index in range(rounds):
        began, before = time.perf_counter(), jobs
        requests = running.series.begin(index, names, running.model_hash())
        if index + 1 < rounds:
            requests = merge(requests, running.series.prepare(index + 1, names))
        try:
            running.series.take(carry(requests, running.model["w"].tobytes()))
            running.finish()
        except RoundRefused as error:
            told.append({"round": index, "refused": str(error)})
            continue
        w = running.model["w"]
        row = {"round": index, "included": list(running.included), "w": [float(w.min()), float(w.max())]}
        told.append({**row, "jobs": jobs - before, "seconds": time.perf_counter() - began})
    return told


if __name__ == "__main__":
    if sys.argv[1:] == ["owner"]:
        owner_program()
        sys.exit()
    dim, rounds = (int(word) for word in (sys.argv[1:] or ["1000", "3"]))
    with tempfile.TemporaryDirectory() as folder:
        report = run(dim, rounds, Path(folder))
    sys.stdout.write("\nREPORT " + json.dumps(report) + "\n")
