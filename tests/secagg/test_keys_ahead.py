"""What rounds whose keys are agreed ahead need: a model named late, sessions kept across restarts, masked metrics."""

from __future__ import annotations

import numpy as np
import pytest

import quant
from protocols import LocalProtocolError, ParameterError, RemoteProtocolError
from protocols.pairwise import MemoryLedger
from secagg import ClientSession, RoundConfig, ServerSession, UsageError

MODEL, OTHER = b"m" * 32, b"o" * 32
CLIENTS = (1, 2, 3, 4)
METRICS = {"loss": 4.0, "accuracy": 1.0}


def config(**more: object) -> RoundConfig:
    layout = quant.Layout.of(np.zeros(50))
    return RoundConfig(clients=CLIENTS, layout=layout, quantization={"bits": 16}, threshold=3, **more)  # type: ignore[arg-type]


def keyed(setting: RoundConfig) -> tuple[ServerSession, dict[int, ClientSession]]:
    """A round where everybody shared keys and nobody knows the model."""
    server = ServerSession(setting, bytes(32))
    sites = {client: ClientSession(setting, client) for client in CLIENTS}
    for client, site in sites.items():
        server.receive(client, site.start())
    for client, frame in server.advance():
        for answer in sites[client].receive(frame):
            server.receive(client, answer)
    return server, sites


def finish(server: ServerSession, sites: dict[int, ClientSession], **metrics: dict[int, dict[str, float]]) -> None:
    for client, frame in server.advance():
        sites[client].receive(frame)
        values = metrics["metrics"][client] if metrics else None
        for answer in sites[client].submit(np.full(50, client / 8), MODEL, metrics=values):
            server.receive(client, answer)
    for client, frame in server.advance():
        for answer in sites[client].receive(frame):
            server.receive(client, answer)
    server.advance()


def test_the_model_is_named_after_the_keys() -> None:
    server, sites = keyed(config())
    server.bind_model(MODEL)
    finish(server, sites)
    assert server.result().mean == pytest.approx(np.full(50, 10 / 32), abs=1e-4)


def test_a_model_that_was_not_named_is_refused_by_the_sites() -> None:
    server, sites = keyed(config())
    server.bind_model(OTHER)
    with pytest.raises(RemoteProtocolError, match="C20"):
        finish(server, sites)


def test_the_model_is_not_changed_once_sites_heard_of_it() -> None:
    server, _ = keyed(config())
    with pytest.raises(ParameterError):
        server.bind_model(b"short")
    server.advance()
    with pytest.raises(LocalProtocolError, match="told of a model"):
        server.bind_model(MODEL)


def test_a_site_goes_on_from_its_snapshot() -> None:
    setting = config()
    server, sites = keyed(setting)
    server.bind_model(MODEL)
    sites = {
        client: ClientSession.restore(setting, client, site.snapshot(), ledger=MemoryLedger())
        for client, site in sites.items()
    }
    finish(server, sites)
    assert server.result().included == CLIENTS


def test_a_ledger_outlives_its_session() -> None:
    ledger = MemoryLedger()
    for _ in range(4):
        ClientSession(config(), 1, ledger=ledger)
    with pytest.raises(RemoteProtocolError, match="C30"):
        ClientSession(config(), 1, ledger=ledger)


def test_metrics_are_opened_as_means_only() -> None:
    server, sites = keyed(config(metrics=METRICS))
    server.bind_model(MODEL)
    finish(server, sites, metrics={c: {"loss": c / 2, "accuracy": 1 / c} for c in CLIENTS})
    opened = server.result()
    assert opened.metrics["loss"] == pytest.approx(1.25, abs=4 / 2**20)
    assert opened.metrics["accuracy"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4, abs=1 / 2**20)


@pytest.mark.parametrize("values", [None, {"loss": 1.0}, {"loss": 1.0, "accuracy": np.nan}])
def test_other_metrics_than_agreed_are_refused(values: dict[str, float] | None) -> None:
    server, sites = keyed(config(metrics=METRICS))
    for client, frame in server.advance():
        sites[client].receive(frame)
    with pytest.raises(UsageError, match="metric"):
        sites[1].prepare(np.zeros(50), metrics=values)


@pytest.mark.fast
def test_metrics_are_part_of_what_sites_agree_on() -> None:
    tasks = {config(metrics=metrics).task for metrics in ({}, METRICS, {**METRICS, "loss": 5.0})}
    assert len(tasks) == 3
    for wrong in ({"": 1.0}, {"loss": 0.0}, {"loss": float("inf")}, {"loss": True}):
        with pytest.raises(UsageError, match="metric"):
            config(metrics=wrong)
    with pytest.raises(UsageError, match="64 fit"):
        config(metrics=METRICS, max_weight=2**50)


@pytest.mark.fast
def test_a_metric_beyond_its_bound_is_named() -> None:
    grid = config(metrics=METRICS).metric_grid
    assert grid.cut({"loss": 9.0, "accuracy": 1.0}) == ("loss",)
    assert grid.decode(grid.encode({"loss": 9.0, "accuracy": -1.0}, 3), 3) == {"accuracy": -1.0, "loss": 4.0}
