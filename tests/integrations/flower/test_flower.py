"""The Flower adapter over real Flower messages, apps and strategies, in one process (see ``LocalGrid``)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import fixedclipping_mod
from flwr.serverapp import strategy as flower

import quant
from protocols import Secret
from protocols.pairwise import LocalPolicy, Roster
from secagg import RoundConfig, UsageError
from secagg.inprocess import simulated_identities
from secagg.integrations.flower import SUMS_ONLY, SecAgg, SecAggMod, records, secagg_mod
from secagg.integrations.flower.sums_only import REFUSED
from secagg.privacy import Fitted, Goal, SitePrivacy, fit
from tests.integrations.flower import digits_simulation
from tests.support.flower_grid import LocalGrid, Vanishes

STEP = 2 / (2**16 - 1)
NODES = 6
METRICS = {"train_loss": 8.0}
START = {"layer.weight": np.arange(12, dtype=np.float32).reshape(3, 4) / 50, "layer.bias": np.ones(5, np.float32)}


def record(arrays: dict[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def moved(arrays: ArrayRecord, place: int) -> ArrayRecord:
    """What node ``place`` makes of a model."""
    trained = {name: array.numpy() for name, array in arrays.items()}
    trained["layer.weight"] = trained["layer.weight"] + np.float32(place - 2) / 64
    trained["layer.bias"] = trained["layer.bias"] * np.float32(0.9) - np.float32(place) / 128
    return record(trained)


def app_with(*mods: Any, fails: Callable[[int, int], bool] = lambda place, turn: False) -> ClientApp:
    app = ClientApp(mods=list(mods))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        place, turn = context.node_config["partition-id"], int(message.content["config"]["server-round"])
        if fails(place, turn):
            raise RuntimeError("the secret diagnosis of patient 7")
        metrics = MetricRecord({"num-examples": 10 * (place + 1), "train_loss": place / 4, "unnamed": 1.5})
        return Message(RecordDict({"a": moved(message.content["arrays"], place), "m": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        place = context.node_config["partition-id"]
        metrics = MetricRecord({"num-examples": 10 * (place + 1), "accuracy": place / 8})
        return Message(RecordDict({"m": metrics}), reply_to=message)

    @app.query()
    def query(message: Message, context: Context) -> Message:
        return Message(RecordDict({"c": ConfigRecord({"alive": True})}), reply_to=message)

    return app


def run(strategy: flower.Strategy, grid: LocalGrid, rounds: int = 3) -> flower.Result:
    return strategy.start(grid, record(START), num_rounds=rounds)


def settings(**more: Any) -> dict[str, Any]:
    return {"max_examples": 10 * NODES, "metrics": METRICS, **more}


def plain(kind: str = "FedAvg", **more: Any) -> flower.FedAvg:
    return getattr(flower, kind)(**{"fraction_evaluate": 0.0, "min_available_nodes": NODES, **more})


def close(result: flower.Result, expected: flower.Result, rounds: int = 3, nodes: int = NODES) -> None:
    for name, array in expected.arrays.items():
        np.testing.assert_allclose(result.arrays[name].numpy(), array.numpy(), atol=3 * rounds * nodes * STEP)


@pytest.mark.parametrize("kind", SUMS_ONLY)
def test_every_sums_only_strategy_goes_as_without_masks(kind: str) -> None:
    needs = {"proximal_mu": 0.1} if kind == "FedProx" else {}
    expected = run(plain(kind, **needs), LocalGrid(app_with(), NODES))
    result = run(SecAgg(plain(kind, **needs), **settings()), LocalGrid(app_with(secagg_mod), NODES))
    if kind in ("FedAdagrad", "FedAdam", "FedYogi"):  # they divide by how large a mean was, so small errors grow
        assert all(np.isfinite(array.numpy()).all() for array in result.arrays.values())
        name = "layer.bias"
        np.testing.assert_allclose(result.arrays[name].numpy(), expected.arrays[name].numpy(), atol=0.05)
    else:
        close(result, expected)
    for turn, metrics in expected.train_metrics_clientapp.items():
        assert result.train_metrics_clientapp[turn]["train_loss"] == pytest.approx(metrics["train_loss"], abs=1e-4)


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_strategies_that_need_single_updates_are_refused_by_name(kind: str) -> None:
    made = object.__new__(getattr(flower, kind))
    with pytest.raises(UsageError, match=kind):
        SecAgg(made, **settings())


def test_own_strategies_say_that_they_need_only_the_mean() -> None:
    class Halved(flower.FedAvg):
        def aggregate_train(self, server_round: int, replies: Any) -> Any:
            arrays, metrics = super().aggregate_train(server_round, replies)
            return arrays, metrics

    with pytest.raises(UsageError, match="secagg_sums_only"):
        SecAgg(Halved(fraction_evaluate=0.0), **settings())
    Halved.secagg_sums_only = True  # type: ignore[attr-defined]
    SecAgg(Halved(fraction_evaluate=0.0), **settings())
    with pytest.raises(UsageError, match="single sites' metrics"):
        SecAgg(plain(train_metrics_aggr_fn=lambda records, key: MetricRecord()), **settings())


def test_metrics_of_evaluation_are_not_sent_in_clear_by_accident() -> None:
    with pytest.raises(UsageError, match="evaluate_metrics"):
        SecAgg(flower.FedAvg(), **settings())


def identities() -> tuple[dict[int, Secret], Roster]:
    return simulated_identities([7, 9, 12, 20, 21, 30])


def active_mod(secrets: dict[int, Secret], roster: Roster, folder: Path) -> SecAggMod:
    members = list(secrets)
    return SecAggMod(
        LocalPolicy(adversary="active", roster=roster),
        lambda context: secrets[members[context.node_config["partition-id"]]],
        folder=lambda context: folder / str(context.node_id),
    )


@pytest.mark.parametrize(("adversary", "steady"), [("curious", 2), ("active", 3)])
def test_steady_state_takes_as_few_exchanges_as_it_may(adversary: str, steady: int, tmp_path: Path) -> None:
    secrets, roster = identities()
    more = {"adversary": "active", "roster": roster} if adversary == "active" else {}
    mod = active_mod(secrets, roster, tmp_path) if adversary == "active" else secagg_mod
    grid = LocalGrid(app_with(mod), NODES)
    counts = []
    strategy = SecAgg(plain(), **settings(**more))
    strategy.configure_evaluate = lambda *args: counts.append(len(grid.exchanges)) or []  # type: ignore[method-assign]
    result = run(strategy, grid, rounds=4)
    assert [after - before for before, after in pairwise(counts)] == [steady] * 3
    close(result, run(plain(), LocalGrid(app_with(), NODES), rounds=4), rounds=4)


def test_the_server_sees_no_update_no_count_and_no_metric() -> None:
    grid = LocalGrid(app_with(secagg_mod), NODES)
    run(SecAgg(plain(), **settings(), quantization={"bits": 16, "range": 1.0}), grid)
    for _, replies in grid.exchanges:
        for reply in replies:
            assert set(reply.content) <= {records.PARCELS, records.BULK}
            assert set(reply.content[records.PARCELS]) <= {"rounds", "clients", "proposals", "frames/0", "frames/1"}
            assert b"diagnosis" not in repr(reply.content).encode()


def losing(nodes: set[int], at: Callable[[int], bool]) -> Vanishes:
    return lambda exchange, node, message: node in nodes and at(exchange)


def examples_seen(strategy: SecAgg) -> list[int]:
    """The sums of examples that the wrapped strategy gets to see, one a round."""
    seen: list[int] = []
    inside = strategy._inner.aggregate_train

    def spy(server_round: int, replies: list[Message]) -> Any:
        (reply,) = replies
        seen.append(reply.content["metrics"]["num-examples"])
        return inside(server_round, replies)

    strategy._inner.aggregate_train = spy  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("exchange", range(8))
@pytest.mark.parametrize("adversary", ["curious", "active"])
def test_a_node_may_vanish_at_any_exchange(adversary: str, exchange: int, tmp_path: Path) -> None:
    secrets, roster = identities()
    more = {"adversary": "active", "roster": roster} if adversary == "active" else {}
    mod = active_mod(secrets, roster, tmp_path) if adversary == "active" else secagg_mod
    grid = LocalGrid(app_with(mod), NODES, losing({103}, lambda now: now == exchange))
    strategy = SecAgg(plain(), **settings(**more))
    examples = examples_seen(strategy)
    run(strategy, grid)
    everybody = sum(10 * (place + 1) for place in range(NODES))
    assert len(examples) == 3
    assert set(examples) <= {everybody, everybody - 30}
    assert everybody in examples  # the node is back


def test_two_of_six_vanish_in_training_and_the_mean_is_that_of_the_others() -> None:
    present = [place for place in range(NODES) if place not in (0, 4)]
    grid = LocalGrid(app_with(secagg_mod, fails=lambda place, turn: place in (0, 4)), NODES)
    result = run(SecAgg(plain(), **settings(threshold=4)), grid, rounds=1)
    weights = np.array([10 * (place + 1) for place in present])
    shifts = np.array([(place - 2) / 64 for place in present])
    expected = START["layer.weight"] + (weights * shifts).sum() / weights.sum()
    np.testing.assert_allclose(result.arrays["layer.weight"].numpy(), expected, atol=2 * NODES * STEP)


def test_a_site_whose_training_fails_is_back_in_the_next_round_and_tells_no_reason() -> None:
    grid = LocalGrid(app_with(secagg_mod, fails=lambda place, turn: place == 0 and turn == 1), NODES)
    strategy = SecAgg(plain(), **settings())
    examples = examples_seen(strategy)
    run(strategy, grid, rounds=2)
    assert examples == [200, 210]
    assert not any("diagnosis" in str(reply) for _, replies in grid.exchanges for reply in replies)


def test_too_few_stay_and_the_model_is_left_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    grid = LocalGrid(app_with(secagg_mod, fails=lambda place, turn: place < 3 and turn == 1), NODES)
    with caplog.at_level(logging.ERROR, "secagg.flower"):
        result = run(SecAgg(plain(), **settings()), grid, rounds=2)
    assert "ended without a sum" in caplog.text
    assert list(result.train_metrics_clientapp) == [2]
    close(result, run(plain(), LocalGrid(app_with(), NODES), rounds=1))


def test_fewer_nodes_than_connected_are_drawn_ahead() -> None:
    grid = LocalGrid(app_with(secagg_mod), 12)
    strategy = SecAgg(plain(fraction_train=0.5), **settings(max_examples=120))
    run(strategy, grid, rounds=4)
    trained = [
        {message.metadata.dst_node_id for message in sent if "arrays" in message.content} for sent, _ in grid.exchanges
    ]
    cohorts = [nodes for nodes in trained if nodes]
    assert [len(nodes) for nodes in cohorts] == [6] * 4
    assert len(set(map(frozenset, cohorts))) > 1


def test_evaluation_is_a_secure_sum_too() -> None:
    strategy = SecAgg(
        plain(fraction_evaluate=1.0, min_evaluate_nodes=NODES), **settings(evaluate_metrics={"accuracy": 1.0})
    )
    grid = LocalGrid(app_with(secagg_mod), NODES)
    result = run(strategy, grid, rounds=2)
    weights = np.arange(1, NODES + 1)
    for turn in (1, 2):
        mean = (weights * np.arange(NODES) / 8).sum() / weights.sum()
        assert result.evaluate_metrics_clientapp[turn]["accuracy"] == pytest.approx(mean, abs=1e-5)
    assert all(not reply.content.metric_records for _, replies in grid.exchanges for reply in replies)


def test_a_site_answers_only_inside_secure_sums_but_for_queries() -> None:
    grid = LocalGrid(app_with(secagg_mod), NODES)
    messages = [
        Message(RecordDict({"arrays": record(START), "config": ConfigRecord({"server-round": 1})}), 101, kind)
        for kind in ("train", "evaluate", "query")
    ]
    train, evaluate, query = grid.send_and_receive(messages)
    assert "only inside secure sums" in train.error.reason
    assert "only inside secure sums" in evaluate.error.reason
    assert query.content["c"]["alive"]


def test_a_stranger_to_the_roster_and_a_server_that_asks_for_less_get_nothing(tmp_path: Path) -> None:
    secrets, roster = identities()
    strangers, _ = simulated_identities(secrets)
    mixed = {**secrets, 30: strangers[30]}
    grid = LocalGrid(app_with(active_mod(mixed, roster, tmp_path / "mixed")), NODES)
    result = run(SecAgg(plain(), **settings(adversary="active", roster=roster)), grid, rounds=1)
    assert result.train_metrics_clientapp  # five members without the stranger
    told = [message for sent, _ in grid.exchanges for message in sent if message.metadata.dst_node_id == 106]
    assert all(set(message.content) == {records.WHO} for message in told)
    insists = LocalGrid(app_with(active_mod(secrets, roster, tmp_path)), NODES)
    run(SecAgg(plain(), **settings()), insists, rounds=1)
    assert all("C5" in reply.error.reason for reply in insists.exchanges[0][1])


def test_a_server_that_swaps_the_model_of_one_site_is_found_out() -> None:
    grid = LocalGrid(app_with(secagg_mod), NODES)
    strategy = SecAgg(plain(), **settings())
    inside = strategy.configure_train

    def two_faced(*args: Any) -> list[Message]:
        messages = list(inside(*args))
        messages[0].content["arrays"] = record({k: v + 1 for k, v in START.items()})
        return messages

    strategy.configure_train = two_faced  # type: ignore[method-assign]
    run(strategy, grid, rounds=1)
    answers = [reply.content[records.PARCELS].get("failed") for reply in grid.exchanges[2][1]]
    assert answers.count("no update") == 1


def test_flowers_own_noise_goes_around_the_secure_sum() -> None:
    strategy = flower.DifferentialPrivacyClientSideFixedClipping(
        SecAgg(plain(), **settings()), noise_multiplier=1e-6, clipping_norm=1.0, num_sampled_clients=NODES
    )
    result = run(strategy, LocalGrid(app_with(secagg_mod, fixedclipping_mod), NODES), rounds=1)
    expected = run(plain(), LocalGrid(app_with(), NODES), rounds=1)
    close(result, expected)


def test_only_included_arrays_are_sent_and_the_others_keep_the_servers_values() -> None:
    grid = LocalGrid(app_with(secagg_mod), NODES)
    result = run(SecAgg(plain(), **settings(include="layer.bias")), grid, rounds=1)
    np.testing.assert_array_equal(result.arrays["layer.weight"].numpy(), START["layer.weight"])
    assert np.abs(result.arrays["layer.bias"].numpy() - START["layer.bias"]).min() > 0.05


def test_a_cnn_on_digits_is_as_good_as_without_masks() -> None:
    report = digits_simulation.compare(LocalGrid(digits_simulation.app, 6), nodes=6, rounds=6)
    check_digits(report)


def check_digits(report: dict[str, dict[str, Any]]) -> None:
    assert report["secure"]["rounds"] == report["plain"]["rounds"] == [1, 2, 3, 4, 5, 6]
    assert report["plain"]["accuracy"] > 0.85
    assert abs(report["secure"]["accuracy"] - report["plain"]["accuracy"]) <= 0.01


def private_terms(unit: str = "site") -> tuple[dict[str, Any], Any]:
    """Keys of a strategy whose rounds are private, and the fit behind them."""
    goal = Goal(epsilon=4.0, delta=1e-5, releases=2, least_survivors=5, colluders=1)
    found = fit(goal, clients=NODES, dim=17, clip=1.0, unit=unit, width=20)
    assert isinstance(found, Fitted)
    return {"quantization": found.quantization, "privacy": found.privacy, "threshold": 5, "max_examples": None}, found


def test_private_rounds_are_charged_at_the_site_and_noised() -> None:
    terms, found = private_terms()
    sites: dict[int, SitePrivacy] = {}

    def privacy(context: Context) -> SitePrivacy:
        place = context.node_config["partition-id"]
        if place not in sites:
            config = RoundConfig(tuple(range(1, NODES + 1)), quant.Layout.of(START), **without_examples(terms))
            sites[place] = SitePrivacy.rehearsal(config.privacy_terms)
        return sites[place]

    mod = SecAggMod(privacy=privacy)
    strategies = [SecAgg(plain(), **terms, study=f"try {number}") for number in range(2)]
    results = [run(strategy, LocalGrid(app_with(mod), NODES), rounds=1) for strategy in strategies]
    first, second = (result.arrays["layer.weight"].numpy() for result in results)
    assert not np.array_equal(first, second)  # the noise
    sigma = found.privacy.expected_noise(NODES, NODES, 1.0)
    assert sigma.honest >= sigma.target > 0
    assert all(2 < site.ledger.epsilon(site.cohort) <= 4 for site in sites.values())  # both releases


def without_examples(terms: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in terms.items() if key != "max_examples"}


def test_a_site_without_a_ledger_refuses_private_rounds_and_a_private_site_all_others() -> None:
    terms, _ = private_terms()
    grid = LocalGrid(app_with(secagg_mod), NODES)
    run(SecAgg(plain(), **terms), grid, rounds=1)
    assert all("privacy" in reply.error.reason for reply in grid.exchanges[0][1])

    def no_ledger(context: Context) -> SitePrivacy:
        return object.__new__(SitePrivacy)

    insists = LocalGrid(app_with(SecAggMod(privacy=no_ledger)), NODES)
    run(SecAgg(plain(), **settings()), insists, rounds=1)
    assert all("private rounds only" in reply.error.reason for reply in insists.exchanges[0][1])


def test_privacy_that_an_app_cannot_promise_is_refused() -> None:
    patient, _ = private_terms("patient")
    with pytest.raises(UsageError, match='unit="site"'):
        SecAgg(plain(), **patient)
    site, _ = private_terms()
    with pytest.raises(UsageError, match="nothing leaves a site"):
        SecAgg(plain(), **{**site, "metrics": METRICS})
