"""Peers in environments of their own, since their pins clash with ours: the same inputs, the same machine, one run.

``SECAGG_FLOWER_PYTHON``, ``SECAGG_TENSEAL_PYTHON`` and ``SECAGG_FEDBIOMED_PYTHON`` name interpreters of environments
where the peer and this project are installed; a peer for which none is named runs here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from secagg.bench.measure import Effort, Row
from secagg.bench.peers import ckks, flower, lom
from secagg.bench.peers.inputs import Inputs

PEERS = {"FLOWER": flower.round_of, "TENSEAL": ckks.round_of, "FEDBIOMED": lom.round_of}

SECONDS = 1800
"""Most time of one peer: Flower's server takes minutes for a hundred clients."""

PROGRAM = "from secagg.bench.peers import elsewhere; elsewhere.report()"


def round_of(peer: str, inputs: Inputs, effort: Effort) -> list[Row]:
    """Run the round of ``peer``, a key of ``PEERS``, by its own interpreter if one is named."""
    python = os.environ.get(f"SECAGG_{peer}_PYTHON")
    if not python:
        return PEERS[peer](inputs, effort)
    effort.tick(f"{peer}: {inputs.clients} clients, by {python}")
    words = [peer, *map(str, (inputs.clients, inputs.dim, inputs.dropped))]
    try:
        told = subprocess.run(
            [python, "-c", PROGRAM, *words], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [inputs.missing(f"{peer}: not run", str(error))]
    if told.returncode:
        lines = told.stderr.strip().splitlines() or [f"it ended with code {told.returncode}"]
        return [inputs.missing(f"{peer}: not run", f"{python}: {lines[-1]}")]
    rows: list[Row] = json.loads(told.stdout.splitlines()[-1])
    return rows


def report() -> None:
    """Run the round that the words of the command line name, and print its rows: the other end of ``round_of``."""
    peer, *sizes = sys.argv[1:]
    rows = PEERS[peer](Inputs(*map(int, sizes)), Effort())
    sys.stdout.write("\n" + json.dumps(rows) + "\n")
