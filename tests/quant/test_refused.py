import pytest

import quant
from quant.chain import chain
from quant.errors import ConfigurationError
from quant.grid import UniformGrid
from quant.presets import from_config
from quant.refused import REASONS, refuse_scheme

SPELLINGS = ["QSGD", "TernGrad", "signSGD", "DRIVE", "EDEN", "top-k", "top_k", "TopK", "blockwise", "bitsandbytes"]
MORE = ["k-means", "product quantization", "Huffman", "Elias-gamma", "arithmetic coding", "NF4", "STC", "AdaQuant"]


@pytest.mark.parametrize("name", SPELLINGS + MORE)
def test_refused_everywhere_with_a_substitute(name):
    says = "cannot be summed: .*Use .*"
    with pytest.raises(ConfigurationError, match=says):
        from_config({"scheme": name}, 3)
    with pytest.raises(ConfigurationError, match=says):
        chain(name, UniformGrid(4, 1.0), dim=3)
    with pytest.raises(ConfigurationError, match=says):
        chain(type(name, (), {})(), UniformGrid(4, 1.0), dim=3)
    with pytest.raises(ConfigurationError, match=says):
        from_config({name: 4}, 3)


def test_every_substitute_exists():
    named = [word.strip("(),.;:") for _, instead in REASONS.values() for word in instead.replace("(", " (").split()]
    classes = {word for word in named if word[:1].isupper() and word not in ("SRHT",)}
    assert classes <= set(dir(quant))
    assert {"UniformGrid", "SharedRandomK", "HadamardRotation", "LayerScales", "LayeredGrid"} <= classes


def test_other_names_are_just_unknown():
    refuse_scheme("uniform")
    with pytest.raises(ConfigurationError, match="unknown scheme 'magic'"):
        from_config({"scheme": "magic"}, 3)
    assert from_config({"scheme": "uniform"}, 3) == from_config({}, 3)
