"""One round, described once: what ``RoundParams`` is to the protocol, ``RoundConfig`` is to the product.

Everything that must be equal at all sites stands here or is computed from here: layout of the update, quantization,
weighting, field width, lane layout. The hash of all of it is bound into the protocol parameters (``task``), so sites
that were told different things cannot add up.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

import quant
from protocols.pairwise import RoundParams, VectorSpec, default_threshold, finder
from protocols.pairwise.params import NO_ROSTER, Adversary, Protocol
from secagg.broadcast import check_bits
from secagg.devices import Devices
from secagg.errors import UsageError
from secagg.feedback import check_feedback
from secagg.metrics import MetricGrid
from secagg.monitoring import FIGURES, MONITOR
from secagg.privacy import PrivacyTerms, RoundPrivacy, Unit

UPDATE = "update"
"""Name of the masked vector that holds the packed, quantized update."""

WEIGHT = "weight"
"""Name of the masked vector that holds a site's weight, in a weighted round."""

INSIDE = "inside"
"""Name of the masked vector that holds a site's bit for the adaptive clip: 1 if its norm was inside."""

COUNTERS = "counters"
"""Name of the masked vector that holds a site's counters, in a round that counts."""

MAX_COUNT = 1 << 40
"""Largest value of one site's counter: the sum over all clients of a round stays far below 2^64."""

METRICS = "metrics"
"""Name of the masked vector that holds a site's metrics, in a round that has any."""


WITHHELD = {
    "max_weight": "weights tell of a site's data; scale updates by public numbers instead",
    "monitor": "clipped, saturated and squared error tell of a site's data; leave monitor out",
    "adaptive_clip": "the bit for the clip tells of a site's data; fix the clip in the quantization",
    "counters": "exact counts tell of a site's data; make them coordinates of the noised vectors",
    "metrics": "metrics tell of a site's data; make them coordinates of the noised vectors",
    "devices": "mixed precision has no bound on norms; give all sites one grid",
}
"""What depends on data and leaves a site without noise: refused in a private round, and what to do instead."""


@dataclass(frozen=True)
class RoundConfig:
    """Everything that the sites of a round and the server agree on.

    Attributes:
        clients: ids of the invited clients, each from 1 to 65535.
        layout: names, shapes and dtypes of the update.
        quantization: keys of ``quant.presets`` (``bits`` or ``levels``, ``range``, ``clip``, ``rounding``).
        max_weight: public bound on one site's weight; ``None`` for an unweighted round.
        threshold: least number of clients that must stay to the end; ``None`` for floor(2n/3) + 1.
        study: name of the study.
        round_index: number of the round.
        attempt: number of the try at this round.
        adversary: ``"curious"`` or ``"active"``.
        roster: hash of the roster of identities, needed against an active server.
        colluders: how many clients may collude with the server; raises the default threshold.
        protocol: ``"secagg"``, the complete graph, or ``"secagg+"``, as few neighbours as are safe.
        tolerated_dropouts: how many clients may vanish under ``"secagg+"``; ``None`` for 5 % of them, rounded up.
        attempt_limit: attempts at one round that the clients allow.
        joint_randomness: make a random seed together even if the quantization needs none.
        monitor: send clipped, saturated and squared error of every site inside the secure sum. By default on, but off
            in a private round.
        adaptive_clip: the L2 clip of this round, and how it moves; takes the place of ``clip`` in ``quantization``, and
            sends a bit of every site inside the secure sum.
        error_feedback: sites add what quantization left out of their last update to the next.
        devices: precision of the sites that round more coarsely than ``quantization`` says: client -> shift, its step
            is 2^shift steps.
        downlink_bits: bits of a coordinate of the model that the sites are sent; ``None`` for float32.
        counters: names of whole numbers, such as right answers on validation data, that are summed exactly beside the
            update.
        metrics: name -> public bound of the metrics whose weighted means are opened beside the update.
        privacy: makes the round differentially private; see ``secagg.privacy.fit``, which gives it together with the
            quantization that it goes with. Then nothing but the noised update depends on a site's data.

    Raises:
        UsageError: no clients, or ids that are not distinct.
        quant.QuantError: quantization that cannot be used, or that this cohort overflows.
        protocols.ParameterError: a cohort or threshold that makes no protocol.
    """

    clients: tuple[int, ...]
    layout: quant.Layout
    quantization: Mapping[str, object] = field(default_factory=dict)
    max_weight: int | None = None
    threshold: int | None = None
    study: str = "study"
    round_index: int = 0
    attempt: int = 0
    adversary: Adversary = "curious"
    roster: bytes = NO_ROSTER
    colluders: int = 1
    protocol: Protocol = "secagg"
    tolerated_dropouts: int | None = None
    attempt_limit: int = 4
    joint_randomness: bool = False
    monitor: bool | None = None
    adaptive_clip: quant.AdaptiveClip | None = None
    error_feedback: bool = False
    devices: Mapping[int, int] = field(default_factory=dict)
    downlink_bits: int | None = None
    counters: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    privacy: RoundPrivacy | None = None

    def __post_init__(self) -> None:
        """Refuse at construction: build everything once."""
        if not self.clients:
            raise UsageError("there are no clients in this round")
        if len(set(self.clients)) != len(self.clients):
            raise UsageError("client ids must be distinct")
        object.__setattr__(self, "clients", tuple(sorted(self.clients)))
        if self.monitor is None:
            object.__setattr__(self, "monitor", self.privacy is None)
        check_bits(self.downlink_bits)
        if self.error_feedback:
            check_feedback(self.codec, None if self.privacy is None else self.privacy.unit.value)
        if self.privacy is not None:
            check_private(self, self.privacy)
        _ = self.precision, self.params, self.privacy_terms

    @cached_property
    def codec(self) -> quant.UpdateCodec:
        """The chain that puts an update on the grid; of mixed devices, the finest."""
        if self.adaptive_clip is None:
            return quant.from_config(self.quantization, self.layout.dim)
        if self.quantization.get("clip") is not None:
            raise UsageError("adaptive_clip is the clip of the round: leave clip out of the quantization")
        return quant.from_config({**self.quantization, "clip": self.adaptive_clip.bound}, self.layout.dim)

    @cached_property
    def precision(self) -> Devices:
        """Who rounds how coarsely."""
        return Devices(self.codec, self.clients, dict(self.devices))

    @cached_property
    def weighting(self) -> quant.Weighting | None:
        """How weights enter the sum; ``None`` in an unweighted round."""
        return None if self.max_weight is None else quant.Weighting(self.max_weight)

    @cached_property
    def metric_grid(self) -> MetricGrid:
        """How metrics become whole numbers; without bounds in a round that has none."""
        return MetricGrid.of(self.metrics, self.max_weight)

    @cached_property
    def lanes(self) -> quant.LaneLayout:
        """How coordinates are packed into the 64-bit lanes that are masked."""
        return self.codec.facts.lanes(len(self.clients), noise=self.noise_reach)

    @cached_property
    def noise_reach(self) -> int:
        """Bound on the noise in the sum, grid steps, that fields have room for; 0 without privacy.

        Some coordinate is beyond with probability at most 2^-40.
        """
        if self.privacy is None:
            return 0
        return self.privacy.reach(len(self.clients), self.codec.facts.encoded_dim)

    @cached_property
    def privacy_terms(self) -> PrivacyTerms | None:
        """What every site reviews before it takes part in a private round; ``None`` in others."""
        if self.privacy is None:
            return None
        return self.privacy.terms(self.codec, len(self.clients), self.params.least_survivors)

    @cached_property
    def params(self) -> RoundParams:
        """The round as the protocol knows it."""
        vectors = [VectorSpec(UPDATE, self.lanes.lanes, 1 << self.lanes.lane_bits)]
        if self.max_weight is not None:
            bits = quant.field_width(self.max_weight + 1, len(self.clients))
            vectors.append(VectorSpec(WEIGHT, 1, 1 << bits))
        if self.adaptive_clip is not None:
            vectors.append(VectorSpec(INSIDE, 1, 1 << quant.field_width(2, len(self.clients))))
        if self.monitor:
            vectors.append(VectorSpec(MONITOR, len(FIGURES), 1 << 64))
        if self.counters:
            vectors.append(VectorSpec(COUNTERS, len(self.counters), 1 << 64))
        if self.metrics:
            vectors.append(VectorSpec(METRICS, len(self.metrics), self.metric_grid.modulus(len(self.clients))))
        threshold, degree, least = self._graph()
        if self.privacy is not None and self.privacy.least_survivors != (least or threshold):
            raise UsageError(
                f"the noise is sized for {self.privacy.least_survivors} survivors, but this round opens sums of "
                f"{least or threshold}: make them equal (threshold, or least_survivors of the goal)"
            )
        return RoundParams(
            study=self.study,
            round_index=self.round_index,
            attempt=self.attempt,
            clients=self.clients,
            threshold=threshold,
            vectors=tuple(vectors),
            task=self.task,
            roster=self.roster,
            adversary=self.adversary,
            protocol=self.protocol,
            degree=degree,
            min_survivors=least,
            joint_randomness=self.joint_randomness or bool(self.codec.public_labels),
            noise_components=0 if self.privacy is None else self.privacy.components(len(self.clients)),
        )

    def _graph(self) -> tuple[int, int, int]:
        """Return (threshold, degree, least number of survivors) as ``RoundParams`` wants them."""
        if self.protocol == "secagg":
            threshold = self.threshold or default_threshold(len(self.clients), self.adversary, self.colluders)
            return threshold, 0, 0
        if self.threshold is not None:
            raise UsageError("secagg+ finds its threshold itself: leave it out, and say how many may drop out")
        if self.certificate.complete:
            return self.certificate.threshold, self.certificate.degree, 0
        return self.certificate.threshold, self.certificate.degree, len(self.clients) - self.certificate.dropped

    @cached_property
    def certificate(self) -> finder.Certificate:
        """Degree and threshold of the SecAgg+ graph, and why they suffice."""
        clients, dropped = len(self.clients), self.tolerated_dropouts
        if dropped is None:
            dropped = -(-clients // 20)
        sigma = finder.SIGMA + math.log2(self.attempt_limit)
        return finder.find(clients, self.colluders, dropped, self.adversary, absent=dropped, sigma=sigma)

    @cached_property
    def task_text(self) -> str:
        """The canonical JSON of all above the protocol (layout, quantization, weighting, ...); hashed in ``task``."""
        described: dict[str, object] = {
            "layout": self.layout.config(),
            "quantization": self.codec.config(),
            "max_weight": self.max_weight,
            "field_width": self.lanes.width,
            "monitor": self.monitor,
            "adaptive_clip": None if self.adaptive_clip is None else asdict(self.adaptive_clip),
            "error_feedback": self.error_feedback,
            "devices": sorted(self.devices.items()),
            "downlink_bits": self.downlink_bits,
        }
        if self.counters:
            described["counters"] = list(self.counters)
        if self.metrics:
            described["metrics"] = self.metric_grid.config()
        if self.privacy is not None:
            described["privacy"] = self.privacy.config()
        return json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @cached_property
    def task(self) -> bytes:
        """SHA-256 of ``task_text``."""
        return hashlib.sha256(self.task_text.encode()).digest()


def check_private(config: RoundConfig, privacy: RoundPrivacy) -> None:
    """Refuse a private round in which anything but noised integers would leave a site.

    Raises:
        UsageError: naming the setting, and what to do.
    """
    for name, instead in WITHHELD.items():
        if getattr(config, name) not in (None, False, (), {}):
            raise UsageError(f"a private round sends no {name}: {instead}")
    if config.error_feedback and privacy.unit is Unit.PATIENT:
        raise UsageError("a residual carries a patient into later rounds, where no clip bounds it: no error_feedback")
