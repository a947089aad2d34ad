"""The demo's loop: each round trains two federations, averages one securely and one in floats, and measures.

Both start from the same weights and lose the same sites in the same rounds. A site's batches depend on the
seed, the round and the site only, so while the two models agree, the two sets of updates agree.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from time import perf_counter

from protocols.pairwise import LocalPolicy
from secagg.aggregate import Aggregate, aggregate
from secagg.demo.config import DemoConfig
from secagg.demo.models import State, model_hash, one_torch_thread, parameter_count
from secagg.demo.result import DemoResult, RoundOutcome
from secagg.demo.training import Consortium, moved, plain_mean
from secagg.inprocess import simulated_identities
from secagg.record import RoundRecord
from secagg.transcript.chain import Transcript, study_record
from secagg.witness import StudyWitness

Progress = Callable[[RoundOutcome], object]
"""Called after every round with its outcome."""

FACTS = {
    "purpose": "A demonstration: hospitals that exist in this process only train a classifier together.",
    "data": "A public data set of scikit-learn, split over the sites; no patient's record leaves its site.",
    "recipients": "The coordinator and every site receive the sum of each round, and with it the trained model.",
    "retention": "Round keys live as long as the process; this transcript stays until somebody deletes it.",
}


def run(config: DemoConfig, progress: Progress = lambda _: None, transcript: Transcript | None = None) -> DemoResult:
    """Run the whole demo.

    Args:
        config: what to run.
        progress: called after every round.
        transcript: keeps the evidence for an auditor; of the last round also the masked inputs, which prove its sum.

    Raises:
        UsageError: more sites than the data set can serve.
        quant.QuantError: a grid that this cohort overflows.
    """
    started = perf_counter()
    with one_torch_thread():
        federations = _Federations(config, transcript)
        outcomes = []
        for round_index in range(config.rounds):
            outcome = federations.advance(round_index)
            outcomes.append(outcome)
            progress(outcome)
    if transcript is not None:
        transcript.end()
    view = federations.record.view
    if view is None:
        raise RuntimeError("the last round was asked for a view and kept none")
    return DemoResult(
        config=config,
        parameters=parameter_count(federations.consortium.start),
        enrolment=federations.consortium.enrolment,
        examples=federations.consortium.weights,
        rounds=tuple(outcomes),
        view=view,
        field_bits=federations.record.field_bits,
        seconds=perf_counter() - started,
    )


class _Federations:
    """Two models trained by one consortium: ``secure`` through the protocol, ``plain`` in floats."""

    def __init__(self, config: DemoConfig, transcript: Transcript | None) -> None:
        self.config = config
        self.study = f"demo {config.dataset}"
        self.identities, roster = simulated_identities(range(1, config.sites + 1))
        self.witness = None if transcript is None else StudyWitness(transcript, self.identities)
        if transcript is not None:
            policy = LocalPolicy(adversary="active", roster=roster)
            transcript.append(study_record(self.study, f"secagg {version('secagg')}", policy, FACTS))
        self.consortium = Consortium(config)
        self.secure = self.plain = self.consortium.start
        self.record: RoundRecord

    def advance(self, round_index: int) -> RoundOutcome:
        """Run one round of both."""
        train = _Stopwatch(self.consortium.local_update)
        started = perf_counter()
        result = self._secure_round(round_index, train)
        seconds = perf_counter() - started
        self.secure = moved(self.secure, result.value)
        self.plain = self._plain_round(round_index, result.included)
        self.record = record = result.record
        return RoundOutcome(
            round_index=round_index,
            accuracy=self.consortium.accuracy(self.secure),
            accuracy_plain=self.consortium.accuracy(self.plain),
            dropouts=result.dropped,
            included=result.included,
            exact=record.exact,
            saturated=record.saturated,
            range=self.config.grid_range(round_index),
            uplink_bytes=record.uplink_bytes,
            downlink_bytes=record.downlink_bytes,
            seconds_crypto=seconds - train.seconds,
            seconds_training=train.seconds,
        )

    def _secure_round(self, round_index: int, train: Callable[[int, int, State], State]) -> Aggregate:
        """Average the sites' updates through the protocol; each trains when its turn to send comes."""
        weights, config = self.consortium.weights, self.config
        last = round_index == config.rounds - 1
        return aggregate(
            {site: partial(train, site, round_index, self.secure) for site in weights},
            weights=weights,
            max_weight=self.consortium.enrolment,
            quantization={"bits": config.bits, "range": config.grid_range(round_index)},
            threshold=config.threshold,
            dropouts=config.dropouts(round_index),
            model_hash=model_hash(self.secure),
            study=self.study,
            round_index=round_index,
            view=last,
            identities=self.identities,
            witness=self.witness,
            keep_evidence=last,
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
