"""The demo's training as a site's task: what ``secagg demo --processes`` gives to ``secagg join``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from secagg.demo.config import DemoConfig
from secagg.demo.training import Consortium
from secagg.study.task import Context
from secagg.study.weights import Weights


@lru_cache(maxsize=1)
def _consortium(dataset: str, sites: int, rounds: int, skew: str, seed: int) -> Consortium:
    torch.set_num_threads(1)
    return Consortium(DemoConfig(dataset=dataset, sites=sites, rounds=rounds, skew=skew, seed=seed))


def consortium(options: Mapping[str, Any]) -> Consortium:
    """Deal out the data as the options say; every process deals them out alike and looks at its own part only."""
    return _consortium(options["dataset"], options["sites"], options["rounds"], options["skew"], options["seed"])


def initial(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the initial weights."""
    return {name: tensor.numpy() for name, tensor in consortium(options).start.items()}


def train(weights: Weights, context: Context) -> tuple[dict[str, Any], int]:
    """Train on this site's examples: (change of the weights, number of examples)."""
    here = consortium(context.options)
    state = {name: torch.from_numpy(array) for name, array in weights.items()}
    return here.local_update(context.site, context.round, state), here.weights[context.site]


def evaluate(weights: Weights, context: Context) -> dict[str, float]:
    """Judge the weights on this site's share of the test examples, dealt out in turns."""
    here = consortium(context.options)
    x, y = (part[context.site - 1 :: context.options["sites"]] for part in (here.test.x, here.test.y))
    logits = here.predict({name: torch.from_numpy(array) for name, array in weights.items()}, x)
    right = int((logits.argmax(1) == y).sum())
    return {"examples": len(y), "correct": right, "loss": float(cross_entropy(logits, y, reduction="sum"))}
