import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant.errors import ConfigurationError, InputError
from quant.robust import GroupedMean
from tests.quant.conftest import InsecurePublic


@settings(max_examples=100)
@given(st.integers(3, 9), st.sampled_from(["median", "trimmed"]), st.data())
def test_tolerated_groups_cannot_leave_the_range_of_the_good(groups, method, data):
    trim = data.draw(st.integers(1, (groups - 1) // 2))
    robust = GroupedMean(groups, method, trim)
    good = np.random.default_rng(0).normal(size=(groups - robust.tolerated, 4))
    bad = data.draw(
        st.lists(st.sampled_from([-1e30, 1e30, 0.0]), min_size=robust.tolerated * 4, max_size=robust.tolerated * 4)
    )
    means = np.concatenate([good, np.array(bad).reshape(-1, 4)])
    combined = robust.combine(means[np.random.default_rng(1).permutation(groups)])
    assert np.all(combined >= good.min(axis=0) - 1e-12)
    assert np.all(combined <= good.max(axis=0) + 1e-12)


def test_one_more_breaks_it():
    robust = GroupedMean(5, "median")
    means = np.array([[1.0], [2.0], [9e9], [9e9], [9e9]])
    assert robust.tolerated == 2
    assert robust.combine(means)[0] == 9e9


def test_the_trimmed_mean_is_a_mean():
    means = np.array([[0.0], [1], [2], [6], [100]])
    assert GroupedMean(5, "trimmed", 1).combine(means).tolist() == [3.0]
    assert GroupedMean(5, "trimmed", 2).combine(means).tolist() == [2.0]
    assert GroupedMean(5).combine(means).tolist() == [2.0]


def test_groups_are_dealt_evenly_and_by_public_randomness():
    clients = list(range(100, 117))
    robust = GroupedMean(5)
    dealt = robust.assign(clients, InsecurePublic(0))
    assert sorted(len(group) for group in dealt) == [3, 3, 3, 4, 4]
    assert sorted(client for group in dealt for client in group) == clients
    assert dealt == robust.assign(clients[::-1], InsecurePublic(0))
    assert dealt != robust.assign(clients, InsecurePublic(1))


def test_the_cost_is_stated():
    cost = GroupedMean(5).cost(20)
    assert (cost.smallest_sum, cost.tolerated) == (4, 2)
    assert cost.noise_share_growth == pytest.approx(math.sqrt(5))
    with pytest.raises(ConfigurationError, match="groups of 2, but 3 is the least: use at most 4 groups"):
        GroupedMean(5).cost(12)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [((2,), "groups"), ((5, "mean"), "median or trimmed"), ((5, "trimmed", 3), "trim"), ((5, "median", 1, 1), "least")],
)
def test_bad_settings_are_refused(arguments, says):
    with pytest.raises(ConfigurationError, match=says):
        GroupedMean(*arguments)


def test_bad_means_are_refused():
    with pytest.raises(InputError, match=r"shape \(3, dim\)"):
        GroupedMean(3).combine(np.zeros((2, 4)))
    with pytest.raises(InputError, match="not finite"):
        GroupedMean(3).combine(np.array([[1.0], [np.nan], [2.0]]))
    with pytest.raises(InputError, match="named twice"):
        GroupedMean(3).assign([1, 1, 2, 3, 4, 5, 6, 7, 8, 9], InsecurePublic(0))
