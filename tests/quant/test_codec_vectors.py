"""The JSON vectors: what the code gives now is what it gave when they were written."""

import json

import numpy as np
import pytest

from quant import from_config
from quant.chain import CLIPS, GRIDS, TRANSFORMS
from tests.quant.generate_vectors import CASES, DIM, FOLDER, Shake, ShakePublic, documents

VECTORS = [
    pytest.param(vector, id=f"{path.stem}-{number}")
    for path in sorted(FOLDER.glob("*.json"))
    for number, vector in enumerate(json.loads(path.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("vector", VECTORS)
def test_replay(vector):
    codec, public, seed = from_config(vector["config"], DIM), ShakePublic(vector["seed"]), vector["seed"]
    total = np.zeros(codec.facts.encoded_dim, np.int64)
    for client, update, integers in zip(vector["clients"], vector["updates"], vector["integers"], strict=True):
        x = np.array([float.fromhex(value) for value in update]).astype(vector["dtype"])
        q = codec.encode(x, Shake(f"{seed}/coins/{client}"), public=public, client=client)
        assert q.tolist() == integers
        if client in vector["survivors"]:
            total += q
    assert total.tolist() == vector["total"]
    clients = vector["survivors"] if "dither" in codec.public_labels else ()
    decoded = codec.decode(total, 2, public=public, clients=clients)
    expected = np.array([float.fromhex(value) for value in vector["decoded"]])
    assert np.allclose(decoded, expected, rtol=1e-12, atol=1e-12)  # sums of floats may be added in another order
    assert codec.config() == vector["config"]


def test_at_least_five_vectors_of_every_kind():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(CASES)
    assert all(len(configs) >= 5 for configs in CASES.values())
    codecs = [from_config(config, DIM) for configs in CASES.values() for config in configs]
    used = [type(stage) for codec in codecs for stage in (*codec.clips, *codec.transforms, codec.grid)]
    kinds = (*CLIPS, *TRANSFORMS, *GRIDS)
    assert {kind.__name__: used.count(kind) for kind in kinds if used.count(kind) < 5} == {}


def test_the_generator_writes_the_same_integers():
    for name, text in documents():
        stored = json.loads((FOLDER / name).read_text(encoding="utf-8"))
        for old, new in zip(stored, json.loads(text), strict=True):
            assert {key: old[key] for key in old if key != "decoded"} == {
                key: new[key] for key in new if key != "decoded"
            }
