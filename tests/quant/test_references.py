import math

import numpy as np
import pytest

from quant.references import drive, eden, lloyd_max, qsgd
from tests.quant.conftest import InsecurePublic

# D of the Lloyd-Max quantizer; unbiased EDEN errs by D / (1 - D).
DISTORTION = {1: 1 - 2 / math.pi, 2: 0.11748, 3: 0.03455, 4: 0.009501}


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_centroids_are_lloyd_maxs(bits):
    centroids = lloyd_max(bits)
    assert np.allclose(centroids, -centroids[::-1], atol=1e-7)
    draws = np.random.default_rng(0).normal(size=400_000)
    nearest = centroids[np.searchsorted((centroids[1:] + centroids[:-1]) / 2, draws)]
    assert np.mean((draws - nearest) ** 2) == pytest.approx(DISTORTION[bits], rel=0.02)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_eden_errs_as_published(bits):
    x = np.random.default_rng(0).lognormal(size=4096)
    errors = [np.sum((eden(x, bits, InsecurePublic(seed)) - x) ** 2) / np.sum(x**2) for seed in range(6)]
    expected = DISTORTION[bits] / (1 - DISTORTION[bits])
    assert np.mean(errors) == pytest.approx(expected, rel=0.06)


def test_drive_is_one_bit_eden():
    x = np.random.default_rng(0).normal(size=100)
    assert np.array_equal(drive(x, InsecurePublic(0)), eden(x, 1, InsecurePublic(0)))


def test_qsgd_is_unbiased_but_coarse():
    rng = np.random.default_rng(0)
    x, rounds = rng.normal(size=50), 4000
    estimates = np.array([qsgd(x, 3, rng.random(50)) for _ in range(rounds)])
    z = (estimates.mean(axis=0) - x) / (estimates.std(axis=0) / math.sqrt(rounds))
    assert np.abs(z).max() < 4.9


def test_zero_stays_zero():
    assert not eden(np.zeros(5), 2, InsecurePublic(0)).any()
    assert not qsgd(np.zeros(5), 2, np.zeros(5)).any()
