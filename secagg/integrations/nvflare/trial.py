"""Tries the adapter in NVIDIA FLARE: its simulator, or real processes on this machine (``PocEnv``).

    python -m secagg.integrations.nvflare.trial engine=collab nodes=5 dim=1000000 rounds=4 adversary=active

Engines are ``collab`` (simulator), ``classic`` (Controller API with the site's filter, simulator) and ``poc`` (Collab,
processes). Sites that drop out do so from the second round on. The last line of the output is a report in JSON.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path

import nvflare
from nvflare.collab import CollabRecipe
from nvflare.job_config.api import FedJob
from nvflare.job_config.defs import FilterType
from nvflare.recipe import PocEnv, SimEnv

from secagg.errors import UsageError
from secagg.integrations.nvflare.classic import KEYS, TRAIN, Silent
from secagg.integrations.nvflare.site_filter import SecureSums
from secagg.integrations.nvflare.trial_job import ClassicServer, CollabServer, CollabSite, Trainer
from secagg.integrations.trial import NO_BYTECODE, SETTINGS, Trial, arguments, summary, write


def run(trial: Trial, engine: str, seconds: float) -> None:
    """Run a trial to its end; its report lies in its folder afterwards.

    Raises:
        UsageError: an unknown engine.
    """
    os.environ[SETTINGS] = str(trial.save())
    os.environ.pop(NO_BYTECODE, None)  # FLARE's processes inherit this one's environment
    root = Path(__file__).parents[3]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    workspace = str(Path(trial.folder) / "workspace")
    if engine == "classic":
        job = FedJob(name="trial", min_clients=trial.nodes)
        job.to_server(ClassicServer(trial.rounds, trial.threshold))
        job.to_clients(Trainer(), tasks=[TRAIN])
        job.to_clients(Silent(), tasks=[KEYS])
        for chain in (FilterType.TASK_DATA, FilterType.TASK_RESULT):
            job.to_clients(SecureSums(), filter_type=chain, tasks=[TRAIN, KEYS])
        job.simulator_run(workspace, n_clients=trial.nodes, threads=trial.nodes)
        return
    server = CollabServer(trial.rounds, trial.threshold, trial.adversary)
    recipe = CollabRecipe("trial", server, CollabSite(), min_clients=trial.nodes)
    if engine == "collab":
        recipe.run(SimEnv(num_clients=trial.nodes, workspace_root=workspace))
    elif engine == "poc":
        os.environ["NVFLARE_POC_WORKSPACE"] = workspace
        environment = PocEnv(num_clients=trial.nodes)
        try:
            recipe.run(environment).get_result(timeout=seconds)
        finally:
            environment.stop(clean_up=True)
    else:
        raise UsageError(f"engine is 'collab', 'classic' or 'poc', not {engine!r}")


if __name__ == "__main__":
    given = arguments(
        sys.argv[1:], engine="collab", nodes=5, dim=10_000, rounds=4, dropped=1, adversary="curious", seconds=280
    )
    engine, limit = given.pop("engine"), given.pop("seconds")
    # Nothing of FLARE may outlive the limit; its simulator runs in this process.
    clock = threading.Timer(limit, os._exit, [3])
    clock.daemon = True
    clock.start()
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(**given, folder=folder)
        run(trial, engine, limit - 20)
        write(summary(trial, f"NVFlare {engine}", f"nvflare {nvflare.__version__}"))
    sys.stdout.flush()
    clock.cancel()
