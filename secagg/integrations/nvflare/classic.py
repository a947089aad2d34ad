"""The Controller API: a controller that runs secure rounds, and an executor for the phases without training.

The task ``train`` goes to the job's own executor, whatever it is, with weights in and weights (or their difference)
out; ``site_filter.SecureSums`` masks its result. Put the filter into the site's ``privacy.json``, which no job can
switch off, or let the job declare it. The task ``secagg_keys`` goes to ``Silent``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from nvflare.apis.client import Client
from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal

from secagg.errors import RoundRefused, UsageError
from secagg.integrations.letters import read_answer, write_letters
from secagg.integrations.nvflare.site_filter import LETTERS
from secagg.integrations.parcel import Mail, merge
from secagg.integrations.training import Model, ModelRounds, Terms

TRAIN, KEYS = "train", "secagg_keys"


class Silent(Executor):
    """Does nothing: in the task ``secagg_keys`` the filter has the answer."""

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Return an empty result."""
        return make_reply(ReturnCode.OK)


class SecureController(Controller):
    """Runs secure rounds over all connected sites. Override ``initial_model``, and ``round_done`` to look at models.

    Args:
        rounds: number of rounds.
        max_examples: public upper bound on the weight that executors report (steps); ``None`` weighs sites the same.
        quantization: keys of ``quant.presets`` for the difference that training makes.
        metrics: name -> bound of the metrics whose weighted means are opened.
        threshold: least number of sites that must stay.
        min_clients: sites to wait for.
        study: name bound into all rounds.
        timeout: seconds to wait for sites in each phase.
        workers: threads that take off masks.
    """

    def __init__(
        self,
        rounds: int = 1,
        max_examples: int | None = None,
        quantization: dict[str, Any] | None = None,
        metrics: dict[str, float] | None = None,
        threshold: int | None = None,
        min_clients: int = 3,
        study: str = "study",
        timeout: int = 600,
        workers: int = 1,
    ) -> None:
        super().__init__()
        self.rounds, self.max_examples, self.quantization, self.metrics = rounds, max_examples, quantization, metrics
        self.threshold, self.min_clients, self.study = threshold, min_clients, study
        self.timeout, self.workers = timeout, workers

    def initial_model(self) -> Model:
        """Return the first model, numpy arrays by name."""
        raise NotImplementedError

    def round_done(self, index: int, model: Model, metrics: Mapping[str, float], included: tuple[int, ...]) -> None:
        """Look at the model after round ``index`` (from 0), at the mean metrics, and at whose updates are in it."""

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Nothing to prepare."""

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing to clean up."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Run all rounds; one that fails leaves the model as it was."""
        sites = sorted(client.name for client in self._engine.get_clients())
        if len(sites) < self.min_clients:
            raise UsageError(f"{len(sites)} sites are connected, and min_clients is {self.min_clients}")
        names = dict(enumerate(sites, start=1))

        def carry(mail: Mail, task: str = KEYS, model: Model | None = None) -> Mail:
            return self._exchange(task, mail, names, model or {}, fl_ctx, abort_signal)

        terms = Terms(
            self.max_examples,
            self.quantization or {"bits": 16},
            self.metrics or {},
            threshold=self.threshold,
            study=self.study,
            workers=self.workers,
        )
        rounds = ModelRounds(terms, self.initial_model(), carry)
        for index in range(self.rounds):
            if abort_signal.triggered:
                return
            try:
                requests = rounds.series.begin(index, names, rounds.model_hash())
                if index + 1 < self.rounds:
                    requests = merge(requests, rounds.series.prepare(index + 1, names))
                rounds.series.take(carry(requests, TRAIN, rounds.model))
                rounds.finish()
            except RoundRefused as error:
                self.log_error(fl_ctx, f"round {index}: {error}")
                continue
            self.round_done(index, rounds.model, rounds.metrics, rounds.included)

    def _exchange(
        self, name: str, mail: Mail, names: Mapping[int, str], model: Model, fl_ctx: FLContext, abort_signal: Signal
    ) -> Mail:
        """Send every site its own parcels, all at the same time; who fails or is late is missing from the result."""
        clients = {name: client for client, name in names.items()}
        replies: Mail = {}
        open_tasks = threading.Semaphore(0)

        def collect(client_task: ClientTask, fl_ctx: FLContext) -> None:
            result = client_task.result
            if result is not None and result.get_return_code() == ReturnCode.OK and LETTERS in result:
                client = clients[client_task.client.name]
                replies[client] = read_answer(client, result[LETTERS])

        def done(task: Task, fl_ctx: FLContext) -> None:
            open_tasks.release()

        for client, parcels in mail.items():
            data = DXO(DataKind.WEIGHTS, data=dict(model)).to_shareable() if model else Shareable()
            data[LETTERS] = write_letters(parcels)
            # A broadcast sends everybody the same, so every site gets a task of its own.
            task = Task(name, data, timeout=self.timeout, result_received_cb=collect, task_done_cb=done)
            self.send(task, fl_ctx, targets=[names[client]])
        for _ in mail:
            while not open_tasks.acquire(timeout=0.2) and not abort_signal.triggered:
                pass
        return replies

    def process_result_of_unknown_task(
        self, client: Client, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """Leave out what comes too late."""
