"""One site's training inside a secure round, and one server's model, for stacks without a strategy of their own.

A model is a dict from name to numpy array. What is summed is the difference that training makes, so that a grid of a
small range serves; the server adds the mean difference to the model that it sent.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quant
from protocols.pairwise import Roster
from protocols.pairwise.params import NO_ROSTER, Adversary
from secagg.config import RoundConfig
from secagg.errors import UsageError
from secagg.integrations.member import MemberRounds
from secagg.integrations.parcel import Parcel
from secagg.integrations.series import Exchange, RoundSeries
from secagg.privacy import RoundPrivacy, Unit

LOG = logging.getLogger("secagg.integrations")

Model = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Trained:
    """What a site's training gives.

    Attributes:
        model: the trained arrays, of the names and shapes of those received.
        examples: how many examples were used; the weight in the mean, up to the round's bound.
        metrics: by name, those that the round asks for; others stay at the site.
    """

    model: Model
    examples: int
    metrics: Mapping[str, float] = field(default_factory=dict)


Train = Callable[[Model], Trained]


def model_hash(model: Model) -> bytes:
    """Return the 32-byte fingerprint of a model: SHA-256 over names, types, shapes and bytes, in order."""
    digest = hashlib.sha256(b"secagg model")
    for name, array in model.items():
        plain = np.ascontiguousarray(array)
        plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        head = repr((name, plain.dtype.str, plain.shape)).encode()
        digest.update(len(head).to_bytes(8, "little") + head + plain.tobytes())
    return digest.digest()


def contribute(rounds: MemberRounds, name: str, model: Model, train: Train) -> tuple[Parcel, int]:
    """Train on a model and mask what changed; returns the parcel and how many coordinates were cut to the range.

    Raises:
        UsageError: training gave other arrays or metrics than the round takes.
        protocols.RemoteProtocolError: the server told other sites of another model (rule C20).
    """
    config, before = rounds.config(name), {key: np.array(array) for key, array in model.items()}
    trained = train(model)
    update = {}
    for leaf in config.layout.leaves:
        after = trained.model.get(leaf.name)
        if after is None or after.shape != leaf.shape or leaf.name not in before:
            raise UsageError(f"training gave no array {leaf.name!r} of shape {leaf.shape}")
        update[leaf.name] = np.subtract(after, before[leaf.name], dtype=config.layout.dtype)
    missing = sorted(set(config.metrics) - set(trained.metrics))
    if missing:
        raise UsageError(f"training gave no metric {missing[0]!r}")
    metrics = {key: float(trained.metrics[key]) for key in config.metrics}
    weight = None if config.max_weight is None else cut_weight(trained.examples, config.max_weight)
    return rounds.contribute(name, update, model_hash(before), weight, metrics)


def cut_weight(examples: int, most: int) -> int:
    """Cut a number of examples to the round's bound.

    A site that left the round instead would tell that it has more: with another bound every round, how many.
    """
    if examples > most:
        LOG.warning("%d examples are more than the %d that the round weighs: they count as so many", examples, most)
    return min(examples, most)


def check_unit(privacy: RoundPrivacy | None) -> None:
    """Refuse privacy for patients: an update that comes out of somebody's training hides sites, and no more.

    Raises:
        UsageError: unit patient.
    """
    if privacy is not None and privacy.unit is not Unit.SITE:
        raise UsageError(
            'training in an app gives one update for the site, so privacy has unit="site" here; for unit="patient" '
            "hand PatientUpdates to ClientSession yourself"
        )


@dataclass(frozen=True)
class Terms:
    """What a server fixes for all rounds of a study; see ``RoundConfig``."""

    max_examples: int | None
    quantization: Mapping[str, object] = field(default_factory=lambda: {"bits": 16})
    metrics: Mapping[str, float] = field(default_factory=dict)
    include: str | None = None
    threshold: int | None = None
    adversary: Adversary = "curious"
    roster: Roster | None = None
    colluders: int = 1
    study: str = "study"
    workers: int = 1
    privacy: RoundPrivacy | None = None

    def __post_init__(self) -> None:
        """Refuse what an adapter cannot promise."""
        check_unit(self.privacy)


class ModelRounds:
    """A server's rounds over one model.

    Args:
        terms: what holds for all rounds.
        model: the first model.
        exchange: the stack's messages for parcels alone.

    Attributes:
        model: the present model.
        metrics: of the last round, by name.
        included: the clients of the last round.
        series: the rounds.
    """

    def __init__(self, terms: Terms, model: Model, exchange: Exchange) -> None:
        self._terms = terms
        self._layout = quant.Layout.of(dict(model), terms.include)
        self.model: Model = dict(model)
        self.metrics: dict[str, float] = {}
        self.included: tuple[int, ...] = ()
        self.series = RoundSeries("train", self._configure, exchange, terms.roster, terms.workers)

    def model_hash(self) -> bytes:
        """Return the present model's fingerprint."""
        return model_hash(self.model)

    def finish(self) -> None:
        """Run the current round to its end and take the mean difference into the model.

        Raises:
            RoundRefused: too few clients stayed; the model is as it was.
        """
        opened = self.series.finish()
        differences = self._layout.unflatten(opened.mean)
        changed = {key: (self.model[key] + change).astype(self.model[key].dtype) for key, change in differences.items()}
        self.model = {**self.model, **changed}
        self.metrics, self.included = opened.metrics, opened.included

    def _configure(self, index: int, attempt: int, clients: tuple[int, ...]) -> RoundConfig:
        terms = self._terms
        return RoundConfig(
            clients=clients,
            layout=self._layout,
            quantization=terms.quantization,
            max_weight=terms.max_examples,
            threshold=terms.threshold,
            study=terms.study,
            round_index=index,
            attempt=attempt,
            adversary=terms.adversary,
            roster=NO_ROSTER if terms.roster is None else terms.roster.hash(),
            colluders=terms.colluders,
            metrics=terms.metrics,
            privacy=terms.privacy,
        )
