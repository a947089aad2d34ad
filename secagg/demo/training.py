"""A consortium's training: what one site does in one round, and the plain average to compare with.

Two kinds of updates: the change of the weights by local training (FedAvg), or the gradient of one step (FedSGD, McMahan
et al. 2017), which the server's own optimiser applies.

Every site takes the same number of steps, however many patients it holds: a large site then does not run ahead
of a small one (Wang et al. 2020, "Tackling the objective inconsistency problem"), and the largest possible
update is a public number (`secagg.demo.config.update_limit`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from secagg.demo.config import BATCH_SIZE, LOCAL_STEPS, DemoConfig, learning_rate
from secagg.demo.datasets import load
from secagg.demo.models import State, build_model, copy_of
from secagg.demo.partition import Skew, partition
from secagg.demo.together import train_together

# Equal on purpose: see `secagg.demo.config.update_limit`.
ADAM_DECAY = (0.9, 0.9)

SERVER_RATE = 0.01
"""Learning rate of the server's Adam, for gradients (Reddi et al. 2021, "Adaptive federated optimization")."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled examples: ``x`` float32 (examples, features), ``y`` int64 (examples,)."""

    x: torch.Tensor
    y: torch.Tensor


class Consortium:
    """The sites' data, the shared model and the test set; the model's own weights are scratch space.

    Attributes:
        sites: site id (from 1) to its private examples.
        weights: site id to its number of examples in the first round.
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
    def weight_bound(self) -> int:
        """Public bound of one site's weight: a round figure, the least power of two that no site exceeds."""
        most = max(max(self.weights_in(round_index).values()) for round_index in (0, self._config.rounds - 1))
        return 1 << (most - 1).bit_length()

    def moved_on(self, site: int, round_index: int) -> int:
        """How many of a site's examples are the next site's by this round: a share that grows to ``drift``."""
        progress = round_index / max(self._config.rounds - 1, 1)
        return int(self._config.drift * progress * len(self.sites[site].y))

    def weights_in(self, round_index: int) -> dict[int, int]:
        """Give site id to its number of examples in a round."""
        return {site: len(self.examples(site, round_index).y) for site in self.sites}

    def examples(self, site: int, round_index: int) -> Examples:
        """Give what a site holds in a round: its own, less those that moved on, plus those of the site before it."""
        own, before = self.sites[site], self.sites[(site - 2) % len(self.sites) + 1]
        if not self._config.drift:
            return own
        left, came = self.moved_on(site, round_index), self.moved_on((site - 2) % len(self.sites) + 1, round_index)
        return Examples(torch.cat([own.x[left:], before.x[:came]]), torch.cat([own.y[left:], before.y[:came]]))

    def update(self, site: int, round_index: int, weights: State) -> State:
        """Give what a site sends in this round: a delta or a gradient, as the demo is configured."""
        make = self.gradient if self._config.updates == "gradient" else self.local_update
        return make(site, round_index, weights)

    def gradient(self, site: int, round_index: int, weights: State) -> State:
        """Give the gradient of the mean loss over all of a site's examples, float32, shaped like ``weights``."""
        self._model.load_state_dict(weights)
        examples = self.examples(site, round_index)
        self._model.zero_grad()
        cross_entropy(self._model(examples.x), examples.y).backward()  # type: ignore[no-untyped-call]
        found = {name: parameter.grad for name, parameter in self._model.named_parameters()}
        return {name: grad.detach().clone() for name, grad in found.items() if grad is not None}

    def local_update(self, site: int, round_index: int, weights: State) -> State:
        """Train ``weights`` on one site's examples and return the change, float32, shaped like ``weights``.

        Depends on its arguments and the seed alone, not on what was trained before.
        """
        self._model.load_state_dict(weights)
        rate = learning_rate(round_index, self._config.rounds)
        optimizer = torch.optim.Adam(self._model.parameters(), lr=rate, betas=ADAM_DECAY, fused=True)
        for x, y in self._batches(site, round_index):
            optimizer.zero_grad()
            cross_entropy(self._model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return {name: tensor - weights[name] for name, tensor in copy_of(self._model).items()}

    def updates(self, sites: Sequence[int], round_index: int, weights: State) -> dict[int, State]:
        """Give what several sites send in this round; deltas are trained together, which is faster."""
        if self._config.updates == "gradient":
            return {site: self.gradient(site, round_index, weights) for site in sites}
        batches = {site: self._batches(site, round_index) for site in sites}
        return train_together(weights, batches, learning_rate(round_index, self._config.rounds), ADAM_DECAY)

    def _batches(self, site: int, round_index: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Draw a site's mini-batches of a round, by the seed."""
        examples = self.examples(site, round_index)
        draw = torch.Generator().manual_seed(_seed_of(self._config.seed, round_index, site))
        drawn = (torch.randperm(len(examples.y), generator=draw)[:BATCH_SIZE] for _ in range(LOCAL_STEPS))
        return [(examples.x[batch], examples.y[batch]) for batch in drawn]

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


class Server:
    """Applies means to a model: deltas are added, gradients go through an Adam of the server's own."""

    def __init__(self, updates: str) -> None:
        self._updates = updates
        self._first: State = {}
        self._second: State = {}
        self._steps = 0

    def apply(self, weights: State, mean: State) -> State:
        """Give the next model; for gradients by Adam (Kingma and Ba 2015, algorithm 1) at `SERVER_RATE`."""
        if self._updates == "delta":
            return moved(weights, mean)
        self._steps += 1
        slow, fast, stable = 0.9, 0.99, 1e-8
        change = {}
        for name, gradient in mean.items():
            self._first[name] = slow * self._first.get(name, torch.zeros_like(gradient)) + (1 - slow) * gradient
            self._second[name] = fast * self._second.get(name, torch.zeros_like(gradient)) + (1 - fast) * gradient**2
            first = self._first[name] / (1 - slow**self._steps)
            second = self._second[name] / (1 - fast**self._steps)
            change[name] = -SERVER_RATE * first / (second.sqrt() + stable)
        return moved(weights, change)


def moved(weights: State, change: State) -> State:
    """``weights`` plus ``change``."""
    return {name: tensor + change[name] for name, tensor in weights.items()}


def _seed_of(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
