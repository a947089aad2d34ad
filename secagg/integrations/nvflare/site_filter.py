"""The site's own hand on what leaves it: a FLARE filter that masks results of training, or lets nothing out.

A filter in the site's ``local/privacy.json`` is configured by the site and not by the job; it sees every task result of
the Controller API before it leaves. So the executor of a job need not know about masking, and cannot avoid it.

    {"scopes": [{"name": "hospital",
       "task_data_filters": [{"path": "secagg.integrations.nvflare.site_filter.SecureSums", "direction": "inout"}],
       "task_result_filters": [{"path": "secagg.integrations.nvflare.site_filter.SecureSums", "direction": "inout"}]}],
     "default_scope": "hospital"}

``inout``, since sites of FLARE's swarm and cyclic workflows give tasks to each other, and what they trained in them.
Some of FLARE's own components send past all filters (logs, events), and so do Collab calls and any code that a job
brings. So a site that relies on this one grants no job the right to bring code, and says in ``local/resources.json``
which components a job may have (the executors that the site knows, beside those of this list), and that no logs leave:

    "class_allow_list": ["secagg.integrations.nvflare.classic.Silent", "nvflare.app_common.np.np_trainer.NPTrainer"],
    "allow_log_streaming": false
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.filter import ContentBlockedException, Filter, FilterChainType, FilterContextKey
from nvflare.apis.fl_constant import FilterKey, FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReservedHeaderKey, Shareable

from protocols.pairwise import Ledger, LocalPolicy
from secagg.integrations.letters import read_letters, write_letters
from secagg.integrations.member import MemberRounds, own_ledger
from secagg.integrations.parcel import Parcel
from secagg.integrations.training import Model, Trained, contribute

LOG = logging.getLogger("secagg.nvflare")

LETTERS = "secagg.letters"
"""Key of a shareable under which parcels travel."""


@dataclass
class _Job:
    """What the two filters of one job share: the store, and the message that is being answered."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    store: dict[str, bytes] = field(default_factory=dict)
    asked: bool = False
    parcels: list[Parcel] = field(default_factory=list)
    answers: list[Parcel] = field(default_factory=list)
    model: Model = field(default_factory=dict)


_JOBS: dict[tuple[str, str], _Job] = {}
"""By job and site: FLARE's simulator has several sites in one process."""


class SecureSums(Filter):
    """Answers parcels, masks what the executor made of the model, and lets nothing else out.

    Args:
        min_clients: least number of invited sites that this site accepts.
        min_threshold: least number of updates in a sum.
        colluders: how many other sites may collude with the server.
        folder: of this site's own, where what it said outlives a job; then a study's name is used once.
    """

    def __init__(self, min_clients: int = 3, min_threshold: int = 3, colluders: int = 1, folder: str = "") -> None:
        super().__init__()
        self.folder = folder
        self.min_clients, self.min_threshold, self.colluders = min_clients, min_threshold, colluders

    def policy(self) -> LocalPolicy:
        """Return what this site insists on; override it for a roster."""
        return LocalPolicy(min_clients=self.min_clients, min_threshold=self.min_threshold, colluders=self.colluders)

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Take parcels out of task data, or put answers in the place of a task result.

        Raises:
            ContentBlockedException: a result that is not part of a secure sum, or a task that a site gives to another.
        """
        job = _JOBS.setdefault((str(fl_ctx.get_job_id()), fl_ctx.get_identity_name()), _Job())
        data = self.get_prop(FilterContextKey.CHAIN_TYPE) == FilterChainType.TASK_DATA_CHAIN
        if fl_ctx.get_prop(FLContextKey.FILTER_DIRECTION) != (FilterKey.IN if data else FilterKey.OUT):
            raise ContentBlockedException("this site answers only inside secure sums, and gives other sites no tasks")
        with job.lock, own_ledger(Path(self.folder) if self.folder else None) as ledger:
            return self._arrives(job, shareable, ledger) if data else self._leaves(job, shareable, ledger)

    def _arrives(self, job: _Job, shareable: Shareable, ledger: Ledger | None) -> Shareable:
        job.asked, job.parcels, job.answers, job.model = False, [], [], {}
        if shareable.get_header(ReservedHeaderKey.TOPIC) is not None:
            raise ContentBlockedException("this task came as a message, which any site can send")
        letters = shareable.pop(LETTERS, None)
        if letters is None:
            return shareable
        rounds = MemberRounds(job.store, self.policy(), ledger=ledger)
        job.parcels = read_letters(letters)
        job.answers = rounds.answer_all(job.parcels)
        if any(rounds.waiting(parcel.round) for parcel in job.parcels):
            # The executor may change the arrays that it gets; what was received is kept apart.
            job.model = {name: np.array(array) for name, array in from_shareable(shareable).data.items()}
        rounds.save()
        job.asked = True
        return shareable

    def _leaves(self, job: _Job, result: Shareable, ledger: Ledger | None) -> Shareable:
        if not job.asked:
            raise ContentBlockedException("this site answers only inside secure sums: the task asked for none")
        rounds = MemberRounds(job.store, self.policy(), ledger=ledger)
        for place, parcel in enumerate(job.parcels):
            if rounds.waiting(parcel.round):
                try:
                    job.answers[place], saturated = contribute(
                        rounds, parcel.round, job.model, lambda model: trained(result, model)
                    )
                except Exception:
                    # The site leaves this round, not the next one. What went wrong may tell of data: it stays here.
                    LOG.exception("round %s goes on without this site", parcel.round)
                    continue
                if saturated:
                    LOG.warning("%d coordinates lay beyond the range of the quantization and were cut", saturated)
        rounds.save()
        masked = Shareable()
        masked[LETTERS] = write_letters(job.answers)
        masked.set_return_code(ReturnCode.OK)
        job.asked = False
        return masked


def trained(result: Shareable, model: Model) -> Trained:
    """Read what an executor gave: weights or their difference, steps as weight, and metrics.

    Raises:
        ContentBlockedException: a result of another kind, or one that reports a failure.
    """
    if result.get_return_code(ReturnCode.OK) != ReturnCode.OK:
        raise ContentBlockedException(f"the executor returned {result.get_return_code()}")
    dxo: DXO = from_shareable(result)
    arrays: dict[str, Any] = {name: np.asarray(array) for name, array in dxo.data.items()}
    if dxo.data_kind == DataKind.WEIGHT_DIFF:
        arrays = {name: model[name] + change for name, change in arrays.items()}
    elif dxo.data_kind != DataKind.WEIGHTS:
        raise ContentBlockedException(f"only weights and their differences are summed, not {dxo.data_kind}")
    examples = int(dxo.get_meta_prop(MetaKey.NUM_STEPS_CURRENT_ROUND, 1))
    metrics = dxo.get_meta_prop(MetaKey.INITIAL_METRICS, {})
    return Trained({**model, **arrays}, examples, metrics if isinstance(metrics, dict) else {})
