"""Everything one private demo measured, as values, and the JSON object that ``secagg demo --epsilon --json`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secagg.demo.private.setting import CLIP, PrivateConfig
from secagg.privacy import Claim, Fitted
from secagg.record import RoundRecord

FLOAT32_BYTES = 4
ARMS: Mapping[str, str] = {
    "distributed": "secagg, noise inside the sum",
    "trusted": "trusted server, noise on the exact sum",
    "local": "local noise, each site its own",
    "open": "no noise, no privacy",
}
"""The federations that are compared, and what they are called."""

SCALING = (
    "constants that no patient went into, and functions of one patient alone: measuring ranges of cell nuclei, "
    "cosine coefficients of an image scaled to a fixed norm"
)


@dataclass(frozen=True, slots=True)
class PrivateRound:
    """One round of all federations.

    Attributes:
        round_index: from 0.
        accuracy: arm to accuracy on the test set after the round, 0 .. 1.
        epsilon: spent by a patient who was in every sum so far.
        ledgers: site to what it has spent by its own ledger.
        dropouts: site to the phase that it did not complete.
        included: ids of the sites in the sum.
        record: bytes and seconds of the protocol, and whether its sum is exact.
        removed: whether noise in excess of the target was taken off again.
        noise: standard deviation of the noise that was left in the sum, over that of the trusted server.
        seconds: of the distributed federation.
    """

    round_index: int
    accuracy: Mapping[str, float]
    epsilon: float
    ledgers: Mapping[int, float]
    dropouts: Mapping[int, str]
    included: tuple[int, ...]
    record: RoundRecord
    removed: bool
    noise: float
    seconds: float


@dataclass(frozen=True, slots=True)
class PrivateResult:
    """A whole private demo.

    Attributes:
        config: what was run.
        fitted: grid and noise of every round.
        parameters: coordinates of the model.
        examples: site to its patients (the demo's knowledge; no server has it).
        rounds: one outcome per round.
        seconds: wall-clock time of everything.
    """

    config: PrivateConfig
    fitted: Fitted
    parameters: int
    examples: Mapping[int, int]
    rounds: tuple[PrivateRound, ...]
    seconds: float

    @property
    def accuracy(self) -> Mapping[str, float]:
        """Final accuracy by arm."""
        return self.rounds[-1].accuracy

    @property
    def claim(self) -> Claim:
        """What is promised, after all rounds."""
        return self.fitted.claim

    @property
    def exact(self) -> bool:
        """Whether every opened sum equals the sum of what the sites put in, noise included."""
        return all(outcome.record.exact for outcome in self.rounds)

    @property
    def uplink_bytes(self) -> int:
        """The most that one site sent in one round, everything counted."""
        return max(outcome.record.uplink_total(site) for outcome in self.rounds for site in self.examples)

    @property
    def downlink_bytes(self) -> int:
        """The most that one site received in one round, the model as float32 included."""
        received = max(outcome.record.downlink_total(site) for outcome in self.rounds for site in self.examples)
        return received + self.float32_bytes

    @property
    def float32_bytes(self) -> int:
        """What a site sends per round in plain averaging: a gradient as float32."""
        return FLOAT32_BYTES * self.parameters

    @property
    def dropouts(self) -> int:
        """Drop-outs survived over all rounds."""
        return sum(len(outcome.dropouts) for outcome in self.rounds)


def to_json(result: PrivateResult) -> dict[str, Any]:
    """Give the object that ``--json`` prints and ``result.json`` holds: plain JSON types, shares in 0 .. 1."""
    config, fitted, claim = result.config, result.fitted, result.claim
    privacy = fitted.privacy
    return {
        "dataset": config.dataset,
        "sites": config.sites,
        "rounds": config.rounds,
        "bits": config.bits,
        "wire_bits": fitted.width,
        "skew": config.skew,
        "seed": config.seed,
        "threshold": config.threshold,
        "colluders": config.colluders,
        "parameters": result.parameters,
        "accuracy": result.accuracy["distributed"],
        "accuracy_plain_fedavg": result.accuracy["open"],
        "comparison": {
            arm: {"what": what, "accuracy": result.accuracy[arm], "epsilon": None if arm == "open" else config.epsilon}
            for arm, what in ARMS.items()
        },
        "epsilon": claim.epsilon,
        "delta": claim.delta,
        "unit": str(claim.unit),
        "relation": str(claim.relation),
        "releases": claim.releases,
        "method": claim.method,
        "claim": str(claim),
        "epsilon_by_round": [outcome.epsilon for outcome in result.rounds],
        "epsilon_by_ledger": {str(site): spent for site, spent in result.rounds[-1].ledgers.items()},
        "clip": CLIP,
        "learning_rate": config.rate,
        "features": SCALING,
        "noise": {
            "law": str(privacy.law),
            "sigma": fitted.sigma,
            "sigma_steps": fitted.calibration.sigma,
            "sigma_trusted": config.central_sigma,
            "step": fitted.step,
            "levels": fitted.quantization["levels"],
        },
        "exact": result.exact,
        "dropouts": result.dropouts,
        "uplink_bytes_per_site_round": result.uplink_bytes,
        "uplink_bytes_float32": result.float32_bytes,
        "downlink_bytes_per_site_round": result.downlink_bytes,
        "seconds": result.seconds,
        "seconds_crypto": sum(outcome.seconds for outcome in result.rounds),
        "per_round": [_round_to_json(outcome) for outcome in result.rounds],
    }


def _round_to_json(outcome: PrivateRound) -> dict[str, Any]:
    return {
        "round": outcome.round_index + 1,
        "accuracy": dict(outcome.accuracy),
        "epsilon": outcome.epsilon,
        "dropouts": {str(site): phase for site, phase in outcome.dropouts.items()},
        "included": list(outcome.included),
        "exact": outcome.record.exact,
        "excess_removed": outcome.removed,
        "noise_over_trusted": outcome.noise,
        "seconds": outcome.seconds,
    }
