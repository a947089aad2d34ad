"""Two federations over one consortium: one averages through the protocol, the other in plain floats.

Each is advanced round by round and knows nothing of the other, so a sweep can run the plain one once and the other for
every setting.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from time import perf_counter

import torch

import quant
from protocols.pairwise import LocalPolicy
from quant.vectors import FloatVector
from secagg.adaptive import RoundPlanner
from secagg.attempts import run_attempts
from secagg.broadcast import Downlink, hash_of, read
from secagg.config import RoundConfig
from secagg.contribution import Contribution
from secagg.demo.config import DemoConfig
from secagg.demo.models import State
from secagg.demo.training import Consortium, Server, plain_mean
from secagg.demo.unmasked import Train, included_by, same_in_the_clear, unmasked_round
from secagg.feedback import SiteResidual
from secagg.inprocess import simulated_identities
from secagg.opened import Opened
from secagg.record import RoundRecord
from secagg.session import ClientSession
from secagg.transcript.chain import Transcript, study_record
from secagg.witness import StudyWitness

FACTS = {
    "purpose": "A demonstration: hospitals that exist in this process only train a classifier together.",
    "data": "A public data set of scikit-learn, split over the sites; no patient's record leaves its site.",
    "recipients": "The coordinator and every site receive the sum of each round, and with it the trained model.",
    "retention": "Round keys live as long as the process; this transcript stays until somebody deletes it.",
}


@dataclass(frozen=True, slots=True)
class Advanced:
    """What one round of the secure federation gave.

    Attributes:
        config: of the round.
        settings: bits and clip of the round.
        opened: the sum.
        record: bytes and seconds, none without masks.
        dropouts: site to the phase that it did not complete.
        training_seconds: by site.
        equal: whether the sum was compared with that in the clear, and equalled it.
    """

    config: RoundConfig
    settings: RoundPlanner
    opened: Opened
    record: RoundRecord
    dropouts: Mapping[int, str]
    training_seconds: Mapping[int, float]
    equal: bool = False


class Plain:
    """Plain float FedAvg (or FedSGD): what quantization and masks are compared with.

    Args:
        config: what to run.
        consortium: whose data.
        together: train all sites in one batch, for sweeps.
    """

    def __init__(self, config: DemoConfig, consortium: Consortium, *, together: bool = False) -> None:
        self._together = together
        self.model = consortium.start
        self._consortium = consortium
        self._server = Server(config.updates)

    def advance(self, round_index: int, included: Sequence[int]) -> None:
        """Average the updates of those sites."""
        if self._together:
            updates = self._consortium.updates(included, round_index, self.model)
        else:
            updates = {site: self._consortium.update(site, round_index, self.model) for site in included}
        self.model = self._server.apply(self.model, plain_mean(updates, self._consortium.weights_in(round_index)))


class Secure:
    """The federation whose updates are clipped, quantized, masked and summed.

    Args:
        config: what to run.
        consortium: whose data.
        masked: whether the protocol runs; else the same integers are added in the clear, for sweeps.
        compare: with masks, also add in the clear, and compare bit for bit.
        together: train all sites in one batch, for sweeps.
        transcript: with masks, keeps the evidence for an auditor.

    Attributes:
        model: what the sites were sent last, moved by their updates; see also ``shown``.
        planner: settings of the next round.
    """

    def __init__(
        self,
        config: DemoConfig,
        consortium: Consortium,
        *,
        masked: bool = True,
        compare: bool = False,
        together: bool = False,
        transcript: Transcript | None = None,
    ) -> None:
        self.model = consortium.start
        self._config, self._consortium = config, consortium
        self._masked, self._compare, self._together = masked, compare, together
        self._identities, self._roster = simulated_identities(consortium.sites)
        self._witness = None if transcript is None else StudyWitness(transcript, self._identities)
        if transcript is not None:
            policy = LocalPolicy(adversary="active", roster=self._roster)
            transcript.append(study_record(_study(config), f"secagg {version('secagg')}", policy, FACTS))
        self._layout = quant.Layout.of(self.model)
        self.planner = config.planner(self._layout.dim)
        self._server = Server(config.updates)
        self._downlink = Downlink.start(self._layout, config.downlink_bits)
        self._residuals: Mapping[int, SiteResidual] | None = {} if config.error_feedback else None

    def advance(self, round_index: int, *, last: bool = False) -> Advanced:
        """Run one round; of the last, the record keeps a view and the transcript the masked inputs."""
        data, self._downlink = self._downlink.send(self.model)
        received = self._state(read(data, self._layout, self._config.downlink_bits))
        config = self._round_config(round_index)
        weights, stopwatch = self._consortium.weights_in(round_index), Stopwatch()

        dropouts, settings = self._config.dropouts(round_index), self.planner
        ready: dict[int, State] = {}
        if self._together:
            sites = included_by(self._config.sites, dropouts)
            ready = self._consortium.updates(sites, round_index, received)

        def train(site: int) -> tuple[State, int]:
            with stopwatch.training(site):
                return ready.get(site) or self._consortium.update(site, round_index, received), weights[site]

        equal = False
        if self._masked:
            opened, record, equal = self._masked_sum(config, data, train, dropouts, stopwatch, last=last)
        else:
            opened, residuals = unmasked_round(config, train, dropouts, self._residuals)
            record = RoundRecord(config.lanes.width, config.params.threshold, monitoring=opened.monitoring)
            self._residuals = residuals if config.error_feedback else None
        self.planner = settings.after(len(opened.included), opened.inside, opened.monitoring)
        mean: State = self._layout.unflatten(opened.mean, like=self.model)
        self.model = self._server.apply(received, mean)
        return Advanced(config, settings, opened, record, dropouts, stopwatch.trained, equal)

    def _masked_sum(
        self,
        config: RoundConfig,
        data: bytes,
        train: Train,
        dropouts: Mapping[int, str],
        stopwatch: "Stopwatch",
        *,
        last: bool,
    ) -> tuple[Opened, RoundRecord, bool]:
        """Add up through the protocol."""
        kept: dict[int, Contribution] = {}

        def contribute(site: int, session: ClientSession) -> Contribution:
            update, weight = train(site)
            with stopwatch.encoding(site):
                contribution = session.prepare(update, weight)
            if self._compare:
                kept[site] = contribution
            return contribution

        opened, attempt = run_attempts(
            config,
            hash_of(data),
            contribute,
            dropouts=dropouts,
            identities=self._identities,
            roster=self._roster,
            view=last,
            residuals=self._residuals,
            witness=None
            if self._witness is None
            else partial(self._witness.round, model_hash=hash_of(data), keep=last),
        )
        self._residuals = attempt.residuals if config.error_feedback else None
        attempt.record.client_seconds["encoding"] = stopwatch.encoded
        attempt.record.model_bytes = dict.fromkeys(attempt.record.uplink_bytes["advertise-keys"], len(data))
        equal = self._compare and same_in_the_clear(config, opened, kept, attempt.public)
        return opened, attempt.record, equal

    @property
    def shown(self) -> State:
        """The server's model with what the way down has left out so far, which it adds to the next broadcast."""
        left_out = self._state(self._downlink.residual)
        return {name: tensor + left_out[name] for name, tensor in self.model.items()}

    def _round_config(self, round_index: int) -> RoundConfig:
        config = self._config
        return RoundConfig(
            clients=tuple(self._consortium.sites),
            layout=self._layout,
            quantization=config.quantization(round_index, self.planner, self._layout.dim),
            max_weight=self._consortium.weight_bound,
            threshold=config.threshold,
            study=_study(config),
            round_index=round_index,
            adversary="active",
            roster=self._roster.hash(),
            monitor=config.monitor,
            adaptive_clip=self.planner.clip,
            error_feedback=config.error_feedback,
            devices={site: device.shift for site, device in config.devices.items() if device.shift},
            downlink_bits=config.downlink_bits,
        )

    def _state(self, vector: FloatVector) -> State:
        """Give a flat vector in the shapes of the model, float32."""
        found: State = self._layout.unflatten(vector, like=self.model)
        return {name: tensor.to(torch.float32) for name, tensor in found.items()}


def _study(config: DemoConfig) -> str:
    return f"demo {config.dataset}"


class Stopwatch:
    """Seconds of training and of encoding, by site."""

    def __init__(self) -> None:
        self.trained: dict[int, float] = {}
        self.encoded: dict[int, float] = {}

    def training(self, site: int) -> AbstractContextManager[None]:
        """Count what happens inside as training of ``site``."""
        return _counted(self.trained, site)

    def encoding(self, site: int) -> AbstractContextManager[None]:
        """Count what happens inside as putting the update of ``site`` on the grid."""
        return _counted(self.encoded, site)


@contextmanager
def _counted(seconds: dict[int, float], site: int) -> Iterator[None]:
    started = perf_counter()
    yield
    seconds[site] = seconds.get(site, 0.0) + perf_counter() - started
