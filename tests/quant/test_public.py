import numpy as np
import pytest

from quant import from_config
from quant.chain import chain
from quant.errors import ConfigurationError, InputError
from quant.grid import UniformGrid
from quant.sparse import SharedRandomK
from quant.transforms import HadamardRotation
from tests.quant.conftest import InsecurePublic, NoStream

X = np.linspace(-1, 1, 20)


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({}, ()),
        ({"rotation": True}, ("rotation",)),
        ({"random_k": 3}, ("pattern",)),
        ({"rounding": "dither"}, ("dither",)),
        ({"rotation": True, "random_k": 3, "rounding": "dither"}, ("rotation", "pattern", "dither")),
        ({"keep": [[0, 3]]}, ()),
    ],
)
def test_a_codec_declares_and_needs_its_public_streams(config, labels):
    codec = from_config(config, 20)
    assert codec.public_labels == labels
    if not labels:
        codec.decode(codec.encode(X), 1)
        return
    with pytest.raises(ConfigurationError, match=f"draws its {labels[0]}.*public randomness: pass public="):
        codec.encode(X, client=1)
    total = codec.encode(X, public=InsecurePublic(0), client=1)
    with pytest.raises(ConfigurationError, match=r"draws its.*public randomness: pass public="):
        codec.decode(total, 1, clients=[1])
    assert codec.decode(total, 1, public=InsecurePublic(0), clients=[1]).shape == (20,)


def test_streams_are_asked_for_by_label_and_client():
    codec = from_config({"rotation": True, "random_k": 4, "rounding": "dither"}, 20)
    public = InsecurePublic(0)
    q = codec.encode(X, NoStream(), public=public, client=7)
    assert public.asked == [("rotation", None), ("pattern", None), ("dither", 7)]
    public.asked.clear()
    codec.decode(q + q, 2, public=public, clients=[7, 9])
    assert sorted(public.asked, key=str) == [("dither", 7), ("dither", 9), ("pattern", None), ("rotation", None)]


def test_dither_needs_the_client_and_the_survivors():
    codec = from_config({"rounding": "dither"}, 20)
    public = InsecurePublic(0)
    with pytest.raises(ConfigurationError, match="pass client="):
        codec.encode(X, public=public)
    q = codec.encode(X, public=public, client=1)
    for clients in ([], [1, 2], [1, 1]):
        with pytest.raises(InputError, match="needs the ids of its"):
            codec.decode(q, 1 if len(clients) != 2 or clients[0] != clients[1] else 2, public=public, clients=clients)


def test_saturation_is_counted_after_the_rotation():
    codec = chain(HadamardRotation(), UniformGrid(9, 1.0), dim=16)
    spike = np.zeros(16)
    spike[3] = 3.9
    assert codec.saturated(spike, public=InsecurePublic(0)) == 0
    assert codec.saturated(10 * spike, public=InsecurePublic(0)) == 16


def test_packed_is_packing_what_is_encoded():
    x = np.random.default_rng(0).normal(size=150_000).astype(np.float32)
    for config in (
        {"bits": 12, "clip": 100.0, "range": 2.0},
        {"bits": 9, "coin_bits": 16, "range": 2.0},
        {"bits": 12, "clip": 500.0, "rotation": True, "rounding": "dither"},
        {"levels": 26, "rounding": "nearest"},
        {"modulus_bits": 14, "step": 0.01},
        {"levels": 257, "clip": 500.0, "rotation": True, "rounding": "conditional"},
        {"bits": 10, "range": 3.0, "random_k": 70_000},
    ):
        codec = from_config(config, x.size)
        lanes = codec.facts.lanes(10)
        arguments = {"public": InsecurePublic(1), "client": 3}
        packed = codec.encode_packed(x, lanes, InsecurePublic(2).stream("coins"), **arguments)
        assert np.array_equal(packed, lanes.pack(codec.encode(x, InsecurePublic(2).stream("coins"), **arguments)))


def test_wrong_lanes_are_refused():
    from quant.lanes import LaneLayout

    codec = from_config({"bits": 12}, 20)
    for lanes in (LaneLayout(19, 12), LaneLayout(20, 11)):
        with pytest.raises(ConfigurationError, match="do not fit 20 x 12"):
            codec.encode_packed(X, lanes)
    wrapping = from_config({"modulus_bits": 12, "step": 0.1}, 20)
    assert not wrapping.facts.may_share_lanes
    assert wrapping.facts.lanes(5).fields == 1
    with pytest.raises(ConfigurationError, match="a lane holds one coordinate"):
        wrapping.encode_packed(X, LaneLayout(20, 12))


def test_srht_is_a_rotation_and_a_pattern():
    codec = from_config({"rotation": True, "random_k": 8, "clip": 1.0}, 20)
    assert codec.facts.encoded_dim == 8
    assert codec.facts.gain == 4.0  # 32 rotated coordinates
    assert codec == chain(*codec.clips, HadamardRotation(), SharedRandomK(8), UniformGrid(4096, 4 / 32**0.5), dim=20)
