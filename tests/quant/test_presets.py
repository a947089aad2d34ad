import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant.chain import chain
from quant.clip import ClipL2, ClipLinf
from quant.errors import ConfigurationError, QuantError
from quant.grid import UniformGrid
from quant.presets import DEFAULTS, KEYS, from_config


def test_defaults():
    assert from_config({}, 5) == chain(UniformGrid(4096, 1.0), dim=5)
    assert from_config(DEFAULTS, 5) == from_config({}, 5)
    with pytest.raises(TypeError):
        DEFAULTS["bits"] = 3


@pytest.mark.parametrize(
    ("config", "stages"),
    [
        ({"bits": 1}, [UniformGrid(2, 1.0)]),
        ({"bits": 32}, [UniformGrid(2**32, 1.0)]),
        ({"levels": 1639, "range": 0.5}, [UniformGrid(1639, 0.5)]),
        ({"bits": 8, "clip": 0.25}, [ClipL2(0.25), UniformGrid(256, 0.25)]),
        ({"bits": 8, "clip": 2, "range": 0.5}, [ClipL2(2.0), UniformGrid(256, 0.5)]),
        ({"bits": 8, "clip_linf": 0.5}, [ClipLinf(0.5), UniformGrid(256, 0.5)]),
        ({"bits": 8, "clip": 2, "clip_linf": 0.5}, [ClipL2(2.0), ClipLinf(0.5), UniformGrid(256, 0.5)]),
        ({"levels": 3, "rounding": "nearest"}, [UniformGrid(3, 1.0, "nearest")]),
        ({"bits": np.int64(4), "levels": None, "clip": None}, [UniformGrid(16, 1.0)]),
    ],
)
def test_what_keys_mean(config, stages):
    assert from_config(config, 5) == chain(*stages, dim=5)


BOUND = st.one_of(st.none(), st.floats(1e-30, 1e30))


@settings(max_examples=100)
@given(
    st.one_of(st.none(), st.integers(2, 2**32)), BOUND, BOUND, BOUND, st.sampled_from([None, "stochastic", "nearest"])
)
def test_config_round_trips_through_json(levels, reach, clip, clip_linf, rounding):
    config = {"levels": levels, "range": reach, "clip": clip, "clip_linf": clip_linf, "rounding": rounding}
    codec = from_config(config, 9)
    text = json.dumps(codec.config(), allow_nan=False)
    again = from_config(json.loads(text), 9)
    assert again == codec
    assert again.facts == codec.facts
    assert json.dumps(again.config()) == text


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("bit", "did you mean 'bits'"),
        ("rnage", "did you mean 'range'"),
        ("zzz", "known keys are bits, levels"),
        (3, "known keys are"),
    ],
)
def test_unknown_keys_are_refused_by_name(key, says):
    with pytest.raises(ConfigurationError, match=f"unknown quantization key {key!r}.*{says}"):
        from_config({key: 1}, 5)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"bits": 0}, "bits must be between 1 and 32"),
        ({"bits": 33}, "bits must be between 1 and 32"),
        ({"bits": 8.0}, "bits must be a whole number"),
        ({"bits": "8"}, "bits must be a whole number"),
        ({"levels": 1}, "levels must be between 2"),
        ({"bits": 8, "levels": 256}, "bits or levels, not both"),
        ({"range": 0}, "the grid range must be between"),
        ({"range": float("nan")}, "the grid range must be between"),
        ({"range": "1"}, "the grid range must be a positive number"),
        ({"clip": -1}, "the L2 clip bound must be between"),
        ({"clip_linf": 0}, "the L-infinity clip bound must be between"),
        ({"rounding": "down"}, "rounding must be stochastic or nearest or dither or conditional"),
        ({"dim": 4}, "for 4 coordinates, the update has 5"),
    ],
)
def test_bad_values_are_refused(config, says):
    with pytest.raises(QuantError, match=says):
        from_config(config, 5)


@pytest.mark.parametrize("config", [None, "bits=8", [("bits", 8)]])
def test_what_is_no_table_is_refused(config):
    with pytest.raises(ConfigurationError, match="table of keys"):
        from_config(config, 5)


def test_every_key_is_known_to_the_codec():
    codec = from_config({"clip": 1, "clip_linf": 1, "bits": 3}, 2)
    assert set(codec.config()) <= set(KEYS)
