"""Robust averaging through the protocol: bad sites move little, groups are large enough, the cost is stated."""

from __future__ import annotations

import numpy as np
import pytest

import quant
import secagg
from protocols.pairwise import Phase

FINE = {"bits": 16, "range": 2.0}


@pytest.fixture
def sixteen(rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Sixteen sites that agree up to noise, but for one that says the opposite as loudly as it can."""
    honest = {client: 0.3 + rng.normal(size=40) * 0.05 for client in range(1, 17)}
    return {**honest, 7: np.full(40, -2.0)}


@pytest.mark.parametrize("combine", ["median", "trimmed"])
def test_one_bad_site_moves_the_mean_but_not_the_groups(sixteen: dict[int, np.ndarray], combine: str) -> None:
    plain = secagg.aggregate(sixteen, quantization=FINE)
    robust = secagg.aggregate(sixteen, quantization=FINE, groups=4, combine=combine)  # type: ignore[arg-type]
    assert np.abs(plain.value - 0.3).max() > 0.1
    assert np.abs(robust.value - 0.3).max() < 0.1
    assert robust.record.exact


def test_groups_are_dealt_whole_and_by_chance(sixteen: dict[int, np.ndarray]) -> None:
    first, again = (secagg.aggregate(sixteen, quantization=FINE, groups=4) for _ in range(2))
    for result in (first, again):
        assert sorted(client for group in result.groups for client in group.clients) == list(range(1, 17))
        assert all(len(group.clients) == 4 for group in result.groups)
    assert [g.clients for g in first.groups] != [g.clients for g in again.groups]  # 1 in 63 million otherwise


def test_the_cost_in_privacy_is_stated(sixteen: dict[int, np.ndarray]) -> None:
    result = secagg.aggregate(sixteen, quantization=FINE, groups=5)
    assert result.cost == quant.robust.GroupCost(3, (16 / 3) ** 0.5, 2)
    assert secagg.aggregate(sixteen, quantization=FINE).cost is None


def test_a_least_group_size_is_enforced(sixteen: dict[int, np.ndarray]) -> None:
    with pytest.raises(quant.ConfigurationError, match="3 is the least"):
        secagg.aggregate(sixteen, quantization=FINE, groups=6)
    present = dict.fromkeys((1, 2, 3), "advertise-keys")
    with pytest.raises(quant.ConfigurationError, match="3 is the least"):  # thirteen came, so five groups are too many
        secagg.aggregate(sixteen, quantization=FINE, groups=5, dropouts=present)


@pytest.mark.parametrize("late", ["masked-input", "unmasking"])
def test_dropouts_before_and_after_the_deal(sixteen: dict[int, np.ndarray], late: str) -> None:
    """The deal is random, so one client vanishes after it: two could meet in one group, which then stays shut."""
    gone = {1: "advertise-keys", 2: "share-keys", 3: late}
    result = secagg.aggregate(sixteen, quantization=FINE, groups=3, dropouts=gone)
    dealt = {client for group in result.groups for client in group.clients}
    assert dealt == set(range(3, 17))
    assert set(result.included) == (dealt - {3} if late == "masked-input" else dealt)
    assert np.abs(result.value - 0.3).max() < 0.15


def test_a_group_that_cannot_be_opened_ends_the_call(sixteen: dict[int, np.ndarray]) -> None:
    with pytest.raises(secagg.RoundRefused, match=r"group \d of 5"):
        secagg.aggregate(sixteen, quantization=FINE, groups=5, dropouts=dict.fromkeys(range(1, 9), "unmasking"))


def test_the_clip_bounds_a_bad_site_too(sixteen: dict[int, np.ndarray]) -> None:
    result = secagg.aggregate(sixteen, quantization={**FINE, "clip": 3.0}, groups=4)
    sums = [group.monitoring for group in result.groups]
    assert sorted(seen.clipped_fraction for seen in sums if seen is not None) == [0, 0, 0, 0.25]


def test_bytes_of_the_deal_count(sixteen: dict[int, np.ndarray]) -> None:
    record = secagg.aggregate(sixteen, quantization=FINE, groups=4).record
    assert set(record.uplink_bytes) >= {phase.value for phase in (Phase.ADVERTISE_KEYS, Phase.UNMASKING)}
    assert set(record.uplink_bytes["advertise-keys"]) == set(range(1, 17))
    alone = secagg.aggregate({c: sixteen[c] for c in (1, 2, 3, 4)}, quantization=FINE).record
    assert record.uplink_bytes["advertise-keys"][1] > 1.9 * alone.uplink_bytes["advertise-keys"][1]


def test_weights_and_feedback_go_through_groups(sixteen: dict[int, np.ndarray]) -> None:
    result = secagg.aggregate(
        sixteen, quantization=FINE, groups=4, weights=dict.fromkeys(sixteen, 3), max_weight=4, residuals={}
    )
    assert np.abs(result.value - 0.3).max() < 0.1
    assert set(result.residuals) == set(sixteen)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"groups": 2}, quant.ConfigurationError),
        ({"groups": 4, "combine": "mean"}, quant.ConfigurationError),
        ({"groups": 4, "combine": "trimmed", "trim": 2}, quant.ConfigurationError),
        ({"groups": 4, "reduce": "sum"}, secagg.UsageError),
        ({"groups": 4, "threshold": 10}, secagg.UsageError),
        ({"groups": 4, "adaptive_clip": quant.AdaptiveClip(1.0)}, secagg.UsageError),
    ],
    ids=str,
)
def test_groups_that_make_no_sense(
    sixteen: dict[int, np.ndarray], options: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        secagg.aggregate(sixteen, quantization=FINE, **options)  # type: ignore[arg-type]
