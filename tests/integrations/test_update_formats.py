"""Updates as other frameworks hand them out go in, and what those frameworks would make of them comes out.

The frameworks themselves are not installed here (see secagg/integrations/README.md): these are their containers.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

import secagg

SITES = 4
EXAMPLES = [120, 80, 200, 100]


def openfl_tensors(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """OpenFL: the tensor dictionary of a collaborator, names to arrays."""
    return {"conv1.weight": rng.normal(0, 0.1, (4, 1, 3, 3)).astype(np.float32), "fc.bias": rng.normal(0, 0.1, 10)}


def fedml_parameters(rng: np.random.Generator) -> OrderedDict[str, torch.Tensor]:
    """FedML: an ordered ``state_dict``, sent beside the number of samples."""
    return OrderedDict((name, torch.tensor(array)) for name, array in openfl_tensors(rng).items())


def tff_weights(rng: np.random.Generator) -> list[np.ndarray]:
    """TensorFlow Federated: the trainable weights of a Keras model, a list of arrays."""
    return list(openfl_tensors(rng).values())


def arrays_of(update: Any) -> list[np.ndarray]:
    values = update.values() if isinstance(update, dict) else update
    return [np.asarray(value, dtype=np.float64) for value in values]


@pytest.mark.parametrize("made", [openfl_tensors, fedml_parameters, tff_weights])
def test_the_weighted_mean_comes_back_in_the_same_container(made: Any, rng: np.random.Generator) -> None:
    updates = [made(rng) for _ in range(SITES)]
    settings = {"bits": 20, "range": 1.0}
    done = secagg.aggregate(
        updates, weights=EXAMPLES, max_weight=200, quantization=settings, dropouts={2: "masked-input"}
    )
    present = [0, 2, 3]
    total = sum(EXAMPLES[place] for place in present)
    assert done.record.exact
    assert type(done.value) is type(updates[0])
    expected = [
        sum(EXAMPLES[place] * array for place, array in zip(present, arrays, strict=True)) / total
        for arrays in zip(*(arrays_of(updates[place]) for place in present), strict=True)
    ]
    for got, wanted in zip(arrays_of(done.value), expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=SITES * 2 / 2**20)
