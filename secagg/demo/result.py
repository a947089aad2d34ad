"""Everything one demo measured, as values, and the JSON object that ``secagg demo --json`` prints."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from quant.mixed import GroupSavings
from secagg.demo.config import PHASES, DemoConfig
from secagg.monitoring import Monitoring
from secagg.record import View

FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """One round, run twice from the same seeds: through secure aggregation and in plain floats.

    Attributes:
        round_index: from 0.
        accuracy, accuracy_plain: on the test set after the round, 0 .. 1.
        dropouts: site id to the phase it did not complete.
        included: ids of the sites in the sum (one that vanished at unmasking is in it).
        exact: whether the decoded sum equals the sum of the included sites' integers.
        saturated: coordinates beyond the grid's range, over all included sites.
        bits: of the finest site's grid.
        range: the grid spanned [-range, range] in this round.
        clip: the adaptive L2 clip, if there was one.
        attempts: how often the round was begun.
        monitoring: what its sums told about the quantization, if it monitored.
        uplink_bytes, downlink_bytes: phase to site id to bytes of the protocol.
        model_bytes: site id to bytes of the model that it was sent.
        seconds_crypto: keys, encoding, masking and unmasking of all sites and the server.
        seconds_training: local training of all sites (of the secure federation only).
        seconds_by_site: site id to its seconds of computation, training included, on this machine.
    """

    round_index: int
    accuracy: float
    accuracy_plain: float
    dropouts: Mapping[int, str]
    included: tuple[int, ...]
    exact: bool
    saturated: int
    bits: int
    range: float
    clip: float | None
    attempts: int
    monitoring: Monitoring | None
    uplink_bytes: Mapping[str, Mapping[int, int]]
    downlink_bytes: Mapping[str, Mapping[int, int]]
    model_bytes: Mapping[int, int]
    seconds_crypto: float
    seconds_training: float
    seconds_by_site: Mapping[int, float]

    def uplink_of(self, site: int) -> dict[str, int]:
        """Bytes that ``site`` sent in this round, by phase."""
        return {phase: sites[site] for phase, sites in self.uplink_bytes.items() if site in sites}

    def downlink_of(self, site: int) -> int:
        """Bytes that ``site`` received in this round: the model and all messages."""
        return self.model_bytes.get(site, 0) + sum(sites.get(site, 0) for sites in self.downlink_bytes.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What monitoring warns of."""
        return () if self.monitoring is None else self.monitoring.warnings()


@dataclass(frozen=True, slots=True)
class DemoResult:
    """A whole demo.

    Attributes:
        config: what was run.
        parameters: coordinates of the model.
        weight_bound: public bound of one site's weight.
        examples: site id to its number of training examples (the demo's knowledge, not the server's).
        rounds: one outcome per round.
        view: a part of one site's last update, what the server received in its place, and the sum.
        field_bits: width in bits of one coordinate that the server received.
        savings: of devices of different precision, what each kind sends in one sum, and would in a sum of its own.
        seconds: wall-clock time of everything, plain FedAvg included.
    """

    config: DemoConfig
    parameters: int
    weight_bound: int
    examples: Mapping[int, int]
    rounds: tuple[RoundOutcome, ...]
    view: View
    field_bits: int
    savings: tuple[GroupSavings, ...]
    seconds: float

    @property
    def accuracy(self) -> float:
        """Final accuracy through secure aggregation, 0 .. 1."""
        return self.rounds[-1].accuracy

    @property
    def accuracy_plain(self) -> float:
        """Final accuracy of plain float FedAvg, 0 .. 1."""
        return self.rounds[-1].accuracy_plain

    @property
    def exact(self) -> bool:
        """Whether every round's sum was exact."""
        return all(outcome.exact for outcome in self.rounds)

    @property
    def saturated(self) -> int:
        """Coordinates beyond the grid's range, over all rounds and sites."""
        return sum(outcome.saturated for outcome in self.rounds)

    @property
    def uplink_by_phase(self) -> dict[str, int]:
        """Bytes by phase of the site and round that sent most: no site ever sends more than their total."""
        sent = (outcome.uplink_of(site) for outcome in self.rounds for site in range(1, self.config.sites + 1))
        return max(sent, key=lambda phases: sum(phases.values()))

    @property
    def uplink_bytes(self) -> int:
        """The most that one site sent in one round, everything counted."""
        return sum(self.uplink_by_phase.values())

    @property
    def downlink_bytes(self) -> int:
        """The most that one site received in one round: the model and all messages."""
        return max(o.downlink_of(site) for o in self.rounds for site in range(1, self.config.sites + 1))

    @property
    def enrolment(self) -> int:
        """Training examples of all sites together."""
        return sum(self.examples.values())

    @property
    def attempts(self) -> int:
        """How often rounds were begun, over all rounds."""
        return sum(outcome.attempts for outcome in self.rounds)

    @property
    def warned(self) -> dict[str, list[int]]:
        """What monitoring warned of in the last round of each kind of warning, and the rounds (from 1) that had it."""
        found: dict[str, tuple[str, list[int]]] = {}
        for outcome in self.rounds:
            for warning in outcome.warnings:
                kind = warning.split(":")[-1]
                found[kind] = (warning, [*found.get(kind, ("", []))[1], outcome.round_index + 1])
        return dict(found.values())

    def device_seconds(self) -> dict[str, float]:
        """Median seconds of a round by kind of device: measured here, divided by the kind's speed."""
        times: dict[str, list[float]] = {}
        for outcome in self.rounds:
            for site, seconds in outcome.seconds_by_site.items():
                device = self.config.devices[site]
                times.setdefault(device.name, []).append(seconds / device.speed)
        return {name: median(found) for name, found in times.items()}

    @property
    def float32_bytes(self) -> int:
        """What a site sends per round in plain FedAvg: the update as float32, and nothing around it."""
        return FLOAT32_BYTES * self.parameters

    @property
    def dropouts_by_phase(self) -> dict[str, int]:
        """Drop-outs survived over all rounds, by the phase that was not completed."""
        counts = Counter(phase for outcome in self.rounds for phase in outcome.dropouts.values())
        return {phase: counts[phase] for phase in PHASES if counts[phase]}

    @property
    def seconds_crypto(self) -> float:
        """Time in the protocol, all sites and the server."""
        return sum(outcome.seconds_crypto for outcome in self.rounds)

    @property
    def seconds_training(self) -> float:
        """Time in local training, all sites."""
        return sum(outcome.seconds_training for outcome in self.rounds)


def to_json(result: DemoResult) -> dict[str, Any]:
    """The object that ``--json`` prints and ``result.json`` holds: plain JSON types, shares in 0 .. 1.

    ``dropouts`` counts the drop-outs survived over all rounds. ``epsilon``, ``delta`` and ``unit`` are null:
    the demo adds no noise, so no privacy budget can be claimed for the sum.
    """
    config = result.config
    return {
        "dataset": config.dataset,
        "sites": config.sites,
        "rounds": config.rounds,
        "bits": config.bits,
        "scheme": config.scheme,
        "updates": config.updates,
        "skew": config.skew,
        "drift": config.drift,
        "scenario": config.scenario,
        "error_feedback": config.error_feedback,
        "downlink_bits": config.downlink_bits,
        "seed": config.seed,
        "threshold": config.threshold,
        "parameters": result.parameters,
        "accuracy": result.accuracy,
        "accuracy_plain_fedavg": result.accuracy_plain,
        "uplink_bytes_per_site_round": result.uplink_bytes,
        "uplink_bytes_by_phase": result.uplink_by_phase,
        "uplink_bytes_float32": result.float32_bytes,
        "downlink_bytes_per_site_round": result.downlink_bytes,
        "dropouts": sum(result.dropouts_by_phase.values()),
        "dropouts_by_phase": result.dropouts_by_phase,
        "exact": result.exact,
        "saturated": result.saturated,
        "attempts": result.attempts,
        "warnings": list(result.warned),
        "device_seconds": result.device_seconds(),
        "savings": [asdict(group) for group in result.savings],
        "epsilon": None,
        "delta": None,
        "unit": None,
        "seconds": result.seconds,
        "seconds_crypto": result.seconds_crypto,
        "seconds_training": result.seconds_training,
        "per_round": [_round_to_json(outcome) for outcome in result.rounds],
    }


def _round_to_json(outcome: RoundOutcome) -> dict[str, Any]:
    return {
        "round": outcome.round_index + 1,
        "accuracy": outcome.accuracy,
        "accuracy_plain_fedavg": outcome.accuracy_plain,
        "dropouts": {str(site): phase for site, phase in outcome.dropouts.items()},
        "included": list(outcome.included),
        "exact": outcome.exact,
        "saturated": outcome.saturated,
        "bits": outcome.bits,
        "range": outcome.range,
        "clip": outcome.clip,
        "attempts": outcome.attempts,
        "monitoring": None if outcome.monitoring is None else outcome.monitoring.to_json(),
        "uplink_bytes": _totals(outcome.uplink_bytes),
        "downlink_bytes": _totals(outcome.downlink_bytes) | {"model": sum(outcome.model_bytes.values())},
        "seconds_crypto": outcome.seconds_crypto,
        "seconds_training": outcome.seconds_training,
    }


def _totals(by_phase: Mapping[str, Mapping[int, int]]) -> dict[str, int]:
    """Bytes of all sites together, by phase."""
    return {phase: sum(sites.values()) for phase, sites in by_phase.items()}
