import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant.errors import ConfigurationError
from quant.lanes import LaneLayout
from quant.mixed import NestedGrids
from tests.quant.conftest import InsecureSeededStream


@settings(max_examples=80)
@given(
    st.integers(0, 6),
    st.integers(1, 50),
    st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=1, max_size=5),
    st.sampled_from(["stochastic", "nearest"]),
    st.data(),
)
def test_all_precisions_add_up(most_shift, coarse, rows, rounding, data):
    nested = NestedGrids(coarse * 2**most_shift + 1, 1.0, most_shift, rounding)
    total, allowed = np.zeros(3, np.int64), 0.0
    for seed, row in enumerate(rows):
        shift = data.draw(st.integers(0, most_shift))
        q = nested.encode(np.array(row), shift, InsecureSeededStream(seed))
        assert not np.any(q % 2**shift)
        assert q.min() >= 0
        assert q.max() <= nested.levels - 1
        assert np.allclose(nested.decode(q, 1), nested.grid(shift).decode(q >> shift, 1), atol=1e-14)
        total += q
        allowed += nested.grid(shift).max_error
    assert np.abs(nested.decode(total, len(rows)) - np.sum(rows, axis=0)).max() <= allowed + 1e-12


def test_savings_are_what_lanes_take():
    nested = NestedGrids(2**12 + 1, 1.0, 8)
    found = nested.savings(10_000, {0: 4, 8: 6})
    assert [(group.shift, group.clients) for group in found] == [(0, 4), (8, 6)]
    assert found[0].together_bytes == found[1].together_bytes == 8 * LaneLayout(10_000, 16).lanes
    assert found[0].apart_bytes == 8 * LaneLayout(10_000, 15).lanes
    assert found[1].apart_bytes == 8 * LaneLayout(10_000, 7).lanes
    assert nested.variance({0: 4, 8: 6}) == pytest.approx((4 + 6 * 4.0**8) * nested.grid().step ** 2 / 4)


def test_small_groups_are_refused():
    nested = NestedGrids(17, 1.0, 2)
    with pytest.raises(ConfigurationError, match="only 2 devices round with shift 1, at least 3 must"):
        nested.check_groups({0: 5, 1: 2})
    nested.check_groups({0: 5, 1: 0})
    nested.check_groups({0: 5, 1: 2}, least=2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((18, 1.0, 2), "levels - 1 must be a multiple of 4, such as 17"),
        ((17, 1.0, 2, "dither"), "nested grids round stochastic or nearest"),
        ((17, 0.0, 2), "grid range"),
        ((17, 1.0, 40), "most_shift"),
    ],
)
def test_what_does_not_nest_is_refused(arguments, says):
    with pytest.raises(ConfigurationError, match=says):
        NestedGrids(*arguments)
