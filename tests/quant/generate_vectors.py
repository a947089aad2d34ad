"""Write or check the codec test vectors: python -m tests.quant.generate_vectors [--check].

A vector is a codec's configuration, float updates (hexadecimal, exact), the seeds of all streams, the integers of every
client and the decoded sum. Streams are SHAKE-256 of "seed/label/client" (private coins: "seed/coins/client"), so that
any language can replay them. Updates are small multiples of 1/64: with blocks of 4^k rotations are then exact, and the
integers are the same on every machine.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from quant import from_config

FOLDER = Path(__file__).parent / "vectors"
DIM = 20
CASES = {
    "uniform": [
        {"bits": 1, "range": 1.0},
        {"levels": 3, "range": 0.5},
        {"levels": 26, "range": 1.5, "coin_bits": 16},
        {"bits": 8, "range": 1.0, "rounding": "nearest"},
        {"bits": 32, "range": 2.0},
        {"integer_bits": 1, "fraction_bits": 5},
    ],
    "clip": [
        {"clip": 0.5, "bits": 12},
        {"clip": 100.0, "range": 1.0, "bits": 4},
        {"clip_linf": 0.25, "bits": 6},
        {"clip": 1.0, "clip_linf": 0.5, "levels": 33},
        {"layers": [5, 15], "layer_clips": [0.5, 1.0], "bits": 10},
        {"clip_linf": 0.3, "levels": 27, "coin_bits": 16},
        {"clip_linf": 2.0, "bits": 5},
        {"clip_linf": 0.5, "rotation": 16, "range": 2.0, "bits": 8},
        {"layers": [20], "layer_clips": [0.75], "bits": 8},
        {"layers": [1, 18, 1], "layer_clips": [0.1, 2.0, 0.1], "levels": 99, "range": 1.0},
        {"layers": [10, 10], "layer_clips": [9.0, 0.5], "levels": 27, "range": 1.0, "rounding": "dither"},
        {"layers": [4, 16], "layer_clips": [0.5, 0.5], "clip": 0.6, "clip_linf": 0.4, "bits": 10},
    ],
    "rotation": [
        {"rotation": 4, "range": 1.5, "levels": 257},
        {"rotation": 16, "range": 2.0, "levels": 257},
        {"rotation": 64, "range": 2.0, "levels": 27, "rounding": "nearest"},
        {"rotation": 256, "range": 1.0, "levels": 255},
        {"rotation": 16, "range": 0.5, "levels": 9},
    ],
    "dither": [
        {"rounding": "dither", "levels": 2, "range": 1.5},
        {"rounding": "dither", "levels": 26, "range": 1.5},
        {"rounding": "dither", "levels": 26, "range": 1.5, "coin_bits": 32},
        {"rounding": "dither", "bits": 20, "range": 1.5},
        {"rounding": "dither", "rotation": 16, "levels": 26, "range": 2.0},
    ],
    "conditional": [
        {"rounding": "conditional", "levels": 5, "clip": 8.0},
        {"rounding": "conditional", "levels": 33, "clip": 8.0},
        {"rounding": "conditional", "levels": 257, "clip": 8.0, "range": 1.0},
        {"rounding": "conditional", "levels": 257, "clip": 8.0, "rotation": 16},
        {"rounding": "conditional", "levels": 65537, "clip": 8.0},
    ],
    "sparse": [
        {"random_k": 1, "range": 1.0},
        {"random_k": 7, "range": 1.0},
        {"random_k": 20, "range": 1.0, "amplify": False},
        {"rotation": 16, "random_k": 9, "range": 2.0, "rounding": "dither"},
        {"keep": [[0, 3], [7, 8], [12, 20]], "range": 1.0},
        {"keep": [[4, 20]], "rotation": 4, "range": 2.0, "bits": 6},
        {"random_k": 5, "range": 1.0, "levels": 27, "rounding": "dither"},
        {"keep": [[0, 1]], "range": 1.0},
        {"keep": [[2, 18]], "random_k": 4, "range": 1.0, "bits": 7},
    ],
    "layers": [
        {"layers": [20], "layer_scales": [2.0], "range": 1.0},
        {"layers": [5, 15], "layer_scales": [0.5, 4.0], "range": 2.0},
        {"layers": [1, 18, 1], "layer_scales": [0.25, 1.0, 8.0], "range": 4.0, "rounding": "nearest"},
        {"layers": [5, 15], "layer_levels": [3, 257], "layer_ranges": [0.5, 1.0]},
        {"layers": [7, 6, 7], "layer_levels": [2, 26, 1000], "layer_ranges": [1.0, 0.5, 2.0], "rounding": "dither"},
        {"layers": [4, 16], "layer_scales": [0.125, 2.0], "range": 4.0, "levels": 27, "rounding": "dither"},
        {"layers": [10, 10], "layer_scales": [1.0, 0.5], "rotation": 16, "range": 4.0, "bits": 9},
        {"layers": [20], "layer_levels": [9], "layer_ranges": [1.0]},
        {"layers": [1, 19], "layer_levels": [65536, 2], "layer_ranges": [2.0, 1.0], "coin_bits": 16},
        {"layers": [10, 10], "layer_levels": [16, 17], "layer_ranges": [0.5, 0.25], "rounding": "nearest"},
    ],
    "modular": [
        {"modulus_bits": 2, "step": 1.0},
        {"modulus_bits": 6, "step": 0.125},
        {"modulus_bits": 12, "step": 0.01},
        {"modulus_bits": 30, "step": 1e-6},
        {"modulus_bits": 8, "step": 0.05, "rounding": "dither"},
        {"modulus_bits": 8, "step": 0.1, "rotation": 16, "rounding": "dither"},
    ],
    "lossless": [
        {"exact_low": -24, "exact_high": 16},
        {"exact_low": -6, "exact_high": 2},
        {"exact_low": -20, "exact_high": 1},
        {"exact_low": -50, "exact_high": 3},
        {"exact_low": -6, "exact_high": 2, "keep": [[3, 9]]},
    ],
}


class Shake:
    """A public or private stream of a vector: SHAKE-256, read from the front."""

    def __init__(self, text):
        self._state, self._read = hashlib.shake_256(text.encode()), 0

    def fill(self, out):
        self._read += out.size
        out[:] = np.frombuffer(self._state.digest(self._read)[self._read - out.size :], np.uint8)


class ShakePublic:
    def __init__(self, seed):
        self.seed = seed

    def stream(self, label, client=None):
        return Shake(f"{self.seed}/{label}/{'' if client is None else client}")


def make(config, seed, number):
    """One vector of three clients, of whom two survive."""
    dtype = np.float32 if number % 2 == 0 else np.float64
    words = np.empty(2 * 3 * DIM, np.uint8)
    Shake(f"{seed}/updates/").fill(words)
    updates = ((words.view("<u2").astype(int) % 129 - 64) / 64).reshape(3, DIM).astype(dtype)
    clients, survivors = [2, 7, 11], [2, 11]
    codec, public = from_config(config, DIM), ShakePublic(seed)
    integers = [
        codec.encode(x, Shake(f"{seed}/coins/{client}"), public=public, client=client)
        for client, x in zip(clients, updates, strict=True)
    ]
    total = sum(q for client, q in zip(clients, integers, strict=True) if client in survivors)
    decoded = codec.decode(total, 2, public=public, clients=survivors if "dither" in codec.public_labels else ())
    return {
        "config": codec.config(),
        "seed": seed,
        "dtype": np.dtype(dtype).name,
        "clients": clients,
        "survivors": survivors,
        "updates": [[value.hex() for value in x.astype(float).tolist()] for x in updates],
        "integers": [q.tolist() for q in integers],
        "total": total.tolist(),
        "decoded": [value.hex() for value in decoded.tolist()],
    }


def documents():
    """File name and text of every file of vectors."""
    for name, configs in CASES.items():
        vectors = [make(config, f"{name}-{number}", number) for number, config in enumerate(configs)]
        lines = ",\n".join(json.dumps(vector) for vector in vectors)
        yield f"{name}.json", f"[\n{lines}\n]\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if not parser.parse_args().check:
        for name, text in documents():
            (FOLDER / name).write_text(text, encoding="utf-8")
        return 0
    changed = [name for name, text in documents() if (FOLDER / name).read_text(encoding="utf-8") != text]
    if changed:
        print(f"these vectors are not what the code gives: {', '.join(changed)}")
    return bool(changed)


if __name__ == "__main__":
    sys.exit(main())
