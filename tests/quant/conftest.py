"""Streams and inputs shared by the tests of ``quant``."""

import random
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
from hypothesis.extra import numpy as hnp


class InsecureSeededStream:
    """Replays from a seed, in whatever pieces it is taken. For tests only: it is predictable."""

    def __init__(self, seed):
        self._random = random.Random(seed)
        self._drawn = b""
        self.taken = 0

    def fill(self, out):
        assert out.dtype == np.uint8
        assert out.flags.c_contiguous
        missing = max(out.size - len(self._drawn), 0)
        self._drawn += self._random.randbytes(-(-missing // 4) * 4)  # the generator drops what is left of its words
        out[:] = np.frombuffer(self._drawn[: out.size], np.uint8)
        self._drawn = self._drawn[out.size :]
        self.taken += out.size


class ConstantStream:
    """Every 32-bit coin is the same: the two ends of the range show what rounding can do at most."""

    def __init__(self, coin):
        self._coin = np.frombuffer(int(coin).to_bytes(4, "little"), np.uint8)

    def fill(self, out):
        out[:] = np.resize(self._coin, out.size)


LOWEST, HIGHEST = 0, 2**32 - 1


class InsecurePublic:
    """Public streams from a seed that everybody can guess. For tests only."""

    def __init__(self, seed):
        self.seed = seed
        self.asked = []

    def stream(self, label, client=None):
        self.asked.append((label, client))
        return InsecureSeededStream(f"{self.seed}/{label}/{client}")


class NoStream:
    """Fails the test when randomness is asked for."""

    def fill(self, out):
        raise AssertionError("no random bytes are needed here")


def exact_square_norm(x):
    """The squared Euclidean norm of floats as a fraction: no rounding anywhere."""
    return sum(Fraction(float(value)) ** 2 for value in x)


def finite_vectors(max_size=16, widths=(32, 64)):
    """Finite float vectors of all magnitudes, with the values that break numerics over-represented."""
    return st.sampled_from(widths).flatmap(
        lambda width: hnp.arrays(
            dtype=np.dtype(f"f{width // 8}"),
            shape=st.integers(1, max_size),
            elements=st.floats(width=width, allow_nan=False, allow_infinity=False),
        )
    )


def levels_and_bounds():
    levels = st.one_of(st.integers(2, 9), st.integers(2, 2**32), st.sampled_from([2**16, 2**18, 2**32 - 1, 2**32]))
    bounds = st.one_of(st.floats(1e-30, 1e30), st.sampled_from([1.0, 0.1, 1e-30, 1e30, 3.0]))
    return st.tuples(levels, bounds)
