"""Whole rounds inside the engines of other stacks: our adapters, and what those stacks do themselves.

Each case is a trial of an adapter in a process of its own (``python -m secagg.integrations.flower.trial``), run by the
interpreter that ``SECAGG_FLOWER_PYTHON`` or ``SECAGG_NVFLARE_PYTHON`` names, or by this one. Sites add a made-up update
and do not train, so a round's seconds are those of the engine, its messages and the protocol. What is not installed, or
does not end in time, is said to be missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from secagg.bench.measure import Effort, Row

SECONDS = 290
"""Most time of one case."""


@dataclass(frozen=True)
class Case:
    """One trial: the stack, the module that it needs, and its words."""

    stack: str
    needs: str
    words: str


SIMULATION = "engine=simulation nodes=20 dim=1000000 rounds=5 dropped=2"
SUPERLINK = "engine=superlink nodes=5 dim=100000 rounds=4 dropped=1"
CASES = (
    *(Case("flower", "ray", f"{SIMULATION} system={system}") for system in ("secagg", "peer", "plain")),
    *(Case("flower", "flwr", f"{SUPERLINK} adversary={adversary}") for adversary in ("curious", "active")),
    Case("flower", "flwr", f"{SUPERLINK} system=peer"),
    *(
        Case("nvflare", "nvflare", f"engine=collab nodes=5 dim=1000000 rounds=5 dropped=1 adversary={adversary}")
        for adversary in ("curious", "active")
    ),
    Case("nvflare", "nvflare", "engine=classic nodes=5 dim=1000000 rounds=4 dropped=1"),
    Case("nvflare", "nvflare", "engine=poc nodes=4 dim=100000 rounds=4 dropped=1"),
)
QUICK = (
    Case("flower", "ray", "engine=simulation nodes=3 dim=10000 rounds=3 dropped=0"),
    Case("nvflare", "nvflare", "engine=collab nodes=3 dim=10000 rounds=3 dropped=0"),
)


def bench(effort: Effort) -> list[Row]:
    """Rows with ``engine, versions, system, adversary, nodes, dim, dropped, seconds, exchanges, exact``.

    ``seconds`` is the median of the rounds from the third on: by then keys are agreed a round ahead, and workers run.
    """
    rows = []
    for case in QUICK if effort.quick else CASES:
        effort.tick(f"{case.stack}: {case.words}")
        rows.append(_row(case))
    return rows


def _row(case: Case) -> Row:
    python = os.environ.get(f"SECAGG_{case.stack.upper()}_PYTHON", sys.executable)
    given = dict(word.split("=") for word in case.words.split())
    row: Row = {
        "engine": f"{case.stack} {given['engine']}",
        "versions": None,
        "system": given.get("system", "secagg"),
        "adversary": given.get("adversary", "curious"),
        "nodes": int(given["nodes"]),
        "dim": int(given["dim"]),
        "dropped": int(given["dropped"]),
        "seconds": None,
        "exchanges": None,
        "exact": None,
    }
    if subprocess.run([python, "-c", f"import {case.needs}"], capture_output=True, check=False).returncode:
        return row | {"note": f"{case.needs} is not installed for {python}"}
    program = [python, "-m", f"secagg.integrations.{case.stack}.trial", *case.words.split(), f"seconds={SECONDS - 20}"]
    try:
        told = subprocess.run(program, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return row | {"note": f"no end after {SECONDS} s"}
    reports = [line for line in told.stdout.splitlines() if line.startswith("REPORT ")]
    if not reports:
        return row | {"note": f"no report: {told.stderr[-200:]}"}
    report = json.loads(reports[-1].removeprefix("REPORT "))
    last = report.pop("rounds")[-1:]
    report["exchanges"] = last[0]["exchanges"] if last else None
    return row | {key: report[key] for key in row}
