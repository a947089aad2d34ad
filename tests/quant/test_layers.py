import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant import from_config
from quant.chain import chain
from quant.clip import Bounds
from quant.errors import ConfigurationError, InputError
from quant.grid import UniformGrid
from quant.layered import LayeredGrid
from quant.layers import ClipPerLayer, LayerScales, bits_by_range
from tests.quant.conftest import InsecurePublic, InsecureSeededStream, exact_square_norm

LENGTHS = (3, 1, 4)


@settings(max_examples=80)
@given(
    st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=8, max_size=8),
    st.lists(st.floats(1e-20, 1e20), min_size=3, max_size=3),
    st.sampled_from([np.float32, np.float64]),
)
def test_every_layer_obeys_its_bound(values, bounds, dtype):
    clip = ClipPerLayer(LENGTHS, tuple(bounds))
    x = np.array(values, dtype)
    clipped = clip.apply(x)
    assert clipped.dtype == dtype
    for run, bound in zip((slice(0, 3), slice(3, 4), slice(4, 8)), bounds, strict=True):
        assert exact_square_norm(clipped[run]) <= exact_square_norm([bound])
    assert exact_square_norm(clipped) <= exact_square_norm([clip.bound])
    assert clip.apply(clipped) is clipped
    assert clip.narrow(Bounds()) == Bounds(clip.bound, max(bounds))


def test_layers_are_scaled_and_back():
    scales = LayerScales(LENGTHS, (0.5, 4.0, 1.0))
    x = np.float32([1, 2, 3, 4, 5, 6, 7, 8])
    scaled = scales.forward(x, None)
    assert scaled.tolist() == [2, 4, 6, 1, 5, 6, 7, 8]
    assert scaled.dtype == np.float32
    assert scales.backward(scaled, 8, None).tolist() == x.tolist()
    bounds = scales.narrow(Bounds(1.0, 1.0), 8)
    assert 2.0 <= bounds.l2 < 2.00001
    assert 2.0 <= bounds.linf < 2.00001


def test_scales_spend_the_grid_where_it_is_needed():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-1, 1, 3), rng.uniform(-1e-3, 1e-3, 1), rng.uniform(-10, 10, 4)])
    codec = from_config({"bits": 8, "layers": LENGTHS, "layer_scales": [1.0, 1e-3, 10.0]}, 8)
    error = np.abs(codec.decode(codec.encode(x, InsecureSeededStream(0)), 1) - x)
    assert error[3] <= 1e-3 * codec.facts.max_error * 1.001
    assert error.max() <= 10 * codec.facts.max_error * 1.001


def test_giants_are_refused():
    with pytest.raises(InputError, match="too large for its layer's scale in float32: clip the update first"):
        LayerScales((2,), (1e-10,)).forward(np.float32([1e30, 1]), None)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: ClipPerLayer((), ()), "layers are missing"),
        (lambda: ClipPerLayer((2, 0), (1.0, 1.0)), "length of a layer"),
        (lambda: ClipPerLayer((2, 3), (1.0,)), "2 layers need as many values of the clip bound of a layer, not 1"),
        (lambda: LayerScales((2, 3), (1.0, 0.0)), "the scale of a layer must be between"),
        (lambda: chain(ClipPerLayer((2, 3), (1.0, 1.0)), UniformGrid(4, 1.0), dim=6), "5 coordinates together.*has 6"),
        (lambda: chain(LayerScales((2, 3), (1.0, 1.0)), UniformGrid(4, 1.0), dim=6), "5 coordinates together.*has 6"),
        (lambda: chain(LayeredGrid((5,), (UniformGrid(4, 1.0),)), dim=6), "5 coordinates together, the vector has 6"),
        (lambda: LayeredGrid((5, 1), (UniformGrid(4, 1.0),)), "2 layers need as many grids"),
        (
            lambda: LayeredGrid((5, 1), (UniformGrid(4, 1.0), UniformGrid(4, 1.0, "nearest"))),
            "the same rounding and coin_bits",
        ),
        (lambda: LayeredGrid((5,), (UniformGrid(5, 1.0, "conditional"),)), "one grid for all layers"),
    ],
)
def test_layers_that_do_not_fit_are_refused(build, says):
    with pytest.raises(ConfigurationError, match=says):
        build()


@pytest.mark.parametrize("rounding", ["stochastic", "nearest", "dither"])
def test_a_grid_per_layer(rounding):
    grids = tuple(UniformGrid(levels, reach, rounding) for levels, reach in ((9, 1.0), (255, 0.01), (3, 5.0)))
    lengths = (40_000, 7, 13)
    codec = chain(LayeredGrid(lengths, grids), dim=40_020)
    rng, public = np.random.default_rng(0), InsecurePublic(0)
    updates = [
        np.concatenate([rng.uniform(-g.bound, g.bound, n) for g, n in zip(grids, lengths, strict=True)]) for _ in "ab"
    ]
    integers = [codec.encode(x, InsecureSeededStream(9), public=public, client=c) for c, x in enumerate(updates)]
    decoded = codec.decode(sum(integers), 2, public=public, clients=(0, 1))
    start = 0
    for grid, length, layout in zip(grids, lengths, codec.grid.lanes(2), strict=True):
        run = slice(start, start + length)
        assert np.abs(decoded[run] - updates[0][run] - updates[1][run]).max() <= 2.001 * grid.max_error
        total = layout.pack(integers[0][run]) + layout.pack(integers[1][run])
        assert np.array_equal(layout.unpack(total), integers[0][run] + integers[1][run])
        start += length
    assert [layout.width for layout in codec.grid.lanes(2)] == [5, 9, 3]
    assert codec.facts.levels == 255
    assert codec.facts.max_error == grids[2].max_error
    assert codec.saturated(np.full(40_020, 0.5), public=public) == 7


def test_bits_go_where_the_range_is():
    assert bits_by_range((100, 100), (1.0, 1.0), 4) == (4, 4)
    assert bits_by_range((100, 100), (8.0, 1.0), 4) == (5, 3) or bits_by_range((100, 100), (8.0, 1.0), 4) == (6, 2)
    assert bits_by_range((10, 1000), (1000.0, 1.0), 2) == (16, 1)
    with pytest.raises(ConfigurationError, match="at least one bit"):
        bits_by_range((10,), (1.0,), 0.5)


@settings(max_examples=60)
@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=4), st.integers(2, 5))
def test_bits_are_optimal_for_equal_layers(ranges, bits):
    given_bits = bits_by_range((7,) * len(ranges), ranges, bits, most=40)
    assert sum(given_bits) == bits * len(ranges)
    steps = [reach / 2**b for reach, b in zip(ranges, given_bits, strict=True)]
    # Moving one bit from any layer to any other does not reduce the sum of squares.
    for giver in range(len(ranges)):
        for taker in range(len(ranges)):
            if giver != taker and given_bits[giver] > 1:
                change = 3 * steps[giver] ** 2 - 0.75 * steps[taker] ** 2
                assert change >= -1e-9 * max(steps) ** 2


def test_stages_with_different_layers_are_refused_because_the_config_names_them_once():
    clip = ClipPerLayer((2, 2), (1.0, 2.0))
    grids = (UniformGrid(15, 1.0), UniformGrid(31, 2.0))
    with pytest.raises(ConfigurationError, match="share one list of layers"):
        chain(clip, LayeredGrid((1, 3), grids), dim=4)
    codec = chain(clip, LayeredGrid((2, 2), grids), dim=4)
    assert from_config(codec.config(), 4) == codec


def test_the_bound_on_coordinates_is_that_of_the_widest_layer():
    codec = chain(LayeredGrid((1, 1), (UniformGrid(255, 1.0, "nearest"), UniformGrid(255, 10.0, "nearest"))), dim=2)
    x = np.array([1.0, 10.0])
    assert np.abs(codec.decode(codec.encode(x), 1)).max() <= codec.facts.linf_bound == 10.0
