"""Tries scale-out over Ray on this machine: a sum unmasked by tasks, and a cohort in shards.

    python -m secagg.integrations.ray.trial clients=60 dim=10000 shards=6 dropped=6

The last line of the output is a report in JSON.
"""

from __future__ import annotations

import logging
import sys
import time

import numpy as np
import ray

import quant
from secagg.config import RoundConfig
from secagg.inprocess import InProcessRound
from secagg.integrations.ray import ray_map
from secagg.integrations.trial import arguments, write
from secagg.simulate.run import MODEL_HASH, Simulation, Synthetic, shards_to_json, simulate_shards

if __name__ == "__main__":
    given = arguments(sys.argv[1:], clients=60, dim=10_000, shards=6, dropped=6, workers=2)
    simulation = Simulation(clients=given["clients"], dim=given["dim"], dropout=float(given["dropped"]))
    ray.init(num_cpus=given["workers"], include_dashboard=False, logging_level=logging.ERROR)
    started = time.perf_counter()
    opened = simulate_shards(simulation, given["shards"], ray_map)
    report = {"engine": "Ray", "versions": f"ray {ray.__version__}"}
    report |= shards_to_json(simulation, opened, time.perf_counter() - started)

    few, source = min(given["clients"], 20), Synthetic(simulation)
    config = RoundConfig(
        clients=tuple(range(1, few + 1)),
        layout=quant.Layout.of(np.zeros(given["dim"], np.float32)),
        quantization={"bits": 8, "range": 4.0},
    )
    running = InProcessRound(
        config, MODEL_HASH, dropouts={1: "masked-input"}, workers=2 * given["workers"], elsewhere=ray_map
    )
    running.run(lambda client, session: session.prepare(source(client)))
    ray.shutdown()
    write({**report, "unmasked_exact": running.record.exact, "unmask_seconds": running.record.server_seconds["open"]})
