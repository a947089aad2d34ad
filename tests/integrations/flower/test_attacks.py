"""Attacks of an active server on the Flower adapter: each wins where its repair is taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.serverapp import strategy as flower

from protocols import Secret
from protocols.pairwise import LocalPolicy, Roster
from secagg import UsageError
from secagg.contribution import Contribution
from secagg.integrations.flower import SecAgg, SecAggMod, records
from secagg.integrations.member import MemberRounds
from secagg.integrations.parcel import Parcel
from tests.integrations.flower.test_flower import NODES, START, active_mod, identities, plain, record, run
from tests.support.flower_grid import LocalGrid

VICTIM = 103


def app_that_obeys(mod: SecAggMod) -> ClientApp:
    """Trains at the rate that the server or the run names; has a metric that is zero, and an action that does nothing.

    Each time it trains, it comes to something else.
    """
    app, turns = ClientApp(mods=[mod]), [0]

    def train(message: Message, context: Context, rate: float) -> Message:
        turns[0] += 1
        rate *= float(message.content["config"].get("lr", 1.0)) * float(context.run_config.get("lr", 1.0))
        step = np.float32(rate * (context.node_config["partition-id"] + 1) / 64 + rate * turns[0] / 1024)
        moved = record({name: array.numpy() + step for name, array in message.content["arrays"].items()})
        numbers = MetricRecord({"num-examples": 3, "skipped": 0})
        return Message(RecordDict({"a": moved, "m": numbers}), reply_to=message)

    app.train()(lambda message, context: train(message, context, 1.0))
    app.train("nothing")(lambda message, context: train(message, context, 0.0))
    return app


Change = Callable[[Message], None]


class TwoFaced(LocalGrid):
    """A server that asks all but one site for something else, where it asks for updates."""

    def __init__(self, app: ClientApp, change: Change) -> None:
        super().__init__(app, NODES)
        self._change = change

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        sent = list(messages)
        for message in sent:
            if "arrays" in message.content and message.metadata.dst_node_id != VICTIM:
                self._change(message)
        return super().send_and_receive(sent, timeout=timeout)


def another_rate(message: Message) -> None:
    message.content["config"] = ConfigRecord({**message.content["config"], "lr": 0.0})


def another_weight(message: Message) -> None:
    message.content[records.PARCELS]["weight-key"] = "skipped"


def another_function(message: Message) -> None:
    message.metadata.message_type = "train.nothing"


def another_record(message: Message) -> None:
    message.content["more"] = MetricRecord({"lr": 0.0})


def secure(roster: Roster, **more: Any) -> SecAgg:
    return SecAgg(plain(), max_examples=3, adversary="active", roster=roster, **more)


def updates_in(grid: LocalGrid) -> int:
    """How many sites masked an update."""
    (answers,) = [answers for sent, answers in grid.exchanges if any("arrays" in message.content for message in sent)]
    return sum("failed" not in answer.content[records.PARCELS] for answer in answers)


def attack(change: Change, tmp_path: Path) -> tuple[flower.Result, LocalGrid]:
    secrets, roster = identities()
    grid = TwoFaced(app_that_obeys(active_mod(secrets, roster, tmp_path)), change)
    return run(secure(roster), grid, rounds=1), grid


def test_a_server_that_tells_all_sites_the_same_gets_their_sum(tmp_path: Path) -> None:
    result, grid = attack(lambda message: None, tmp_path)
    assert result.train_metrics_clientapp
    assert updates_in(grid) == NODES


@pytest.mark.parametrize("change", [another_rate, another_weight, another_function, another_record])
def test_a_server_that_makes_all_other_updates_nothing_gets_no_sum(change: Change, tmp_path: Path) -> None:
    result, grid = attack(change, tmp_path)
    assert not result.train_metrics_clientapp
    assert updates_in(grid) == 1  # the victim's, which nobody can unmask


@pytest.mark.parametrize(("told", "included"), [({"lr": 1.0}, 1), (None, 0)])
def test_a_run_that_is_configured_otherwise_at_other_sites_gets_no_sum(
    told: dict[str, Any] | None, included: int, tmp_path: Path
) -> None:
    secrets, roster = identities()
    grid = LocalGrid(app_that_obeys(active_mod(secrets, roster, tmp_path)), NODES)
    for node, context in grid.contexts.items():
        context.run_config = {"lr": 1.0 if node == VICTIM else 0.0}
    result = run(secure(roster, run_config=told), grid, rounds=1)
    assert not result.train_metrics_clientapp
    assert updates_in(grid) == included


class Forgetful(LocalGrid):
    """A node's state is given back as it was before the site sent its update, and the request for it comes again."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__(app, NODES)
        self.answers: list[list[bytes]] = []

    def _deliver(self, message: Message) -> Message:
        context = self.contexts[message.metadata.dst_node_id]
        before = recorddict_to_proto(context.state)
        reply = super()._deliver(message)
        if "arrays" in message.content:
            context.state = recorddict_from_proto(before)
            again = super()._deliver(message)
            self.answers.append([self._masked(reply), self._masked(again)])
        return reply

    @staticmethod
    def _masked(reply: Message) -> bytes:
        return b"" if reply.has_error() else b"".join(reply.content[records.PARCELS]["frames/0"])


def forgetful(mod: Callable[[], SecAggMod], roster: Roster | None) -> list[list[bytes]]:
    grid = Forgetful(app_that_obeys(mod()))
    more: dict[str, Any] = {} if roster is None else {"adversary": "active", "roster": roster}
    run(SecAgg(plain(), max_examples=3, **more), grid, rounds=1)
    return grid.answers


def test_a_site_whose_state_is_given_back_older_masks_no_second_update(tmp_path: Path) -> None:
    secrets, roster = identities()
    answers = forgetful(lambda: active_mod(secrets, roster, tmp_path), roster)
    assert len(answers) == NODES
    assert all(first and not second for first, second in answers)


def test_without_a_folder_of_its_own_it_would(tmp_path: Path) -> None:
    answers = forgetful(SecAggMod, None)
    assert all(first and second and first != second for first, second in answers)


def test_a_site_answers_one_message_at_a_time(tmp_path: Path) -> None:
    secrets, roster = identities()
    told: list[str] = []
    mod = active_mod(secrets, roster, tmp_path)
    grid = LocalGrid(ClientApp(mods=[mod]), NODES)

    @grid.app.train()
    def train(message: Message, context: Context) -> Message:
        # Flower starts every message's process at once, each with the state of then.
        (sent,) = [sent for sent, _ in grid.exchanges[-1:]]
        told.append(str(grid._deliver(sent[0]).error.reason) if not told else "")
        arrays: ArrayRecord = message.content["arrays"]
        return Message(RecordDict({"a": arrays, "m": MetricRecord({"num-examples": 1})}), reply_to=message)

    run(secure(roster), grid, rounds=1)
    assert "another process works on" in told[0]


def test_an_active_server_is_not_met_without_a_folder() -> None:
    secrets, roster = identities()

    def identity(context: Context) -> Secret:
        return next(iter(secrets.values()))

    with pytest.raises(UsageError, match="give SecAggMod a folder"):
        SecAggMod(LocalPolicy(adversary="active", roster=roster), identity)


@pytest.mark.parametrize("error", [ValueError, KeyError, type("Diagnosis7", (Exception,), {})])
def test_how_training_fails_stays_at_the_site(error: type[Exception]) -> None:
    app = ClientApp(mods=[SecAggMod()])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        raise error("of patient 7")

    grid = LocalGrid(app, NODES)
    run(SecAgg(plain(), max_examples=3), grid, rounds=1)
    _, answers = grid.exchanges[2]
    assert [answer.content[records.PARCELS]["failed"] for answer in answers] == ["no update"] * NODES


def test_a_node_that_answers_something_else_does_not_end_the_run(tmp_path: Path) -> None:
    secrets, roster = identities()
    honest = active_mod(secrets, roster, tmp_path)

    def odd(message: Message, context: Context, call_next: Any) -> Message:
        if context.node_id != VICTIM:
            return honest(message, context, call_next)
        return Message(RecordDict({"odd": ConfigRecord()}), reply_to=message)

    grid = LocalGrid(ClientApp(mods=[odd]), NODES)
    grid.app.train()(
        lambda message, context: Message(
            RecordDict({"a": record(START), "m": MetricRecord({"num-examples": 1})}), reply_to=message
        )
    )
    assert run(secure(roster), grid, rounds=1).train_metrics_clientapp


def test_a_site_that_masks_what_is_on_no_grid_ends_its_round_and_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, turns = MemberRounds.contribute, [0]

    def lie(self: MemberRounds, *args: Any) -> tuple[Parcel, int]:
        turns[0] += 1
        session = self._session(args[0]).session
        prepare = session.prepare

        def prepared(*given: Any, **more: Any) -> Contribution:
            contribution = prepare(*given, **more)
            if turns[0] == 1:
                contribution.vectors["update"][:] = 300_000  # of 65535 at most; with the others' beyond any sum of six
            return contribution

        session.prepare = prepared  # type: ignore[method-assign]
        return honest(self, *args)

    monkeypatch.setattr(MemberRounds, "contribute", lie)
    grid = LocalGrid(app_that_obeys(SecAggMod()), NODES)
    result = run(SecAgg(plain(), max_examples=3), grid, rounds=2)
    assert list(result.train_metrics_clientapp) == [2]


def test_an_app_that_is_silent_at_all_other_sites_opens_one_whatever_masks_it() -> None:
    """A limit, and no defect (N9): sites run apps that they have read, or take part in private rounds."""
    app = ClientApp(mods=[SecAggMod()])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        loot = np.float32(0.75 if context.node_id == VICTIM else 0.0)
        moved = record({name: array.numpy() + loot for name, array in message.content["arrays"].items()})
        return Message(RecordDict({"a": moved, "m": MetricRecord({"num-examples": 1})}), reply_to=message)

    result = run(SecAgg(plain(), max_examples=None), LocalGrid(app, NODES), rounds=1)
    told = NODES * (result.arrays["layer.bias"].numpy() - START["layer.bias"])
    np.testing.assert_allclose(told, 0.75, atol=1e-3)


def test_the_same_question_is_not_answered_in_another_run_without_one_site(tmp_path: Path) -> None:
    secrets, roster = identities()

    def ask(study: str, nodes: int) -> set[str]:
        grid = LocalGrid(app_that_obeys(active_mod(secrets, roster, tmp_path)), nodes)
        strategy = SecAgg(
            plain(min_available_nodes=5), max_examples=3, adversary="active", roster=roster, study=study, threshold=4
        )
        run(strategy, grid, rounds=1)
        return {reply.error.reason[:5] for reply in grid.exchanges[-1][1] if reply.has_error()}

    assert ask("first", NODES) == set()
    assert ask("second", NODES - 1) == {"[C33]"}  # the difference would be the sixth's update


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_bound_below_a_sites_examples_does_not_tell_which_site_has_more(most: int) -> None:
    grid = LocalGrid(app_that_obeys(SecAggMod()), NODES)
    run(SecAgg(plain(), max_examples=most), grid, rounds=1)
    assert updates_in(grid) == NODES


WINDOW = {"exact_low": -40, "exact_high": -4}
"""A lossless grid takes no value of 2^-4 or more: here a question about every single site's update."""


@pytest.mark.parametrize(
    "grid_of_the_server", [WINDOW, {**WINDOW, "keep": [[0, 1]]}, {"modulus_bits": 8, "step": 1e-12}]
)
def test_a_grid_that_takes_no_large_values_is_refused_before_anybody_trains(grid_of_the_server: Any) -> None:
    grid = LocalGrid(app_that_obeys(SecAggMod()), NODES)
    run(SecAgg(plain(), max_examples=None, quantization=grid_of_the_server), grid, rounds=1)
    ((_, answers),) = grid.exchanges
    assert all("from a server" in answer.error.reason for answer in answers)
