"""Streams whose bytes a test chooses, and a naive sampler to compare with."""

import itertools
from fractions import Fraction

import numpy as np

from protocols.primitives.prg import AesCtrStream
from quant.noise import Boundaries, TableLaw


class ScriptedStream:
    """Gives exactly these bytes; fails when asked for more."""

    def __init__(self, *parts):
        self._bytes = b"".join(parts)
        self.taken = 0

    def fill(self, out):
        assert self.taken + out.size <= len(self._bytes), "more bytes were read than the definition allows"
        out[:] = np.frombuffer(self._bytes, np.uint8, out.size, self.taken)
        self.taken += out.size

    @property
    def left(self):
        return len(self._bytes) - self.taken


class CountingStream(AesCtrStream):
    """AES-CTR that counts."""

    taken = 0

    def fill(self, out):
        self.taken += out.size
        super().fill(out)


def stream(number):
    return CountingStream(number.to_bytes(32, "big"))


def probabilities(law, bits=192):
    """value -> probability (float, from enclosures far narrower than that) and what is left for all others."""
    found = law.boundaries(bits)
    edges = [0, *found.low] + ([1 << bits] if found.complete else [])
    return {law.value(i): float(Fraction(b - a, 1 << bits)) for i, (a, b) in enumerate(itertools.pairwise(edges))}


def naive_draws(law, count, source, block):
    """The definition in ``quant.noise.sampler`` word for word, one draw at a time, in integers and fractions."""

    def word(size):
        raw = np.empty(size, np.uint8)
        source.fill(raw)
        return int.from_bytes(raw.tobytes(), "little")

    if isinstance(law, TableLaw):
        exact = list(itertools.accumulate(weight * 2**512 for weight in law.weights))[:-1]
        fine = Boundaries(512, exact, exact, complete=True)
    else:
        fine = law.boundaries(512)

    def outcome(known, bits):
        """The outcome of [known, known + 1) / 2^bits, or None if a boundary is strictly inside."""
        start, end = known << 512 - bits, known + 1 << 512 - bits
        passed = sum(1 for high in fine.high if high <= start)
        if passed == len(fine.high):
            return law.value(passed) if fine.complete else None
        return law.value(passed) if fine.low[passed] >= end else None

    drawn = []
    while len(drawn) < count:
        size = min(block, count - len(drawn))
        known = [word(2) for _ in range(size)]
        values = [outcome(cell, 16) for cell in known]
        still_open = [place for place in range(size) if values[place] is None]
        for place in still_open:
            known[place] = known[place] << 48 | word(8) & (1 << 48) - 1
        for place in still_open:
            bits = 64
            while (value := outcome(known[place], bits)) is None:
                known[place], bits = known[place] << 64 | word(8), bits + 64
            values[place] = value
        drawn += values
    return drawn


TINY = TableLaw((3, 0, 5, 1, 0), -2)
