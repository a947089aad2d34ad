"""A cohort in shards, and unmasking in other processes: the same sums, and nothing secret on the way."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import quant
from protocols import Secret
from protocols.pairwise import masking
from protocols.pairwise.masking import UnmaskTask, run_unmask_task
from secagg import RoundConfig, RoundRefused, UsageError
from secagg.inprocess import InProcessRound
from secagg.shards import run_shards, shard_rounds
from secagg.simulate.run import Simulation, Synthetic, simulate_shards

DIM = 5000


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, get_context("spawn")) as workers:
        yield workers


def config(clients: int, **more: object) -> RoundConfig:
    layout = quant.Layout.of(np.zeros(DIM, np.float32))
    return RoundConfig(tuple(range(1, clients + 1)), layout, {"bits": 8, "range": 4.0}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", ["secagg", "secagg+"])
def test_masks_come_off_in_other_processes(pool: ProcessPoolExecutor, protocol: str) -> None:
    source = Synthetic(Simulation(dim=DIM))
    running = InProcessRound(
        config(7, protocol=protocol), bytes(32), dropouts={2: "masked-input"}, workers=3, elsewhere=pool.map
    )
    opened = running.run(lambda client, session: session.prepare(source(client)))
    assert running.record.exact
    assert opened.included == (1, 3, 4, 5, 6, 7)


def test_what_travels_to_a_worker_holds_no_seed_and_shows_no_key() -> None:
    tasks: list[UnmaskTask] = []

    def spy(function: object, items: list[UnmaskTask]) -> list[np.ndarray]:
        tasks.extend(pickle.loads(pickle.dumps(items)))
        return [run_unmask_task(item) for item in items]

    seeds: list[bytes] = []
    derive = masking.MaskContext.key

    def key(self: masking.MaskContext, term: masking.MaskTerm, spec: object) -> bytes:
        seeds.append(term.seed.reveal())
        return derive(self, term, spec)  # type: ignore[arg-type]

    source = Synthetic(Simulation(dim=DIM))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masking.MaskContext, "key", key)
        running = InProcessRound(config(5), bytes(32), elsewhere=spy)
        running.run(lambda client, session: session.prepare(source(client)))
    assert running.record.exact
    assert {len(task.streams) for task in tasks} == {5}  # the self masks of five survivors
    travelled = pickle.dumps(tasks)
    assert all(seed not in travelled for seed in seeds)
    keys = [key for task in tasks for key, _ in task.streams]
    assert all(key.hex() not in repr(tasks) and repr(key) not in repr(tasks) for key in keys)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(bytes(32)))


def test_a_cohort_in_shards_has_the_sum_of_the_cohort(pool: ProcessPoolExecutor) -> None:
    simulation = Simulation(clients=20, dim=DIM, dropout=2)
    opened = simulate_shards(simulation, 4, pool.map)
    gone = set(simulation.dropouts())
    assert opened.exact
    assert set(opened.included) == set(range(1, 21)) - gone
    updates = [Synthetic(simulation)(client).astype(float).clip(-4, 4) for client in opened.included]
    np.testing.assert_allclose(opened.mean, np.mean(updates, axis=0), atol=8 / 255)  # one step of the grid


@pytest.mark.parametrize("shards", [0, 7, 20])
def test_a_shard_is_as_large_as_a_cohort_must_be(shards: int) -> None:
    with pytest.raises(UsageError, match="at least 3 clients"):
        shard_rounds(config(20), shards)


def test_shards_are_rounds_of_their_own() -> None:
    parts = shard_rounds(config(20), 3)
    assert [len(part.clients) for part in parts] == [7, 6, 7]
    assert len({part.params.hash() for part in parts}) == 3
    with pytest.raises(UsageError, match="thresholds themselves"):
        shard_rounds(config(20, threshold=14), 3)


def test_a_shard_that_loses_too_many_is_left_out_and_opens_nothing() -> None:
    source = Synthetic(Simulation(dim=DIM))
    gone = dict.fromkeys(range(1, 5), "masked-input")
    opened = run_shards(config(14), 2, bytes(32), source, dropouts=gone)
    assert opened.included == tuple(range(8, 15))
    assert "threshold" in opened.shards[0].refused or "needs" in opened.shards[0].refused
    assert opened.shards[0].total is None
    with pytest.raises(RoundRefused, match="no shard"):
        run_shards(config(14), 2, bytes(32), source, dropouts=dict.fromkeys(range(1, 13), "masked-input"))
