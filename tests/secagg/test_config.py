"""RoundConfig: everything that sites agree on, refused at construction, hashed into the protocol parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import quant
from protocols import ParameterError
from secagg import RoundConfig, UsageError

pytestmark = pytest.mark.fast


def test_field_width_holds_the_sum(config: RoundConfig) -> None:
    assert config.lanes.width == quant.field_width(4096, 5) == 15
    update, monitor = config.params.vectors
    assert (monitor.name, monitor.length) == ("monitor", 3)
    assert update.length == config.lanes.lanes
    assert update.bits == config.lanes.lane_bits


def test_weight_vector_holds_the_sum_of_the_largest_weights(config: RoundConfig) -> None:
    weighted = replace(config, max_weight=1000)
    assert [vector.name for vector in weighted.params.vectors] == ["update", "weight", "monitor"]
    assert weighted.params.vectors[1].modulus > 5 * 1000


@pytest.mark.parametrize(
    "change",
    [
        {"quantization": {"bits": 11, "range": 1.0}},
        {"quantization": {"bits": 12, "range": 2.0}},
        {"quantization": {"bits": 12, "range": 1.0, "clip": 3.0}},
        {"quantization": {"bits": 12, "range": 1.0, "rounding": "nearest"}},
        {"max_weight": 10},
        {"layout": quant.Layout.of(np.zeros(33, dtype=np.float32))},
        {"layout": quant.Layout.of({"a": np.zeros(33)})},
        {"monitor": False},
        {"error_feedback": True},
        {"downlink_bits": 8},
        {"adaptive_clip": quant.AdaptiveClip(1.0)},
        {"adaptive_clip": quant.AdaptiveClip(1.0, quantile=0.9)},
    ],
    ids=lambda change: str(next(iter(change.items()))),
)
def test_whatever_changes_the_task_changes_its_hash(config: RoundConfig, change: dict[str, object]) -> None:
    changed = replace(config, **change)  # type: ignore[arg-type]
    assert changed.task != config.task
    assert changed.params.hash() != config.params.hash()


def test_clients_in_any_order_are_the_same_round(config: RoundConfig) -> None:
    assert replace(config, clients=(5, 3, 1, 2, 4)).params.hash() == config.params.hash()


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"clients": (1, 1, 2)}, UsageError, "distinct"),
        ({"clients": (1, 2)}, ParameterError, "at least 3 are needed"),
        ({"clients": ()}, UsageError, "no clients"),
        ({"threshold": 6}, ParameterError, "cannot be met"),
        ({"clients": (0, 1, 2)}, ParameterError, "ids from 1"),
        ({"quantization": {"bits": 33, "range": 1.0}}, quant.QuantError, "bits"),
        ({"quantization": {"bitz": 8}}, quant.QuantError, "bits"),
        ({"protocol": "secagg+", "threshold": 4}, UsageError, "leave it out"),
        ({"adversary": "active"}, ParameterError, "roster"),
        ({"quantization": {"scheme": "qsgd"}}, quant.QuantError, "norm.*public range"),
        ({"quantization": {"scheme": "top-k"}}, quant.QuantError, "SharedRandomK"),
        ({"quantization": {"scheme": "bitsandbytes"}}, quant.QuantError, "codebook"),
        ({"quantization": {"scheme": "DRIVE"}}, quant.QuantError, "UniformGrid"),
        ({"quantization": {"scheme": "huffman"}}, quant.QuantError, "do not compress"),
        ({"downlink_bits": 25}, UsageError, "1 to 24"),
        ({"devices": {9: 1}}, UsageError, "not invited"),
        ({"devices": {1: 1, 2: 1, 3: 1}}, quant.QuantError, "do not nest"),
        ({"quantization": {"levels": 257}, "devices": {1: 1, 2: 1}}, quant.QuantError, "only"),
        ({"quantization": {"levels": 257}, "devices": {1: 1, 2: 1, 3: 1}}, quant.QuantError, "only 2 devices"),
        ({"error_feedback": True, "quantization": {"random_k": 5}}, quant.QuantError, "amplifies"),
        ({"adaptive_clip": quant.AdaptiveClip(1.0), "quantization": {"clip": 1.0}}, UsageError, "leave clip out"),
    ],
    ids=str,
)
def test_refusals(config: RoundConfig, change: dict[str, object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        replace(config, **change)  # type: ignore[arg-type]


def test_secagg_plus_finds_a_sparse_graph() -> None:
    config = RoundConfig(
        clients=tuple(range(1, 101)), layout=quant.Layout.of(np.zeros(3)), quantization={}, protocol="secagg+"
    )
    assert config.params.sparse
    assert config.params.degree == config.certificate.degree < 99
    assert all(bound.margin >= 0 for bound in config.certificate.bounds)
