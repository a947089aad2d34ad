import json
import math
from dataclasses import FrozenInstanceError, dataclass
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant.chain import chain
from quant.clip import ClipL2, ClipLinf
from quant.codec import UpdateCodec
from quant.errors import CapacityError, ConfigurationError, InputError
from quant.grid import UniformGrid
from tests.quant.conftest import (
    HIGHEST,
    LOWEST,
    ConstantStream,
    InsecureSeededStream,
    NoStream,
    exact_square_norm,
    finite_vectors,
    levels_and_bounds,
)

BOUND = st.one_of(st.none(), st.floats(1e-30, 1e30))
ROUNDING = st.sampled_from(["stochastic", "nearest"])


def build(dim, levels_and_bound, l2, linf, rounding):
    clips = [*([ClipL2(l2)] if l2 else []), *([ClipLinf(linf)] if linf else [])]
    return chain(*clips, UniformGrid(*levels_and_bound, rounding), dim=dim)


@settings(max_examples=120)
@given(finite_vectors(), levels_and_bounds(), BOUND, BOUND, ROUNDING)
def test_no_input_violates_the_declared_facts(x, levels_and_bound, l2, linf, rounding):
    codec = build(x.size, levels_and_bound, l2, linf, rounding)
    facts = codec.facts
    clipped = codec.clip(x)
    if facts.l2_bound is not None:
        assert exact_square_norm(clipped) <= Fraction(facts.l2_bound) ** 2
    saturated = codec.saturated(x)
    if not facts.may_saturate:
        assert saturated == 0
    inside = np.abs(clipped.astype(float)) <= codec.grid.bound
    assert saturated == np.count_nonzero(~inside)
    for stream in (ConstantStream(LOWEST), ConstantStream(HIGHEST), InsecureSeededStream(0)):
        q = codec.encode(x, stream)
        assert q.dtype == np.int64
        assert q.shape == (facts.dim,)
        assert facts.lower <= q.min()
        assert q.max() <= facts.upper
        decoded = codec.decode(q, 1)
        for value, back, ok in zip(clipped.tolist(), decoded.tolist(), inside.tolist(), strict=True):
            assert not ok or abs(Fraction(back) - Fraction(value)) <= Fraction(facts.max_error)
    limit = facts.linf_bound + (0 if rounding == "nearest" else facts.step) + facts.max_error
    assert np.abs(decoded).max() <= limit


@settings(max_examples=100)
@given(levels_and_bounds(), BOUND, BOUND, ROUNDING, st.integers(1, 5))
def test_facts_follow_from_the_chain(levels_and_bound, l2, linf, rounding, dim):
    facts = build(dim, levels_and_bound, l2, linf, rounding).facts
    levels, bound = levels_and_bound
    known = [b for b in (l2, linf) if b is not None]
    assert (facts.dim, facts.lower, facts.upper, facts.levels) == (dim, 0, levels - 1, levels)
    assert facts.bits == math.ceil(math.log2(levels)) or levels > 2**30
    assert facts.step == 2 * bound / (levels - 1)
    assert facts.l2_bound == l2
    assert facts.linf_bound == min([bound, *known])
    assert facts.may_saturate == (min(known, default=math.inf) > bound)
    assert facts.unbiased == (rounding == "stochastic")
    assert facts.max_error >= facts.step / (1 if facts.unbiased else 2)
    assert facts.max_bias <= facts.max_error


def test_cohort_facts():
    facts = chain(UniformGrid(256, 1.0), dim=3).facts
    assert facts.field_width(50) == 14
    assert facts.max_clients(14) == 64
    with pytest.raises(CapacityError):
        facts.field_width(65, limit=14)


def test_a_codec_is_pure_and_frozen():
    codec = chain(ClipL2(1.0), UniformGrid(16, 1.0), dim=3)
    x = np.float32([3, -4, 0.1])
    first, second = (codec.encode(x, InsecureSeededStream(1)) for _ in range(2))
    assert np.array_equal(first, second)
    assert x.tolist() == np.float32([3, -4, 0.1]).tolist()
    with pytest.raises(FrozenInstanceError):
        codec.dim = 4
    assert codec == chain(ClipL2(1.0), UniformGrid(16, 1.0), dim=3)
    assert hash(codec) == hash(chain(ClipL2(1.0), UniformGrid(16, 1.0), dim=3))
    assert codec != chain(ClipL2(2.0), UniformGrid(16, 1.0), dim=3)


def test_a_chain_is_an_update_codec():
    codec: UpdateCodec = chain(UniformGrid(3, 1.0, "nearest"), dim=3)
    assert codec.encode(np.float32([-1, 0, 1]), NoStream()).tolist() == [0, 1, 2]
    assert codec.clip(x := np.ones(3)) is x


def test_default_stream_is_the_systems():
    codec = chain(UniformGrid(2, 1.0), dim=1000)
    q = codec.encode(np.zeros(1000))
    assert 300 < q.sum() < 700
    assert not np.array_equal(q, codec.encode(np.zeros(1000)))


def test_config_is_canonical_json():
    codec = chain(ClipL2(3), ClipLinf(2), UniformGrid(5, 1), dim=7)
    expected = {"dim": 7, "clip": 3.0, "clip_linf": 2.0, "levels": 5, "range": 1.0, "rounding": "stochastic"}
    assert codec.config() == expected
    assert json.loads(json.dumps(codec.config(), allow_nan=False)) == expected
    numpy_made = chain(ClipL2(np.float64(3)), ClipLinf(np.int64(2)), UniformGrid(np.int64(5), 1), dim=np.int64(7))
    assert json.dumps(numpy_made.config()) == json.dumps(codec.config())


L2, LINF, GRID = ClipL2(1.0), ClipLinf(1.0), UniformGrid(4, 1.0)


@dataclass
class TopK:
    k: int


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ([], "no grid: end it with a UniformGrid"),
        ([L2], "no grid"),
        ([L2, LINF], "no grid"),
        ([GRID, GRID], "two stages UniformGrid"),
        ([L2, L2, GRID], "two stages ClipL2"),
        ([GRID, L2], "ClipL2 stands after UniformGrid; the order is ClipL2, ClipPerLayer, ClipLinf, LayerScales"),
        ([LINF, L2, GRID], "ClipL2 stands after ClipLinf"),
        ([L2, GRID, LINF], "ClipLinf stands after UniformGrid"),
        ([TopK(3), GRID], "TopK cannot be summed: every site would pick its own coordinates.*SharedRandomK"),
        (["halve", GRID], "halve is no stage of a chain; stages are ClipL2, ClipPerLayer"),
        ([ClipL2, GRID], "type is no stage"),
    ],
)
def test_wrong_chains_are_refused_by_name(stages, says):
    with pytest.raises(ConfigurationError, match=says):
        chain(*stages, dim=3)


@pytest.mark.parametrize("dim", [0, -1, 1.0, True, None])
def test_bad_dimensions_are_refused(dim):
    with pytest.raises(ConfigurationError, match="dim must be"):
        chain(GRID, dim=dim)


@pytest.mark.parametrize("stages", [[GRID], [L2, GRID], [LINF, GRID]])
@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.ones(2), "3 coordinates, not 2"),
        (np.array([1, np.nan, 1]), "1 of 3 coordinates are NaN or infinite"),
        (np.float32([1, np.inf, 1]), "1 of 3 coordinates are NaN or infinite"),
        (np.ones((1, 3)), "shape"),
        (np.array(1.0), "shape"),
        (np.empty(0), "shape"),
        (np.ones(3, int), "int64"),
        ([1.0, 1.0, 1.0], "list"),
    ],
)
def test_bad_updates_are_refused(stages, x, says):
    codec = chain(*stages, dim=3)
    with pytest.raises(InputError, match=says):
        codec.encode(x)
    with pytest.raises(InputError, match=says):
        codec.saturated(x)


def test_bad_totals_are_refused():
    codec = chain(GRID, dim=3)
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        codec.decode(np.zeros(2, np.int64), 1)
    with pytest.raises(InputError, match="wrong count or a wrapped sum"):
        codec.decode(np.array([0, 0, 7]), 2)
