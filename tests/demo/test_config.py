from collections import Counter

import pytest

from secagg.demo.config import PHASES, DemoConfig, learning_rate, update_limit
from secagg.errors import UsageError
from secagg.inprocess import PHASES as PROTOCOL_PHASES

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"dataset": "mnist"}, "breast-cancer, digits"),
        ({"sites": 2}, "at least 3"),
        ({"rounds": 0}, "1 to 1000"),
        ({"bits": 1}, "2 to 24"),
        ({"bits": 25}, "2 to 24"),
        ({"seed": -1}, "0 or more"),
        ({"skew": "skewed"}, "label:ALPHA"),
        ({"range": 0.0}, "positive"),
        ({"range": float("nan")}, "positive"),
        ({"range": float("inf")}, "positive"),
        ({"dropout": 4}, "at most 3"),
        ({"dropout": 0.5}, "at most 3"),
        ({"sites": 5, "dropout": 2}, "at most 1"),
        ({"dropout": -1}, "fraction"),
        ({"dropout": 1.5}, "whole number"),
        ({"dropout": float("nan")}, "fraction"),
        ({"scheme": "magic"}, "stochastic, nearest"),
        ({"updates": "weights"}, "delta, gradient"),
        ({"downlink_bits": 0}, "1 to 24"),
        ({"drift": 1.5}, "0 to 1"),
        ({"drift": float("nan")}, "0 to 1"),
        ({"adaptive_bits": "lots"}, "ROUND:BITS"),
        ({"adaptive_bits": "error:0.1", "monitor": False}, "need monitoring"),
        ({"adaptive_clip": 0.5, "range": 1.0}, "range"),
    ],
)
def test_what_cannot_work_is_refused_with_what_can(choice, says):
    with pytest.raises(UsageError, match=says) as refusal:
        DemoConfig(**choice)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("sites", "dropout", "lost"),
    [(10, None, 2), (10, 0, 0), (10, 3, 3), (10, 0.2, 2), (12, 0.25, 3), (5, None, 1), (4, None, 1), (3, None, 0)],
)
def test_dropouts_per_round(sites, dropout, lost):
    config = DemoConfig(sites=sites, dropout=dropout)
    assert config.dropouts_per_round == lost
    assert sites - lost >= config.threshold
    assert all(len(config.dropouts(index)) == lost for index in range(8))


def test_phases_are_those_of_the_protocol():
    assert set(PHASES) < set(PROTOCOL_PHASES)


def test_phases_take_turns():
    config = DemoConfig(dropout=1)
    phases = [next(iter(config.dropouts(index).values())) for index in range(2 * len(PHASES))]
    assert phases == [*PHASES, *PHASES]


def test_dropouts_of_one_round_differ_in_phase():
    config = DemoConfig(sites=30, dropout=9)
    assert sorted(Counter(config.dropouts(0).values()).values()) == [1, 2, 2, 2, 2]


def test_schedule_follows_the_seed():
    def schedule(seed):
        return [DemoConfig(seed=seed).dropouts(index) for index in range(5)]

    assert schedule(1) == schedule(1) != schedule(2)
    sites = {site for lost in schedule(1) for site in lost}
    assert sites <= set(range(1, 11))
    assert len(sites) > 3


def test_grid_follows_the_learning_rate_unless_a_range_is_given():
    assert DemoConfig(range=0.5).grid_range(7) == 0.5
    ranges = [DemoConfig(rounds=10).grid_range(index) for index in range(10)]
    assert ranges == [update_limit(index, 10) for index in range(10)]
    assert ranges == sorted(ranges, reverse=True)
    assert min(learning_rate(index, 10) for index in range(10)) > 0
