import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant.chain import chain
from quant.clip import ClipL2
from quant.errors import ConfigurationError, InputError
from quant.grid import UniformGrid
from quant.weighting import MAX_WEIGHT, Weighting
from tests.quant.conftest import InsecureSeededStream, exact_square_norm, finite_vectors


@settings(max_examples=100)
@given(finite_vectors(), st.integers(1, MAX_WEIGHT), st.data())
def test_apply_never_enlarges(x, max_weight, data):
    weight = data.draw(st.integers(0, max_weight))
    with np.errstate(all="raise"):
        y = Weighting(max_weight).apply(x, weight)
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert np.all(np.abs(y) <= np.abs(x))
    if weight == max_weight:
        assert np.array_equal(y, x)
    if weight == 0:
        assert not y.any()


@pytest.mark.parametrize("weight", [0, 1, 7, np.int64(7)])
def test_good_weights(weight):
    checked = Weighting(7).check(weight)
    assert type(checked) is int
    assert checked == weight


@pytest.mark.parametrize("weight", [-1, 8, 1.0, 0.5, True, None, "1", float("nan")])
def test_bad_weights_are_refused(weight):
    with pytest.raises(InputError, match="a weight must be"):
        Weighting(7).check(weight)
    with pytest.raises(InputError, match="a weight must be"):
        Weighting(7).apply(np.ones(2), weight)


@pytest.mark.parametrize("max_weight", [0, -1, 1.5, MAX_WEIGHT + 1, True])
def test_bad_bounds_are_refused(max_weight):
    with pytest.raises(ConfigurationError, match="max_weight"):
        Weighting(max_weight)


def test_mean_of_exact_sums():
    weighting = Weighting(10)
    xs, ws = np.array([[1.0, -2.0], [4.0, 0.5], [9.0, 9.0]]), [10, 5, 0]
    total = sum(weighting.apply(x, w) for x, w in zip(xs, ws, strict=True))
    assert weighting.mean(total, sum(ws)) == pytest.approx(np.average(xs, axis=0, weights=ws))


def test_mean_through_the_grid_keeps_its_error_analysis(rng):
    n, weighting = 12, Weighting(500)
    codec = chain(ClipL2(3.0), UniformGrid(4096, 1.0), dim=300)
    xs = rng.uniform(-0.1, 0.1, (n, 300)).astype(np.float32)
    ws = [int(w) for w in rng.integers(1, 500, n, endpoint=True)]
    total = sum(
        codec.encode(weighting.apply(codec.clip(x), w), InsecureSeededStream(i))
        for i, (x, w) in enumerate(zip(xs, ws, strict=True))
    )
    mean = weighting.mean(codec.decode(total, n), sum(ws))
    error = np.abs(mean - np.average(xs.astype(float), axis=0, weights=ws)).max()
    assert error <= n * (codec.facts.max_error + 2**-23 * 0.1) * 500 / sum(ws)


def test_clip_before_weighing_bounds_what_a_site_thinks():
    codec, weighting = chain(ClipL2(1.0), UniformGrid(4096, 1.0), dim=4), Weighting(10)
    x = np.full(4, 50.0, np.float32)
    weighed = weighting.apply(codec.clip(x), 1)
    assert codec.clip(weighed) is weighed
    assert exact_square_norm(weighed) <= (1 / 10 + 2**-24) ** 2


@pytest.mark.parametrize("total", [0, np.int64(0)])
def test_nobody_has_weight(total):
    with pytest.raises(InputError, match="every included site has weight 0"):
        Weighting(3).mean(np.ones(2), total)


@pytest.mark.parametrize("total", [-1, 1.5, True, None, 2**63])
def test_bad_totals_are_refused(total):
    with pytest.raises(InputError, match="the total weight must be"):
        Weighting(3).mean(np.ones(2), total)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_is_refused_even_at_weight_zero(bad):
    with pytest.raises(InputError, match="NaN or infinite"):
        Weighting(3).apply(np.array([1, bad]), 0)
