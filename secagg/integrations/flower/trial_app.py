"""The Flower app of a trial (see ``secagg.integrations.flower.trial``): it adds made-up updates, secured or not.

Imported by the processes of an engine, which find the trial's settings through their environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from protocols import Secret
from protocols.pairwise import LocalPolicy
from secagg.integrations.flower import SecAgg, SecAggMod, records
from secagg.integrations.trial import QUANTIZATION, SETTINGS, Trial, Watch, settled

TRIAL = Trial.load() if SETTINGS in os.environ else Trial(0, 0, 0)


def _place(context: Context) -> int:
    place = context.node_config["partition-id"]
    return place if isinstance(place, int) else 0


def _turn(message: Message) -> int:
    """Return the number of the round, from 0."""
    turn = message.content.config_records["config"]["server-round"]
    return turn - 1 if isinstance(turn, int) else 0


def _train(message: Message, context: Context) -> Message:
    """Add this site's update, or fail."""
    place, turn = _place(context), _turn(message)
    if TRIAL.fails(place, turn):
        raise RuntimeError("this site is closed")
    w = message.content.array_records["arrays"]["w"].numpy() + TRIAL.update(place)
    content = RecordDict({"arrays": _arrays(w), "metrics": MetricRecord({"num-examples": 1})})
    if TRIAL.system == "hostile":
        content["loot"] = _loot(context)
    return Message(content, reply_to=message)


def _loot(context: Context) -> ConfigRecord:
    """Gather what an app must not have: then the trial fails, and else what no server must see."""
    if records.STATE in context.state:
        raise RuntimeError("the app sees the secrets of open rounds")
    # Flower's own launcher hands its apps the token of their task on the command line.
    if any("--token" in word for word in Path("/proc/self/cmdline").read_text().split("\0")):
        raise RuntimeError("the app has a token of Flower's")
    return ConfigRecord({"diagnosis": "of patient 7"})


def _arrays(w: Any) -> ArrayRecord:
    return ArrayRecord({"w": Array(np.asarray(w, np.float32))})


def _mod() -> SecAggMod:
    if TRIAL.adversary == "curious":
        return SecAggMod()

    def identity(context: Context) -> Secret:
        return TRIAL.identity(_place(context))

    def folder(context: Context) -> Path:
        return Path(TRIAL.folder) / f"site-{_place(context)}-state"

    return SecAggMod(LocalPolicy(adversary="active", roster=TRIAL.roster()), identity, folder=folder)


class _Settled(FedAvg):
    """FedAvg with a model on a fine grid."""

    secagg_sums_only = True

    def aggregate_train(self, *given: Any) -> tuple[ArrayRecord | None, MetricRecord | None]:
        arrays, metrics = super().aggregate_train(*given)
        return None if arrays is None else _arrays(settled(arrays["w"].numpy())), metrics


def _strategy(context: Context) -> FedAvg | SecAgg:
    inner = _Settled(fraction_evaluate=0.0, min_available_nodes=TRIAL.nodes, min_train_nodes=TRIAL.nodes)
    if TRIAL.system == "plain":
        return inner
    return SecAgg(
        inner,
        max_examples=None,
        quantization=QUANTIZATION,
        threshold=TRIAL.threshold,
        adversary="active" if TRIAL.adversary == "active" else "curious",
        roster=TRIAL.roster(),
        workers=2,
        run_config=context.run_config,
    )


class _Counted:
    """A grid that counts the exchanges that carry messages, and notes which records the sites send."""

    def __init__(self, grid: Grid) -> None:
        self._grid, self.exchanges, self.seen = grid, 0, set[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grid, name)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        sent = list(messages)
        self.exchanges += bool(sent)
        replies = list(self._grid.send_and_receive(sent, timeout=timeout))
        self.seen.update(*(reply.content for reply in replies if reply.has_content()))
        return replies


def _main(grid: Grid, context: Context) -> None:
    watch, counted, counts = Watch(TRIAL), _Counted(grid), [0]

    def look(turn: int, arrays: ArrayRecord) -> None:
        w = arrays["w"].numpy()
        if turn == 0:
            watch.start(w)
        else:
            watch.round_done(w, counted.exchanges - counts[-1], seen=sorted(counted.seen))
        counts.append(counted.exchanges)

    _strategy(context).start(counted, _arrays(np.zeros(TRIAL.dim)), TRIAL.rounds, evaluate_fn=look)  # type: ignore[arg-type]


def _peer_main(grid: Grid, context: Context) -> None:
    """Run Flower's SecAgg+ over the complete graph at its defaults, with the same threshold."""
    from flwr.common import ndarrays_to_parameters
    from flwr.server import LegacyContext, ServerConfig
    from flwr.server.strategy import FedAvg as LegacyFedAvg
    from flwr.server.workflow import DefaultWorkflow, SecAggWorkflow

    watch = Watch(TRIAL)

    def look(turn: int, arrays: list[Any], config: Any) -> None:
        if turn == 0:
            watch.start(arrays[0])
        else:
            watch.round_done(arrays[0])

    strategy = LegacyFedAvg(
        fraction_evaluate=0.0,
        min_fit_clients=TRIAL.nodes,
        min_available_clients=TRIAL.nodes,
        initial_parameters=ndarrays_to_parameters([np.zeros(TRIAL.dim, np.float32)]),
        on_fit_config_fn=lambda turn: {"turn": turn - 1},
        evaluate_fn=look,
        fit_metrics_aggregation_fn=lambda metrics: {},
    )
    legacy = LegacyContext(context=context, config=ServerConfig(num_rounds=TRIAL.rounds), strategy=strategy)
    DefaultWorkflow(fit_workflow=SecAggWorkflow(TRIAL.threshold, max_weight=1.0, timeout=300.0))(grid, legacy)


def _peer_client() -> ClientApp:
    from flwr.client import NumPyClient
    from flwr.client.mod import secagg_mod as theirs

    class Site(NumPyClient):
        def __init__(self, place: int) -> None:
            self._place = place

        def fit(self, parameters: list[Any], config: dict[str, Any]) -> tuple[list[Any], int, dict[str, Any]]:
            if TRIAL.fails(self._place, int(config["turn"])):
                raise RuntimeError("this site is closed")
            return [parameters[0] + TRIAL.update(self._place)], 1, {}

    return ClientApp(client_fn=lambda context: Site(_place(context)).to_client(), mods=[theirs])


def _client() -> ClientApp:
    if TRIAL.system == "peer":
        return _peer_client()
    made = ClientApp(mods=[_mod()] if TRIAL.system == "secagg" else [])
    made.train()(_train)
    return made


app = _client()
server = ServerApp()
server.main()(_peer_main if TRIAL.system == "peer" else _main)


def simulate() -> None:
    """Run the trial in Flower's simulation engine, on Ray."""
    from flwr.simulation import run_simulation

    run_simulation(server, app, TRIAL.nodes, backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0}})
