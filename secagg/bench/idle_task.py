"""A task that trains nothing: what ``secagg bench consortium`` gives to ``secagg join``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secagg.study.task import Context
from secagg.study.weights import Weights


@lru_cache(maxsize=1)
def _ramp(dim: int) -> NDArray[np.float32]:
    return (np.arange(dim) % 1001 / 2002 - 0.25).astype(np.float32)


def initial(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the initial weights."""
    return {"w": np.zeros(options["dim"], dtype=np.float32)}


def update(options: Mapping[str, Any]) -> Weights:
    """Return the same update for every site and round."""
    return {"w": _ramp(options["dim"])}


def train(weights: Weights, context: Context) -> Weights:
    """Return `update`."""
    del weights
    return update(context.options)
