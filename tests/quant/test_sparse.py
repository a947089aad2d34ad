import math
from itertools import combinations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant import from_config
from quant.chain import chain
from quant.clip import ClipL2
from quant.errors import ConfigurationError, InputError
from quant.grid import UniformGrid
from quant.sparse import KeepCoordinates, SharedRandomK, random_subset, server_top_k, top_groups
from quant.transforms import HadamardRotation
from tests.quant.conftest import InsecurePublic, InsecureSeededStream


@settings(max_examples=80)
@given(st.integers(1, 500), st.data(), st.integers(0, 2**32))
def test_a_subset_is_a_subset(dim, data, seed):
    k = data.draw(st.integers(1, dim))
    stream = InsecureSeededStream(seed)
    places = random_subset(stream, dim, k)
    assert places.size == len(set(places.tolist())) == k
    assert places.tolist() == sorted(places.tolist())
    assert places.min() >= 0
    assert places.max() < dim
    assert stream.taken == 8 * dim


def test_all_subsets_are_equally_likely():
    draws, stream = 20_000, InsecureSeededStream(1)
    counts = dict.fromkeys(combinations(range(5), 2), 0)
    for _ in range(draws):
        counts[tuple(random_subset(stream, 5, 2).tolist())] += 1
    expected = draws / 10
    chi2 = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi2 < 37.3  # 9 degrees of freedom, one in 40000


@pytest.mark.parametrize("rotate", [False, True])
def test_random_k_is_unbiased_and_errs_as_stated(rotate):
    dim, k, rounds = 64, 16, 4000
    x = np.random.default_rng(0).lognormal(size=dim)
    stages = [*([HadamardRotation()] if rotate else []), SharedRandomK(k), UniformGrid(2**20 + 1, 100.0)]
    codec = chain(*stages, dim=dim)
    assert codec.facts.unbiased
    estimates = np.array(
        [
            codec.decode(
                codec.encode(x, InsecureSeededStream(r), public=InsecurePublic(r)), 1, public=InsecurePublic(r)
            )
            for r in range(rounds)
        ]
    )
    error = np.sum((estimates - x) ** 2, axis=1)
    z = (estimates.mean(axis=0) - x) / (estimates.std(axis=0) / math.sqrt(rounds))
    assert np.abs(z).max() < 4.9
    stated = (dim / k - 1) * np.sum(x**2)
    assert abs(error.mean() - stated) < 4.9 * error.std() / math.sqrt(rounds)
    if rotate:
        assert error.std() < 0.6 * stated


def test_the_pattern_is_common_so_sums_line_up():
    codec = from_config({"random_k": 5, "levels": 2001, "range": 10.0, "rounding": "nearest", "amplify": False}, 50)
    public = InsecurePublic(4)
    updates = np.random.default_rng(0).integers(-9, 10, (3, 50)).astype(float)
    total = sum(codec.encode(x, public=public) for x in updates)
    decoded = codec.decode(total, 3, public=public)
    kept = decoded != 0
    assert kept.sum() <= 5
    assert np.allclose(decoded[kept], updates.sum(axis=0)[kept], atol=1e-12)
    assert codec.facts.gain == 1.0
    assert not codec.facts.unbiased


def test_hybrids_clip_rotate_thin_and_dither():
    dim, n = 1000, 5
    codec = from_config({"clip": 1.0, "rotation": 64, "random_k": 512, "levels": 33, "rounding": "dither"}, dim)
    assert (codec.facts.encoded_dim, codec.facts.gain) == (512, 2.0)
    updates = np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32) / 40
    rounds = 300
    means = np.zeros(dim)
    for r in range(rounds):
        public = InsecurePublic(r)
        total = sum(codec.encode(x, public=public, client=c) for c, x in enumerate(updates))
        means += codec.decode(total, n, public=public, clients=range(n)) / n / rounds
    exact = updates.mean(axis=0)
    assert np.linalg.norm(means - exact) < 2.5 / math.sqrt(rounds) * np.linalg.norm(exact)


def test_more_than_there_is_is_refused():
    with pytest.raises(ConfigurationError, match="keeps 6 of 5 coordinates"):
        chain(SharedRandomK(6), UniformGrid(4, 1.0), dim=5)
    with pytest.raises(ConfigurationError, match="coordinate 5 is kept, but there are only 5"):
        chain(KeepCoordinates(((0, 6),)), UniformGrid(4, 1.0), dim=5)
    with pytest.raises(ConfigurationError, match="random_k must be between 1"):
        SharedRandomK(0)
    with pytest.raises(ConfigurationError, match="amplify must be true or false"):
        SharedRandomK(1, 2)


@settings(max_examples=80)
@given(st.sets(st.integers(0, 60), min_size=1))
def test_runs_say_the_same_as_indices(places):
    keep = KeepCoordinates.of(list(places))
    assert [i for start, stop in keep.runs for i in range(start, stop)] == sorted(places)
    mask = np.zeros(61, bool)
    mask[list(places)] = True
    assert KeepCoordinates.of(mask) == keep
    x = np.random.default_rng(0).normal(size=61)
    kept = keep.forward(x, None)
    assert np.array_equal(kept, x[mask])
    assert np.array_equal(keep.backward(kept, 61, None), np.where(mask, x, 0))
    assert keep.out_dim(61) == len(places)


@pytest.mark.parametrize("runs", [(), ((3, 3),), ((0, 2), (2, 4)), ((4, 5), (0, 1)), ((-1, 2),)])
def test_bad_runs_are_refused(runs):
    with pytest.raises(ConfigurationError, match=r"runs|no coordinate is kept"):
        KeepCoordinates(runs)


@pytest.mark.parametrize("places", [[], [-1], [0.5], [[1]], np.zeros(4, bool)])
def test_bad_indices_are_refused(places):
    with pytest.raises(ConfigurationError, match="indices or a boolean mask"):
        KeepCoordinates.of(places)


def test_top_k_of_the_previous_aggregate():
    aggregate = np.array([0.1, -5, 2, 2, 0, -2])
    assert server_top_k(aggregate, 3).runs == ((1, 4),)  # of equal magnitudes the first
    assert server_top_k(aggregate, 6).runs == ((0, 6),)
    with pytest.raises(InputError, match="top_k must be between 1 and 6"):
        server_top_k(aggregate, 7)


def test_structured_pruning_keeps_whole_groups():
    aggregate = np.array([1.0, 1, 9, 0, 0, 0, 2, 2])
    assert top_groups(aggregate, [2, 4, 2], 1).runs == ((2, 6),)
    assert top_groups(aggregate, [2, 4, 2], 2).runs == ((2, 8),)
    with pytest.raises(InputError, match="groups of 4 coordinates do not make up a vector of 8"):
        top_groups(aggregate, [2, 2], 1)
    with pytest.raises(InputError, match="the number of groups to keep"):
        top_groups(aggregate, [4, 4], 3)


def test_a_mask_before_a_rotation():
    keep = KeepCoordinates(((2, 7), (10, 13)))
    codec = chain(ClipL2(9.0), keep, HadamardRotation(), UniformGrid(2**16 + 1, 9.0, "nearest"), dim=20)
    x = np.random.default_rng(0).normal(size=20)
    public = InsecurePublic(0)
    decoded = codec.decode(codec.encode(x, public=public), 1, public=public)
    assert codec.facts.encoded_dim == 8
    assert np.abs(decoded - keep.backward(keep.forward(x, None), 20, None)).max() < 3 * codec.facts.max_error
