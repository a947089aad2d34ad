"""The server side: a strategy around a strategy, which gets the mean of a secure sum instead of single updates."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict, UserConfig
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result, Strategy

import quant
from protocols.pairwise import Roster
from protocols.pairwise.params import NO_ROSTER, Adversary, Protocol
from secagg.config import RoundConfig
from secagg.errors import RoundRefused, UsageError
from secagg.integrations.flower import records
from secagg.integrations.flower.cohort import Cohort
from secagg.integrations.flower.phases import Kind, SecurePhases
from secagg.integrations.flower.sums_only import check_sums_only
from secagg.integrations.training import check_unit
from secagg.opened import Opened
from secagg.privacy import RoundPrivacy

LOG = logging.getLogger("secagg.flower")


class SecAgg(Strategy):
    """Runs a sums-only strategy on secure sums: neither updates nor example counts nor metrics of a site are seen.

    The wrapped strategy gets one reply that carries the weighted mean; what it does with it stays as it was. Arrays of
    integers, and arrays outside of ``include``, keep the server's values.

    Args:
        strategy: of ``flwr.serverapp.strategy``; see ``SUMS_ONLY``.
        max_examples: public upper bound on one site's number of examples, the weight of its update; the nearer, the
            finer the grid; more count as so many. ``None`` gives every site the same weight, and no site tells how many
            it has.
        quantization: keys of ``quant.presets``, for the *difference* that training makes; 16 bits by default.
        metrics: bounds by name of the metrics whose weighted means the train replies give; others are not sent.
        evaluate_metrics: the same for evaluate replies. Without any, set ``fraction_evaluate=0`` on the strategy.
        include: names of the arrays to aggregate, such as ``"head.*"``.
        threshold: least number of clients that must stay to the end; by default floor(2n/3) + 1.
        adversary: ``"curious"`` or ``"active"``; the latter needs a roster.
        roster: identities of the members.
        colluders: how many clients may collude with the server.
        protocol: ``"secagg"`` or ``"secagg+"``.
        study: name bound into every round; by default the run's number.
        timeout: seconds to wait in the phases between training and sum.
        workers: threads that take off masks.
        privacy: makes the training rounds private, for unit site; ``quantization`` is the one that goes with it (see
            ``secagg.privacy.fit``), ``threshold`` its ``least_survivors``, ``max_examples`` none, metrics none.
        ahead: agree on the next round's keys while a round is running, which saves two exchanges a round. Then this
            wrapper draws the next round's nodes, from all that are connected: not for a strategy that chooses them.
        run_config: ``context.run_config`` of the ``ServerApp``: sites check that theirs is the same. Sites that insist
            on an active server and have such a configuration ask for it.

    Raises:
        UsageError: a strategy that needs single updates, or evaluation whose metrics would travel in clear.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        max_examples: int | None,
        quantization: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        evaluate_metrics: Mapping[str, float] | None = None,
        include: str | Sequence[str] | None = None,
        threshold: int | None = None,
        adversary: Adversary = "curious",
        roster: Roster | None = None,
        colluders: int = 1,
        protocol: Protocol = "secagg",
        study: str | None = None,
        timeout: float = 600.0,
        workers: int = 1,
        privacy: RoundPrivacy | None = None,
        ahead: bool = True,
        run_config: UserConfig | None = None,
    ) -> None:
        self._inner: FedAvg = check_sums_only(strategy)
        if self._inner.fraction_evaluate > 0 and not evaluate_metrics:
            raise UsageError(
                "evaluation would send every site's metrics in clear: name them with their bounds in evaluate_metrics, "
                "or set fraction_evaluate=0 on the strategy"
            )
        if adversary == "active" and roster is None:
            raise UsageError("an active server is withstood with a roster only: give roster")
        check_unit(privacy)
        if privacy is not None and (metrics or evaluate_metrics or max_examples is not None):
            raise UsageError("in private rounds nothing leaves a site but the noised update: no metrics, no examples")
        self._privacy = privacy
        self._quantization = {"bits": 16} if quantization is None else dict(quantization)
        self._metrics = {"train": dict(metrics or {}), "evaluate": dict(evaluate_metrics or {})}
        self._include = include
        self._terms = partial(
            RoundConfig,
            max_weight=max_examples,
            threshold=threshold,
            adversary=adversary,
            roster=NO_ROSTER if roster is None else roster.hash(),
            colluders=colluders,
            protocol=protocol,
        )
        self._roster, self._study, self._timeout = roster, study, timeout
        self._workers, self._ahead, self._run_config = workers, ahead, run_config
        self._num_rounds: int | None = None
        self._model = ArrayRecord()
        self._layout: quant.Layout | None = None
        self._cohort: Cohort | None = None
        self._phases: dict[Kind, SecurePhases] = {}

    def start(self, grid: Grid, initial_arrays: ArrayRecord, num_rounds: int = 3, *args: Any, **more: Any) -> Result:
        """Run the rounds; see ``flwr.serverapp.strategy.Strategy.start``."""
        self._num_rounds = num_rounds
        return super().start(grid, initial_arrays, num_rounds, *args, **more)

    def summary(self) -> None:
        """Log what is secured, and the wrapped strategy."""
        LOG.info("secure sums for %s: %s", type(self._inner).__name__, self._terms.keywords)
        self._inner.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Set the round up and ask for masked updates."""
        self._model = arrays
        if self._layout is None:
            self._layout = quant.Layout.of(records.numpy_arrays(arrays), self._include)
        plain = list(self._inner.configure_train(server_round, arrays, config, grid))
        inner = self._inner
        return self._ask("train", server_round, plain, grid, inner.fraction_train, inner.min_train_nodes)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Open the sum and hand its mean to the wrapped strategy."""
        opened = self._sum("train", replies)
        if opened is None:
            return None, None
        return self._inner.aggregate_train(server_round, [self._mean_reply(opened, self._new_arrays(opened))])

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Set a round for metrics up and ask for masked ones."""
        plain = list(self._inner.configure_evaluate(server_round, arrays, config, grid))
        inner = self._inner
        return self._ask("evaluate", server_round, plain, grid, inner.fraction_evaluate, inner.min_evaluate_nodes)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Open the sum of metrics and hand its mean to the wrapped strategy."""
        opened = self._sum("evaluate", replies)
        return None if opened is None else self._inner.aggregate_evaluate(server_round, [self._mean_reply(opened)])

    def _ask(
        self, kind: Kind, server_round: int, plain: list[Message], grid: Grid, fraction: float, least: int
    ) -> list[Message]:
        if not plain:
            return []
        phases = self._phases.get(kind) or self._open(kind, grid)
        try:
            return phases.ask(server_round, plain, grid, fraction, least, last=server_round == self._num_rounds)
        except RoundRefused as error:
            LOG.error("%s", error)
            return []

    def _sum(self, kind: Kind, replies: Iterable[Message]) -> Opened | None:
        if kind not in self._phases:
            return None
        try:
            return self._phases[kind].sum(replies)
        except RoundRefused as error:
            LOG.error("%s", error)
            return None

    def _open(self, kind: Kind, grid: Grid) -> SecurePhases:
        """Begin with a purpose: who is who, and which configuration its rounds have."""
        if self._cohort is None:
            self._cohort = Cohort(grid, self._timeout, roster=self._roster is not None)
        study = self._study or f"flower run {grid.run.run_id}"
        layout = quant.Layout.of(records.NOTHING) if kind == "evaluate" or self._layout is None else self._layout
        quantization = {} if kind == "evaluate" else self._quantization

        def configure(index: int, attempt: int, clients: tuple[int, ...]) -> RoundConfig:
            return self._terms(
                clients=clients,
                layout=layout,
                quantization=quantization,
                study=f"{study}, {kind}",
                round_index=index,
                attempt=attempt,
                metrics=self._metrics[kind],
                privacy=self._privacy,
            )

        key = self._inner.weighted_by_key
        self._phases[kind] = SecurePhases(
            kind, key, configure, self._cohort, self._roster, self._workers, self._ahead, self._run_config
        )
        return self._phases[kind]

    def _new_arrays(self, opened: Opened) -> ArrayRecord:
        """Add the mean difference to the model that was sent."""
        if self._layout is None:
            raise RoundRefused("no model was sent")
        arrays = records.numpy_arrays(self._model)
        differences = self._layout.unflatten(opened.mean)
        for name, difference in differences.items():
            arrays[name] = (arrays[name] + difference).astype(arrays[name].dtype)
        return ArrayRecord({name: Array(np.asarray(array)) for name, array in arrays.items()})

    def _mean_reply(self, opened: Opened, arrays: ArrayRecord | None = None) -> Message:
        """Return the mean as the one reply that the wrapped strategy sees."""
        numbers = MetricRecord({**opened.metrics, self._inner.weighted_by_key: opened.total_weight})
        content = RecordDict({"metrics": numbers})
        if arrays is not None:
            content["arrays"] = arrays
        return Message(content, dst_node_id=0, message_type="train")
