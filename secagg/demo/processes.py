"""``secagg demo --processes``: the demo's training in a real consortium, every party a process, over TLS on loopback.

The whole ceremony runs as on real machines: keys, roster, signatures, ``secagg serve`` and one ``secagg join`` a site.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from secagg.demo.config import DemoConfig, update_limit
from secagg.study.loopback import Loopback
from secagg.study.receipt import Receipt

TASK = "secagg.demo.site_task:train"


@dataclass(frozen=True)
class ProcessesResult:
    """What the processes did.

    Attributes:
        config: what was run.
        receipts: the coordinator's signed word on every round, in order.
        accuracy: of the last weights on all test examples.
        accuracy_plain: of plain federated averaging in floats, from the same start.
        seconds: from the start of the coordinator to the end of the last site.
        round_seconds: of every round after the first, which waits for processes to load.
    """

    config: DemoConfig
    receipts: tuple[Receipt, ...]
    accuracy: float
    accuracy_plain: float
    seconds: float
    round_seconds: tuple[float, ...]


def run_processes(config: DemoConfig, progress: Callable[[int], object] = lambda _: None) -> ProcessesResult:
    """Run the demo's study with one process a party.

    Args:
        config: what to run; drop-outs are left to chance here, nobody is made to vanish.
        progress: called with the number of finished rounds.

    Raises:
        RoundRefused: a process failed, or the study took too long.
    """
    with tempfile.TemporaryDirectory(prefix="secagg-demo-") as made:
        loopback = _study(Path(made), config)
        started = time.perf_counter()
        ends = loopback.run(progress)
        return _judge(loopback, config, time.perf_counter() - started, ends)


def _study(home: Path, config: DemoConfig) -> Loopback:
    from secagg.demo import site_task

    return Loopback.create(
        home,
        f"demo {config.dataset}",
        sites=config.sites,
        task=TASK,
        initial=site_task.initial,
        options=(
            f'dataset = "{config.dataset}"\nsites = {config.sites}\nrounds = {config.rounds}\n'
            f'skew = "{config.skew}"\nseed = {config.seed}\n'
        ),
        settings={
            "rounds": config.rounds,
            "bits": config.bits,
            "range": config.range or update_limit(0, config.rounds),
            "max_examples": 100_000,
        },
    )


def _judge(loopback: Loopback, config: DemoConfig, seconds: float, ends: tuple[float, ...]) -> ProcessesResult:
    """Read the receipts, measure the weights, and train the plain federation beside them."""
    import torch

    from secagg.demo import site_task
    from secagg.demo.training import moved, plain_mean

    receipts = loopback.receipts()
    here = site_task.consortium(loopback.study.task)
    accuracy = here.accuracy({name: torch.from_numpy(array) for name, array in loopback.last_weights().items()})
    plain = here.start
    for said in receipts:
        updates = {site: here.local_update(site, said.round, plain) for site in said.included}
        plain = moved(plain, plain_mean(updates, here.weights)) if updates else plain
    gaps = tuple(later - earlier for earlier, later in pairwise(ends))
    return ProcessesResult(config, receipts, accuracy, here.accuracy(plain), seconds, gaps)
