"""Accuracy against epsilon, on real patients' data and through the real protocol: an illustration of few runs.

The study, with its standard errors and over drop-outs, is ``secagg demo --sweep epsilon``; this is its machinery with
one number of drop-outs and few seeds.
"""

from __future__ import annotations

from secagg.bench.measure import Effort, Row
from secagg.extras import require

DATASET = "digits"
EPSILONS = (0.5, 1.0, 3.0, 8.0)
QUICK_EPSILONS = (1.0, 8.0)
DROPPED = 2
SEEDS = 2
QUICK_ROUNDS = 8


def bench(effort: Effort) -> list[Row]:
    """Train at each epsilon, with the noise of all sites inside the sum, beside three that see or add it otherwise.

    A row's accuracies (0 to 1, mean over the seeds from 0 on): ``distributed`` is secagg, ``trusted`` a server that
    sees every update and adds the least noise, ``local`` noise that each site adds for itself, ``open`` no noise.

    Raises:
        UsageError: scikit-learn, which holds the data, is not installed.
    """
    require("secagg bench epsilon", "bench", "sklearn")
    from secagg.demo.private.result import ARMS
    from secagg.demo.private.setting import ROUNDS, PrivateConfig
    from secagg.demo.private.study import run_study

    config = PrivateConfig(dataset=DATASET, rounds=QUICK_ROUNDS if effort.quick else ROUNDS)
    seeds = range(effort.repeats(SEEDS))
    effort.tick("loading")
    study = run_study(
        config, seeds, effort.tick, epsilons=QUICK_EPSILONS if effort.quick else EPSILONS, dropouts=(DROPPED,)
    )
    return [
        {
            "dataset": config.dataset,
            "sites": config.sites,
            "rounds": config.rounds,
            "dropped": cell.dropouts,
            "seeds": cell.runs,
            "epsilon": cell.epsilon,
            **{arm: cell.accuracy[arm] for arm in ARMS},
            "exact": cell.exact,
        }
        for cell in study.cells
    ]
