"""Small rounds for the tests of the product."""

from __future__ import annotations

import numpy as np
import pytest

import quant
from secagg import RoundConfig

MODEL = bytes(range(32))


@pytest.fixture
def updates(rng: np.random.Generator) -> dict[int, np.ndarray]:
    return {client: rng.uniform(-0.9, 0.9, 33) for client in range(1, 6)}


@pytest.fixture
def config() -> RoundConfig:
    return RoundConfig(
        clients=(1, 2, 3, 4, 5), layout=quant.Layout.of(np.zeros(33)), quantization={"bits": 12, "range": 1.0}
    )
