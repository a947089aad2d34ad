"""Whatever declares itself unbiased is: over a million rounded coordinates, along the update and along everything."""

import math

import numpy as np
import pytest

from quant.mixed import NestedGrids
from quant.presets import from_config
from tests.quant.conftest import InsecurePublic, InsecureSeededStream

DIM, REPEATS = 4096, 245
RANGE = 60.0
"""Beyond all values, rotated ones too: what saturates is biased."""

LAYERS = {"layers": [1024, 3072]}

UNBIASED = {
    "stochastic": {"levels": 26, "range": RANGE},
    "stochastic, one bit": {"levels": 2, "range": RANGE},
    "stochastic, 16-bit coins": {"levels": 26, "range": RANGE, "coin_bits": 16},
    "dither": {"levels": 26, "range": RANGE, "rounding": "dither"},
    "dither, 32-bit coins": {"levels": 26, "range": RANGE, "rounding": "dither", "coin_bits": 32},
    "conditional": {"levels": 25, "range": RANGE, "rounding": "conditional", "clip": 400.0},
    "fixed point": {"integer_bits": 6, "fraction_bits": 1},
    "rotation + stochastic": {"levels": 26, "range": RANGE, "rotation": True},
    "rotation + dither": {"levels": 26, "range": RANGE, "rotation": True, "rounding": "dither"},
    "rotation + conditional": {
        "levels": 25,
        "range": RANGE,
        "rotation": True,
        "rounding": "conditional",
        "clip": 400.0,
    },
    "random_k": {"levels": 26, "range": RANGE, "random_k": 2048, "rounding": "dither"},
    "SRHT": {"levels": 26, "range": RANGE, "rotation": True, "random_k": 1024, "rounding": "dither"},
    "layer_scales": {"levels": 26, "range": RANGE, "layer_scales": [1.0, 3.0], **LAYERS},
    "a grid per layer": {"layer_levels": [26, 9], "layer_ranges": [RANGE, 2 * RANGE], "rounding": "dither", **LAYERS},
    "modular": {"modulus_bits": 8, "step": 5.0},
    "rotation + modular + dither": {"modulus_bits": 8, "step": 5.0, "rotation": True, "rounding": "dither"},
}

BIASED = {
    "nearest": {"levels": 26, "range": RANGE, "rounding": "nearest"},
    "random_k, not amplified": {"levels": 26, "range": RANGE, "random_k": 2048, "amplify": False},
    "keep": {"levels": 26, "range": RANGE, "keep": [[0, 2048]]},
}


@pytest.fixture(scope="module")
def update():
    rng = np.random.default_rng(5)
    return (rng.lognormal(size=DIM) * np.where(rng.random(DIM) < 0.7, 1, -1)).clip(-50, 50)


def z_scores(errors, update):
    """Of the mean error along the update, and of the sum of all errors; every row is one independent encoding."""
    for direction in (update / np.linalg.norm(update), np.full(DIM, 1 / math.sqrt(DIM))):
        along = errors @ direction
        yield float(along.mean() / (along.std(ddof=1) / math.sqrt(len(along))))


def encodings(config, update, dtype):
    codec, x = from_config(config, DIM), update.astype(dtype)
    for repeat in range(REPEATS):
        public = InsecurePublic(f"bias {repeat}")
        q = codec.encode(x, InsecureSeededStream(f"bias {repeat}"), public=public, client=1)
        clients = [1] if "dither" in codec.public_labels else []
        yield codec.decode(q, 1, public=public, clients=clients) - x.astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scheme", UNBIASED)
def test_unbiased_over_a_million_draws(scheme, dtype, update):
    assert from_config(UNBIASED[scheme], DIM).facts.unbiased
    errors = np.stack(list(encodings(UNBIASED[scheme], update, dtype)))
    assert errors.size >= 10**6
    assert errors.std() > 0
    for z in z_scores(errors, update):
        assert abs(z) < 4.9


@pytest.mark.parametrize("scheme", BIASED)
def test_what_is_biased_says_so_and_is_seen(scheme, update):
    assert not from_config(BIASED[scheme], DIM).facts.unbiased
    errors = np.stack(list(encodings(BIASED[scheme], update, np.float64)))
    errors += np.random.default_rng(0).normal(scale=1e-3, size=errors.shape)  # some have no variance of their own
    assert max(abs(z) for z in z_scores(errors, update)) > 4.9


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_every_precision_of_nested_grids_is_unbiased(shift, update):
    nested = NestedGrids(25, RANGE, 2)
    rows = [
        nested.decode(nested.encode(update, shift, InsecureSeededStream(f"nested {i}")), 1) - update
        for i in range(REPEATS)
    ]
    for z in z_scores(np.stack(rows), update):
        assert abs(z) < 4.9
