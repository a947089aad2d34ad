"""Clip and bits that move from round to round, driven by sums only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import quant
import secagg
from secagg.adaptive import RoundPlanner, parse_bits
from secagg.config import INSIDE


def test_the_clip_finds_the_quantile_through_the_protocol(rng: np.random.Generator) -> None:
    """Nine sites with norms 1 to 9, quantile 0.5: the clip settles where four or five are inside."""
    directions = {client: rng.normal(size=50) for client in range(1, 10)}
    updates = {client: client * x / np.linalg.norm(x) for client, x in directions.items()}
    planner = RoundPlanner(10, quant.AdaptiveClip(0.2, quantile=0.5, rate=1.0))
    for number in range(12):
        assert planner.clip is not None
        result = secagg.aggregate(
            updates,
            quantization={"bits": planner.bits, "range": 1.0},
            adaptive_clip=planner.clip,
            round_index=number,
            dropouts={} if number % 2 else {1 + number % 9: "unmasking"},
        )
        planner = planner.after(len(result.included), result.inside)
    assert planner.clip is not None
    assert 3.5 < planner.clip.bound < 6.5


@pytest.mark.fast
def test_the_bit_is_one_masked_number(config: secagg.RoundConfig, updates: dict[int, np.ndarray]) -> None:
    clipping = replace(config, adaptive_clip=quant.AdaptiveClip(2.5))
    spec = next(vector for vector in clipping.params.vectors if vector.name == INSIDE)
    assert (spec.length, spec.modulus) == (1, 8)
    norms = sorted(float(np.linalg.norm(update)) for update in updates.values())
    between = (norms[1] + norms[2]) / 2
    result = secagg.aggregate(updates, adaptive_clip=quant.AdaptiveClip(between))
    assert result.inside == 2


def test_bits_follow_the_measured_error(rng: np.random.Generator) -> None:
    updates = {client: rng.normal(size=2000) * 0.1 for client in range(1, 6)}
    planner = RoundPlanner(3, by_error=quant.BitsByError(0.001))
    used = []
    for number in range(4):
        used.append(planner.bits)
        result = secagg.aggregate(updates, quantization={"bits": planner.bits, "range": 0.5}, round_index=number)
        planner = planner.after(len(result.included), monitoring=result.record.monitoring)
    assert used[0] == 3
    assert used[1] > 6
    assert abs(used[-1] - used[-2]) <= 1
    seen = result.record.monitoring
    assert seen is not None
    assert seen.relative_error is not None
    assert 0.0001 < seen.relative_error < 0.002


@pytest.mark.fast
def test_bits_follow_the_schedule() -> None:
    planner = RoundPlanner(12, stages=quant.BitSchedule(((0, 4), (2, 8))))
    used = []
    for _ in range(4):
        used.append(planner.bits)
        planner = planner.after(5)
    assert used == [4, 4, 8, 8]


@pytest.mark.fast
def test_what_was_not_measured_cannot_be_followed() -> None:
    with pytest.raises(secagg.UsageError, match="adaptive_clip"):
        RoundPlanner(8, quant.AdaptiveClip(1.0)).after(5)
    with pytest.raises(secagg.UsageError, match="monitoring"):
        RoundPlanner(8, by_error=quant.BitsByError(0.01)).after(5)
    with pytest.raises(secagg.UsageError, match="not both"):
        RoundPlanner(8, stages=quant.BitSchedule(((0, 4),)), by_error=quant.BitsByError(0.01))


@pytest.mark.fast
def test_bits_on_the_command_line() -> None:
    assert parse_bits("0:6,10:8") == quant.BitSchedule(((0, 6), (10, 8)))
    assert parse_bits("error:0.01") == quant.BitsByError(0.01)
    for text in ("", "8", "0-8", "error:", "error:x", "0:8:9"):
        with pytest.raises(secagg.UsageError, match="unreadable"):
            parse_bits(text)
    for text in ("3:8", "0:40", "error:-1", "0:4,0:8"):
        with pytest.raises(quant.ConfigurationError):
            parse_bits(text)
