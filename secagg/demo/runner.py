"""The demo's loop: each round trains two federations, averages one securely and one in floats, and measures.

Both start from the same weights and lose the same sites in the same rounds. A site's batches depend on the
seed, the round and the site only, so while the two models agree, the two sets of updates agree.
"""

from collections.abc import Callable, Mapping
from time import perf_counter

from secagg.demo.config import DemoConfig
from secagg.demo.federation import Advanced, Plain, Secure
from secagg.demo.models import one_torch_thread, parameter_count
from secagg.demo.result import DemoResult, RoundOutcome
from secagg.demo.training import Consortium
from secagg.record import RoundRecord
from secagg.transcript.chain import Transcript

Progress = Callable[[RoundOutcome], object]
"""Called after every round with its outcome."""


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
        consortium = Consortium(config)
        secure, plain = Secure(config, consortium, transcript=transcript), Plain(config, consortium)
        outcomes = []
        for round_index in range(config.rounds):
            begun = perf_counter()
            last = secure.advance(round_index, last=round_index == config.rounds - 1)
            seconds = perf_counter() - begun
            plain.advance(round_index, last.opened.included)
            accuracies = consortium.accuracy(secure.shown), consortium.accuracy(plain.model)
            outcomes.append(_outcome(last, *accuracies, seconds))
            progress(outcomes[-1])
    if transcript is not None:
        transcript.end()
    if last.record.view is None:
        raise RuntimeError("the last round was asked for a view and kept none")
    return DemoResult(
        config=config,
        parameters=parameter_count(consortium.start),
        weight_bound=consortium.weight_bound,
        examples=consortium.weights,
        rounds=tuple(outcomes),
        view=last.record.view,
        field_bits=last.record.field_bits,
        savings=last.config.precision.savings() if last.config.devices else (),
        seconds=perf_counter() - started,
    )


def _outcome(advanced: Advanced, accuracy: float, accuracy_plain: float, seconds: float) -> RoundOutcome:
    """Put together what a round gave."""
    record, training = advanced.record, sum(advanced.training_seconds.values())
    clip = advanced.settings.clip
    return RoundOutcome(
        round_index=advanced.config.round_index,
        accuracy=accuracy,
        accuracy_plain=accuracy_plain,
        dropouts=advanced.dropouts,
        included=advanced.opened.included,
        exact=record.exact,
        saturated=record.saturated,
        bits=advanced.settings.bits,
        range=advanced.config.codec.facts.linf_bound,
        clip=None if clip is None else clip.bound,
        attempts=record.attempts,
        monitoring=record.monitoring,
        uplink_bytes=record.uplink_bytes,
        downlink_bytes=record.downlink_bytes,
        model_bytes=record.model_bytes,
        seconds_crypto=seconds - training,
        seconds_training=training,
        seconds_by_site=_by_site(record, advanced.training_seconds),
    )


def _by_site(record: RoundRecord, training: Mapping[int, float]) -> dict[int, float]:
    """Give each site's seconds of computation in a round, on this machine: training, encoding, protocol."""
    phases = (*record.client_seconds.values(), training)
    return {site: sum(phase.get(site, 0.0) for phase in phases) for site in training}
