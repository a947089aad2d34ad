"""A job of the Controller API in FLARE's simulator; sites mask by a filter; prints one JSON object at the end.

The executor is an ordinary one: it gets weights, and gives weights. One site fails from the second round on.

python -m tests.integrations.nvflare.classic_job [DIM] [ROUNDS]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.job_config.api import FedJob
from nvflare.job_config.defs import FilterType

from secagg.integrations.nvflare.classic import KEYS, TRAIN, SecureController, Silent
from secagg.integrations.nvflare.site_filter import SecureSums
from secagg.integrations.training import Model

SITES = 5


class Controller(SecureController):
    def __init__(self, dim: int = 1000, report: str = "", rounds: int = 3) -> None:
        super().__init__(rounds=rounds, max_examples=50, metrics={"loss": 4.0}, threshold=3, workers=2)
        self.dim, self.report = dim, report
        self._told: list[dict[str, object]] = []
        self._started = 0.0

    def initial_model(self) -> Model:
        self._started = time.perf_counter()
        return {"w": np.zeros(self.dim, np.float32)}

    def round_done(self, index, model, metrics, included) -> None:  # type: ignore[no-untyped-def]
        now, w = time.perf_counter(), model["w"]
        seconds, self._started = now - self._started, now
        row = {"round": index, "included": included, "loss": metrics["loss"], "seconds": seconds}
        self._told.append({**row, "w": [float(w.min()), float(w.max())]})
        Path(self.report).write_text(json.dumps(self._told))


class Trainer(Executor):
    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        place, w = int(fl_ctx.get_identity_name().split("-")[1]), from_shareable(shareable).data["w"]
        if place == 2 and w[0] > 0:
            return make_reply(ReturnCode.EXECUTION_EXCEPTION)
        meta = {MetaKey.NUM_STEPS_CURRENT_ROUND: 10 * place, MetaKey.INITIAL_METRICS: {"loss": place / 2}}
        return DXO(DataKind.WEIGHTS, data={"w": w + np.float32(place / 256)}, meta=meta).to_shareable()


if __name__ == "__main__":
    dim, rounds = (int(word) for word in (sys.argv[1:] or ["1000", "3"]))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        job = FedJob(name="secure", min_clients=SITES)
        job.to_server(Controller(dim, str(report), rounds))
        job.to_clients(Trainer(), tasks=[TRAIN])
        job.to_clients(Silent(), tasks=[KEYS])
        for chain in (FilterType.TASK_DATA, FilterType.TASK_RESULT):
            job.to_clients(SecureSums(), filter_type=chain, tasks=[TRAIN, KEYS])
        job.simulator_run(folder, n_clients=SITES, threads=SITES)
        sys.stdout.write("\nREPORT " + report.read_text() + "\n")
