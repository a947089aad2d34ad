"""The demo's loop: each round trains two federations, averages one securely and one in floats, and measures.

Both start from the same weights and lose the same sites in the same rounds. A site's batches depend on the
seed, the round and the site only, so while the two models agree, the two sets of updates agree.
"""

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from secagg.aggregate import aggregate
from secagg.demo.config import DemoConfig
from secagg.demo.models import State, model_hash, one_torch_thread, parameter_count
from secagg.demo.result import DemoResult, RoundOutcome, ServerView
from secagg.demo.training import Consortium, moved, plain_mean


class Progress(Protocol):
    """Called after every round with its outcome."""

    def __call__(self, outcome: RoundOutcome, /) -> object: ...


def run(config: DemoConfig, progress: Progress = lambda _: None) -> DemoResult:
    """Run the whole demo.

    Args:
        config: what to run.
        progress: called after every round.

    Raises:
        UsageError: more sites than the data set can serve.
        ValueError: whatever `secagg.aggregate` refuses about the grid or the cohort.
    """
    started = perf_counter()
    with one_torch_thread():
        federations = _Federations(config)
        outcomes = []
        for round_index in range(config.rounds):
            outcome = federations.advance(round_index)
            outcomes.append(outcome)
            progress(outcome)
    return DemoResult(
        config=config,
        parameters=parameter_count(federations.consortium.start),
        enrolment=federations.consortium.enrolment,
        examples=federations.consortium.weights,
        rounds=tuple(outcomes),
        view=federations.view,
        seconds=perf_counter() - started,
    )


class _Federations:
    """Two models trained by one consortium: ``secure`` through the protocol, ``plain`` in floats."""

    def __init__(self, config: DemoConfig) -> None:
        self.config = config
        self.consortium = Consortium(config)
        self.secure = self.plain = self.consortium.start
        self.view: ServerView

    def advance(self, round_index: int) -> RoundOutcome:
        """Run one round of both."""
        train = _Stopwatch(self.consortium.local_update)
        before, started = self.secure, perf_counter()
        result = aggregate(
            {site: partial(train, site, round_index, before) for site in self.consortium.sites},
            weights=self.consortium.weights,
            max_weight=self.consortium.enrolment,
            reduce="mean",
            quantization={"bits": self.config.bits, "range": self.config.grid_range, "rounding": "stochastic"},
            threshold=self.config.threshold,
            dropouts=self.config.dropouts(round_index),
            model_hash=model_hash(before),
            study="demo",
            round_index=round_index,
        )
        seconds_crypto = perf_counter() - started - train.seconds
        self.secure = moved(before, result.value)
        self.plain = self._plain_round(round_index, result.included)
        if round_index == self.config.rounds - 1:
            # The site's true update never left it; training is repeatable, so it is computed once more.
            shown = self.consortium.local_update(min(result.included), round_index, before)
            self.view = ServerView(
                site=min(result.included),
                update=_flat(shown),
                masked=result.record.masked_preview,
                modulus_bits=result.record.modulus_bits,
                mean=_flat(result.value),
            )
        return RoundOutcome(
            round_index=round_index,
            accuracy=self.consortium.accuracy(self.secure),
            accuracy_plain=self.consortium.accuracy(self.plain),
            dropouts=self.config.dropouts(round_index),
            included=tuple(result.included),
            exact=result.record.exact,
            saturated=result.record.saturated,
            uplink_bytes=result.record.uplink_bytes,
            downlink_bytes=result.record.downlink_bytes,
            seconds_crypto=seconds_crypto,
            seconds_training=train.seconds,
        )

    def _plain_round(self, round_index: int, included: Sequence[int]) -> State:
        updates = {site: self.consortium.local_update(site, round_index, self.plain) for site in included}
        return moved(self.plain, plain_mean(updates, self.consortium.weights))


class _Stopwatch:
    """Calls ``train`` and adds up the time it takes, so that training inside the protocol is not its cost."""

    def __init__(self, train: Callable[[int, int, State], State]) -> None:
        self.seconds = 0.0
        self._train = train

    def __call__(self, site: int, round_index: int, weights: State) -> State:
        started = perf_counter()
        try:
            return self._train(site, round_index, weights)
        finally:
            self.seconds += perf_counter() - started


def _flat(state: State) -> NDArray[np.float32]:
    """All coordinates of ``state`` in one float32 vector."""
    flat: NDArray[np.float32] = torch.cat([tensor.flatten() for tensor in state.values()]).numpy()
    return flat
