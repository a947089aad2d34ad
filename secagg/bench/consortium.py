"""What a round of a real study costs apart from training: processes, TLS, signatures, journals, on this machine.

The overhead is the time from one round's end to the next one's with a task that trains nothing. The floor is the work
that no consortium can leave out, done by this process alone and divided among the cores: the very machines of the round
in memory (quantize, mask, add up, unmask, decode), without network, journal or disk.

Processor seconds stand beside the clock's: divided by the cores, they are the least that a round takes where nothing
else runs, and they hardly change when something does.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import quant
from secagg.bench import idle_task
from secagg.bench.measure import Effort, Row, median_seconds
from secagg.inprocess import InProcessRound
from secagg.study import identity, rounds
from secagg.study.loopback import Loopback

WARM_UP = 2
"""Rounds that are not counted: processes load libraries in the first."""

MODEL = hashlib.sha256(b"secagg bench consortium").digest()


def bench(effort: Effort) -> list[Row]:
    """Rows with ``case, seconds, floor_seconds, cpu_seconds, load`` and the seconds of every phase; medians."""
    sites, dim, count = (3, 1000, 4) if effort.quick else (10, 1_000_000, 12)
    effort.tick(f"{sites} sites and a coordinator, dim {dim:,}")
    with tempfile.TemporaryDirectory(prefix="secagg-bench-") as made:
        study = Loopback.create(
            Path(made),
            "bench",
            sites=sites,
            task="secagg.bench.idle_task:train",
            initial=idle_task.initial,
            options=f"dim = {dim}\n",
            settings={"rounds": count, "max_examples": None},
        )
        used: list[float] = []

        def ended(done: int) -> None:
            effort.tick(f"round {done} of {count}")
            used.append(study.cpu_seconds())

        study.run(ended)
        log = study.log("coordinator").read_text(encoding="utf-8")
        effort.tick("the same in memory")
        began = time.process_time()
        floor = median_seconds(lambda: _in_memory(study), effort.repeats(3)) / (os.cpu_count() or 1)
        floor_cpu = (time.process_time() - began) / effort.repeats(3)
    whole, phases = _durations([json.loads(line) for line in log.splitlines() if line.startswith("{")])
    figures = {
        "seconds": whole,
        "floor_seconds": floor,
        # The last round is left out: its processes end while it is looked at.
        "cpu_seconds": (used[-2] - used[WARM_UP - 1]) / (count - 1 - WARM_UP),
        "floor_cpu_seconds": floor_cpu,
        "load": os.getloadavg()[0],
    }
    return [{"case": f"{sites} sites, dim {dim:,}, {os.cpu_count()} cores", "rounds": count, **figures, **phases}]


def _durations(events: list[Mapping[str, Any]]) -> tuple[float, Row]:
    """Return the median seconds of a round and of its parts, from the coordinator's log."""
    parts: dict[str, list[float]] = {}
    wholes: list[float] = []
    last = ended = 0.0
    finished = 0
    for event in events:
        if event["event"] not in ("round begins", "phase ends", "round ends"):
            continue
        now = datetime.fromisoformat(event["time"]).timestamp()
        part = {"round begins": "begin", "round ends": "open"}.get(event["event"], event.get("phase", ""))
        if finished >= WARM_UP:
            parts.setdefault(part, []).append(now - last)
        last = now
        if event["event"] == "round ends":
            finished += 1
            if finished > WARM_UP:
                wholes.append(now - ended)
            ended = now
    return statistics.median(wholes), {part: statistics.median(found) for part, found in parts.items()}


def _in_memory(loopback: Loopback) -> None:
    """Run one round of the study in this process: its machines, and nothing around them."""
    study = loopback.study
    initial = idle_task.initial(study.task)
    config = rounds.round_config(study, quant.Layout.of(initial), study.ids, 0, 0)
    keys = {site: identity.load(loopback.home / f"site{site}.key").secret for site in study.ids}
    update = idle_task.update(study.task)
    counters = dict.fromkeys(config.counters, 0)
    in_memory = InProcessRound(config, MODEL, identities=keys, roster=study.roster)
    in_memory.run(lambda _, session: session.prepare(update, None, counters))
