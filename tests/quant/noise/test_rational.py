"""The slow reference, against the law and against the fast sampler."""

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from quant.errors import ConfigurationError, InputError
from quant.noise import DiscreteGaussian, draw, draw_discrete_gaussian
from quant.noise.rational import below, bernoulli_exp, discrete_laplace
from tests.quant.noise.conftest import ScriptedStream, probabilities, stream
from tests.quant.noise.test_sampler import chi_square


class Bits:
    """Every stream of a tree of bytes at once is too much; this one hashes, so that coins are fresh and replayable."""

    def __init__(self, name):
        self._name, self._count = name, 0

    def fill(self, out):
        self._count += 1
        digest = hashlib.shake_256(f"{self._name}/{self._count}".encode()).digest(out.size)
        out[:] = np.frombuffer(digest, np.uint8)


@pytest.mark.parametrize("variance", [Fraction(1, 5), 1, Fraction(7, 3), 30])
def test_law(variance):
    assert chi_square(DiscreteGaussian(variance), draw_discrete_gaussian(variance, 6_000, stream(1))) > 1e-4


def test_law_with_another_stream():
    assert chi_square(DiscreteGaussian(4), draw_discrete_gaussian(Fraction(4), 3_000, Bits("other"))) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("variance", [1, 100, 10**4])
def test_the_fast_sampler_and_the_slow_one_draw_from_one_law(variance):
    slow = draw_discrete_gaussian(Fraction(variance), 60_000, stream(2))
    fast = draw(DiscreteGaussian(variance), 60_000, stream(3))
    edges = np.unique(np.quantile(fast, np.linspace(0, 1, 60)[1:-1]))
    table = [np.bincount(np.searchsorted(edges, sample), minlength=len(edges) + 1) for sample in (slow, fast)]
    assert stats.chi2_contingency(table).pvalue > 1e-4


@pytest.mark.parametrize("exponent", [0, Fraction(1, 3), 1, Fraction(5, 2)])
def test_bernoulli_exp(exponent):
    hits = sum(bernoulli_exp(Fraction(exponent), source) for source in [stream(4)] * 10_000)
    assert stats.binomtest(hits, 10_000, float(np.exp(-float(exponent)))).pvalue > 1e-4


def test_discrete_laplace():
    source = stream(5)
    drawn = np.array([discrete_laplace(3, source) for _ in range(5_000)])
    q = np.exp(-1 / 3)
    for value in range(-6, 7):
        p = (1 - q) / (1 + q) * q ** abs(value)
        assert stats.binomtest(int((drawn == value).sum()), 5_000, p).pvalue > 1e-5


@pytest.mark.parametrize("limit", [1, 2, 3, 255, 256, 257, 10**20])
def test_below_rejects_what_would_be_biased(limit):
    size = -(-(limit - 1).bit_length() // 8)
    highest, over = (limit - 1).to_bytes(size, "little"), limit.to_bytes(size + 1, "little")[:size]
    mask = (1 << (limit - 1).bit_length()) - 1
    parts = [highest] if limit & mask != limit else [over, highest]
    source = ScriptedStream(*parts)
    assert below(limit, source) == limit - 1
    assert source.left == 0


def test_bad_input():
    with pytest.raises(ConfigurationError, match="variance"):
        draw_discrete_gaussian(Fraction(-1), 1, stream(1))
    with pytest.raises(InputError, match="number of draws"):
        draw_discrete_gaussian(Fraction(1), -1, stream(1))
    assert draw_discrete_gaussian(Fraction(1), 0, stream(1)).dtype == np.int64


def test_probabilities_add_up():
    assert sum(probabilities(DiscreteGaussian(3)).values()) == pytest.approx(1, abs=1e-12)
