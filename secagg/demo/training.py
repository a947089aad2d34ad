"""A consortium's training: what one site does in one round, and the plain average to compare with.

Every site takes the same number of steps, however many patients it holds: a large site then does not run ahead
of a small one (Wang et al. 2020, "Tackling the objective inconsistency problem"), and the largest possible
update is a public number (`secagg.demo.config.update_limit`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from secagg.demo.config import BATCH_SIZE, LOCAL_STEPS, DemoConfig, learning_rate
from secagg.demo.datasets import load
from secagg.demo.models import State, build_model, copy_of
from secagg.demo.partition import Skew, partition

# Equal on purpose: see `secagg.demo.config.update_limit`.
ADAM_DECAY = (0.9, 0.9)


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled examples: ``x`` float32 (examples, features), ``y`` int64 (examples,)."""

    x: torch.Tensor
    y: torch.Tensor


class Consortium:
    """The sites' data, the shared model and the test set; the model's own weights are scratch space.

    Attributes:
        sites: site id (from 1) to its private examples.
        weights: site id to its number of examples.
        test: examples that no site holds.
        start: the initial weights.
    """

    def __init__(self, config: DemoConfig) -> None:
        data = load(config.dataset, config.seed)
        rng = np.random.default_rng(config.seed)
        parts = partition(data.train_y, config.sites, Skew.parse(config.skew), rng)
        self.sites = {
            site: Examples(torch.from_numpy(data.train_x[part]), torch.from_numpy(data.train_y[part]))
            for site, part in enumerate(parts, 1)
        }
        self.weights = {site: len(examples.y) for site, examples in self.sites.items()}
        self.test = Examples(torch.from_numpy(data.test_x), torch.from_numpy(data.test_y))
        self._config = config
        self._model = build_model(data.features, data.classes, config.seed)
        self.start = copy_of(self._model)
        # torch loads parts of itself when it first trains: seconds that are neither training nor crypto.
        self.local_update(1, 0, self.start)

    @property
    def enrolment(self) -> int:
        """All sites' training examples together: the public upper bound of one site's weight."""
        return sum(self.weights.values())

    def local_update(self, site: int, round_index: int, weights: State) -> State:
        """Train ``weights`` on one site's examples and return the change, float32, shaped like ``weights``.

        Depends on its arguments and the seed alone, not on what was trained before.
        """
        self._model.load_state_dict(weights)
        examples = self.sites[site]
        draw = torch.Generator().manual_seed(_seed_of(self._config.seed, round_index, site))
        rate = learning_rate(round_index, self._config.rounds)
        optimizer = torch.optim.Adam(self._model.parameters(), lr=rate, betas=ADAM_DECAY, fused=True)
        for _ in range(LOCAL_STEPS):
            batch = torch.randperm(len(examples.y), generator=draw)[:BATCH_SIZE]
            optimizer.zero_grad()
            loss = cross_entropy(self._model(examples.x[batch]), examples.y[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return {name: tensor - weights[name] for name, tensor in copy_of(self._model).items()}

    def accuracy(self, weights: State) -> float:
        """Share of the test examples, 0 .. 1, that the model with ``weights`` labels rightly."""
        return float((self.predict(weights, self.test.x).argmax(1) == self.test.y).double().mean())

    def predict(self, weights: State, x: torch.Tensor) -> torch.Tensor:
        """Logits, float32 (examples, classes), of the model with ``weights`` on features ``x``."""
        self._model.load_state_dict(weights)
        with torch.no_grad():
            logits: torch.Tensor = self._model(x)
        return logits


def plain_mean(updates: Mapping[int, State], weights: Mapping[int, int]) -> State:
    """Federated averaging in plain floats (McMahan et al. 2017): the example-weighted mean of ``updates``."""
    total = sum(weights[site] for site in updates)
    first = next(iter(updates.values()))
    return {
        name: torch.stack([update[name] * (weights[site] / total) for site, update in updates.items()]).sum(0)
        for name in first
    }


def moved(weights: State, change: State) -> State:
    """``weights`` plus ``change``."""
    return {name: tensor + change[name] for name, tensor in weights.items()}


def _seed_of(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
