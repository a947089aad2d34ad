"""A CNN on digits in FLARE's simulator: the same executor under FLARE's own FedAvg, and under secure sums.

The executor knows nothing of masks; in the second job a filter masks what it returns. Prints one JSON object.

python -m tests.integrations.nvflare.digits_job {plain,secure} [ROUNDS]
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.executor import Executor
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.workflows.fedavg import FedAvg
from nvflare.job_config.api import FedJob
from nvflare.job_config.defs import FilterType
from torch import nn

from secagg.integrations.nvflare.classic import KEYS, TRAIN, SecureController, Silent
from secagg.integrations.nvflare.site_filter import SecureSums
from secagg.integrations.training import Model
from tests.support.digits import accuracy, data, model

SITES = 5
REPORT = "SECAGG_DIGITS_REPORT"


def initial() -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model().state_dict().items()}


def network(arrays: dict[str, np.ndarray]) -> nn.Module:
    net = model()
    net.load_state_dict({name: torch.tensor(np.asarray(array)) for name, array in arrays.items()})
    return net


def report(arrays: Model, rounds: int) -> None:
    told = {"accuracy": accuracy(network(dict(arrays))), "rounds": rounds}
    Path(os.environ[REPORT]).write_text(json.dumps(told))


class Trainer(Executor):
    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        torch.set_num_threads(1)
        place = int(str(fl_ctx.get_identity_name()).split("-")[1]) - 1
        images, labels, order = data()
        mine = order[:1000][place::SITES]
        net = network(from_shareable(shareable).data)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.5)
        torch.manual_seed(place)
        for _ in range(3):
            for batch in mine[torch.randperm(len(mine))].split(32):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
                optimizer.step()
        arrays = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
        return DXO(DataKind.WEIGHTS, arrays, {MetaKey.NUM_STEPS_CURRENT_ROUND: len(mine)}).to_shareable()


class Plain(FedAvg):
    """FLARE's own controller, with the first model and the report in the place of files."""

    def load_model(self) -> FLModel:
        return FLModel(params=initial())

    def save_model(self, model: FLModel) -> None:
        report(model.params, self.current_round + 1)


class Secure(SecureController):
    def __init__(self, rounds: int = 1) -> None:
        super().__init__(rounds=rounds, max_examples=200)

    def initial_model(self) -> Model:
        return initial()

    def round_done(self, index, model, metrics, included) -> None:  # type: ignore[no-untyped-def]
        report(model, index + 1)


if __name__ == "__main__":
    kind, rounds = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        os.environ[REPORT] = str(Path(folder) / "report.json")
        job = FedJob(name="digits", min_clients=SITES)
        job.to_server(Plain(num_clients=SITES, num_rounds=rounds) if kind == "plain" else Secure(rounds))
        job.to_clients(Trainer(), tasks=[TRAIN])
        if kind == "secure":
            job.to_clients(Silent(), tasks=[KEYS])
            for chain in (FilterType.TASK_DATA, FilterType.TASK_RESULT):
                job.to_clients(SecureSums(), filter_type=chain, tasks=[TRAIN, KEYS])
        started = time.perf_counter()
        job.simulator_run(folder, n_clients=SITES, threads=SITES)
        told = json.loads(Path(os.environ[REPORT]).read_text())
        sys.stdout.write("\nREPORT " + json.dumps({**told, "seconds": time.perf_counter() - started}) + "\n")
