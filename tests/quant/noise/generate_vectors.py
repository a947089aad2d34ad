"""Write the vectors of noise: ``python -m tests.quant.noise.generate_vectors``; ``--check`` only compares.

Each vector: a law, a key of AES-256-CTR (counter from 0), the number of draws, the first 24 of them, SHA-256 of all as
little-endian 64-bit integers, and how many bytes of the stream were read.
"""

import argparse
import hashlib
import json
import sys
from fractions import Fraction
from pathlib import Path

from protocols.primitives.prg import AesCtrStream
from quant.noise import DiscreteGaussian, Skellam, TableLaw, draw

FILE = Path(__file__).parent / "vectors.json"
VARIANCES = ["1/100", "1", "10/3", "100", "10000", "1000000"]
TABLES = [(["1", "1"], 0), (["3", "0", "5", "1"], -2), ([f"{k}/7" for k in range(1, 200)], -50)]


class CountingStream(AesCtrStream):
    """AES-CTR that counts what is read."""

    taken = 0

    def fill(self, out):
        self.taken += out.size
        super().fill(out)


def vectors():
    cases = [({"law": "skellam", "variance": v}, Skellam(Fraction(v))) for v in [*VARIANCES, "10000000"]]
    cases += [({"law": "discrete gaussian", "variance": v}, DiscreteGaussian(Fraction(v))) for v in VARIANCES]
    cases += [({"law": "table", "weights": w, "first": f}, TableLaw(tuple(map(Fraction, w)), f)) for w, f in TABLES]
    for number, (named, law) in enumerate(cases):
        key = hashlib.sha256(f"noise {number}".encode()).digest()
        source = CountingStream(key)
        count = 70_000
        drawn = draw(law, count, source)
        yield named | {
            "key": key.hex(),
            "count": count,
            "draws": drawn[:24].tolist(),
            "sha256": hashlib.sha256(drawn.astype("<i8").tobytes()).hexdigest(),
            "bytes_read": source.taken,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    text = "[\n" + ",\n".join(json.dumps(vector) for vector in vectors()) + "\n]\n"
    if parser.parse_args().check:
        same = FILE.read_text(encoding="utf-8") == text
        print("the vectors are what the code gives" if same else "the vectors are not what the code gives")
        return int(not same)
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
