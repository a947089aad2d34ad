"""Everything one demo measured, as values, and the JSON object that ``secagg demo --json`` prints."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secagg.demo.config import PHASES, DemoConfig
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
        range: the grid spanned [-range, range] in this round.
        uplink_bytes, downlink_bytes: phase to site id to bytes of the protocol; the model itself, which
            every site fetches in plain FedAvg too, is not in the downlink.
        seconds_crypto: keys, encoding, masking and unmasking of all sites and the server.
        seconds_training: local training of all sites (of the secure federation only).
    """

    round_index: int
    accuracy: float
    accuracy_plain: float
    dropouts: Mapping[int, str]
    included: tuple[int, ...]
    exact: bool
    saturated: int
    range: float
    uplink_bytes: Mapping[str, Mapping[int, int]]
    downlink_bytes: Mapping[str, Mapping[int, int]]
    seconds_crypto: float
    seconds_training: float

    def uplink_of(self, site: int) -> dict[str, int]:
        """Bytes that ``site`` sent in this round, by phase."""
        return {phase: sites[site] for phase, sites in self.uplink_bytes.items() if site in sites}


@dataclass(frozen=True, slots=True)
class DemoResult:
    """A whole demo.

    Attributes:
        config: what was run.
        parameters: coordinates of the model.
        enrolment: training examples of all sites, the public bound of one site's weight.
        examples: site id to its number of training examples (the demo's knowledge, not the server's).
        rounds: one outcome per round.
        view: a part of one site's last update, what the server received in its place, and the sum.
        field_bits: width in bits of one coordinate that the server received.
        seconds: wall-clock time of everything, plain FedAvg included.
    """

    config: DemoConfig
    parameters: int
    enrolment: int
    examples: Mapping[int, int]
    rounds: tuple[RoundOutcome, ...]
    view: View
    field_bits: int
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
        "skew": config.skew,
        "seed": config.seed,
        "threshold": config.threshold,
        "parameters": result.parameters,
        "accuracy": result.accuracy,
        "accuracy_plain_fedavg": result.accuracy_plain,
        "uplink_bytes_per_site_round": result.uplink_bytes,
        "uplink_bytes_by_phase": result.uplink_by_phase,
        "uplink_bytes_float32": result.float32_bytes,
        "dropouts": sum(result.dropouts_by_phase.values()),
        "dropouts_by_phase": result.dropouts_by_phase,
        "exact": result.exact,
        "saturated": result.saturated,
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
        "range": outcome.range,
        "uplink_bytes": _totals(outcome.uplink_bytes),
        "downlink_bytes": _totals(outcome.downlink_bytes),
        "seconds_crypto": outcome.seconds_crypto,
        "seconds_training": outcome.seconds_training,
    }


def _totals(by_phase: Mapping[str, Mapping[int, int]]) -> dict[str, int]:
    """Bytes of all sites together, by phase."""
    return {phase: sum(sites.values()) for phase, sites in by_phase.items()}
