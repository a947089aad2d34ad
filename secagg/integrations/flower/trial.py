"""Tries the adapter in an engine of Flower: the simulation, or a SuperLink with SuperNodes on this machine.

    python -m secagg.integrations.flower.trial engine=superlink nodes=5 dim=100000 rounds=4 adversary=active

``engine=launcher`` is a SuperLink whose sites run apps by their own launcher; ``system=hostile`` an app without the
mod, which sends what it finds; ``system=peer`` Flower's own SecAgg+, which lives in its legacy API; ``system=plain`` no
protection. Sites that drop out do so from the second round on. The last line of the output is a report in JSON.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import flwr

from secagg.errors import UsageError
from secagg.integrations.flower.superlink import SuperLink
from secagg.integrations.trial import SETTINGS, Trial, arguments, inherited, summary, write

APP = "secagg.integrations.flower.trial_app"
MODULE = f"import {APP} as made\n\napp = made.app\nserver = made.server\n"


def run(trial: Trial, engine: str, end: float) -> None:
    """Run a trial, until ``end`` of the monotonic clock at the latest; its report lies in its folder afterwards.

    Raises:
        UsageError: an unknown engine, or no end in time.
    """
    environment = {SETTINGS: str(trial.save())}
    if engine in ("superlink", "launcher"):
        own = engine == "launcher"
        with SuperLink(Path(trial.folder), trial.nodes, environment, launcher=own) as federation:
            federation.run(MODULE, lambda: trial.finished, end - time.monotonic())
    elif engine == "simulation":
        program = [sys.executable, "-c", f"from {APP} import simulate; simulate()"]
        quiet = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
        subprocess.run(
            program,
            env={**inherited(), **quiet, **environment},
            stdout=sys.stderr,
            timeout=end - time.monotonic(),
            check=False,
        )
    else:
        raise UsageError(f"engine is 'simulation', 'superlink' or 'launcher', not {engine!r}")


if __name__ == "__main__":
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(3))  # so that no process of the engine is left behind
    given = arguments(
        sys.argv[1:], engine="simulation", nodes=5, dim=10_000, rounds=4, dropped=1, system="secagg",
        adversary="curious", seconds=280,
    )  # fmt: skip
    engine, limit = given.pop("engine"), given.pop("seconds")
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(**given, folder=folder)
        try:
            run(trial, engine, started + limit)
        except (UsageError, subprocess.TimeoutExpired) as error:
            sys.stderr.write(f"{error}\n")
        write(summary(trial, f"Flower {engine}", f"flwr {flwr.__version__}"))
