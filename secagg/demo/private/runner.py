"""The private demo's loop: each round advances all federations, over the same survivors, and measures them."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from secagg.demo.private.baselines import Baseline
from secagg.demo.private.federation import Distributed
from secagg.demo.private.hospitals import Hospitals
from secagg.demo.private.learner import accuracy
from secagg.demo.private.result import PrivateResult, PrivateRound
from secagg.demo.private.setting import PrivateConfig
from secagg.transcript.chain import Transcript

Progress = Callable[[PrivateRound], object]
"""Called after every round with its outcome."""


def run(
    config: PrivateConfig, progress: Progress = lambda _: None, transcript: Transcript | None = None
) -> PrivateResult:
    """Run the whole demo.

    Args:
        config: what to run.
        progress: called after every round.
        transcript: keeps the evidence for an auditor; of the last round also the masked inputs, which prove its sum.

    Raises:
        UsageError: no noise on this grid keeps the promise, or more sites than there are patients for.
    """
    started = perf_counter()
    hospitals = Hospitals.deal(config.dataset, config.sites, config.skew, config.seed)
    secure = Distributed(config, hospitals, transcript)
    others = {
        "trusted": Baseline(config, hospitals),
        "local": Baseline(config, hospitals, noise="local"),
        "open": Baseline(config, hospitals, noise="none"),
    }
    outcomes = []
    for round_index in range(config.rounds):
        last = secure.advance(round_index, last=round_index == config.rounds - 1)
        for other in others.values():
            other.advance(last.opened.included)
        weights = {"distributed": secure.weights, **{name: other.weights for name, other in others.items()}}
        outcomes.append(
            PrivateRound(
                round_index=round_index,
                accuracy={name: accuracy(found, hospitals.test) for name, found in weights.items()},
                epsilon=secure.fitted.calibration.cost.times(round_index + 1).epsilon(config.delta)[0],
                ledgers=secure.spent(),
                dropouts=last.dropouts,
                included=last.opened.included,
                record=last.record,
                removed=last.opened.excess is not None,
                noise=last.noise / config.central_sigma,
                seconds=last.seconds,
            )
        )
        progress(outcomes[-1])
    if transcript is not None:
        transcript.end()
    return PrivateResult(
        config=config,
        fitted=secure.fitted,
        parameters=secure.weights.size,
        examples={site: len(patients) for site, patients in hospitals.sites.items()},
        rounds=tuple(outcomes),
        seconds=perf_counter() - started,
    )
