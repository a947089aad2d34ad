import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.demo.partition import LEAST_EXAMPLES, Skew, partition
from secagg.errors import UsageError

pytestmark = pytest.mark.fast

SKEWS = ["iid", "label:0.5", "quantity:0.5", "label:0.01", "quantity:0.01", "label:1000"]


@given(
    skew=st.sampled_from(SKEWS),
    sites=st.integers(1, 30),
    labels=st.lists(st.integers(0, 4), min_size=60, max_size=200),
    seed=st.integers(0, 1 << 32),
)
def test_every_example_goes_to_exactly_one_site_and_no_site_is_left_out(skew, sites, labels, seed):
    parts = partition(np.array(labels), sites, Skew.parse(skew), np.random.default_rng(seed))
    assert len(parts) == sites
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    assert min(map(len, parts)) >= LEAST_EXAMPLES


@pytest.mark.parametrize("skew", SKEWS)
def test_the_seed_decides(skew):
    labels = np.arange(300) % 3
    first, again, other = (partition(labels, 10, Skew.parse(skew), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


def test_iid_sites_are_equally_large():
    parts = partition(np.arange(455) % 2, 10, Skew.parse("iid"), np.random.default_rng(0))
    assert {len(part) for part in parts} <= {45, 46}


def spread_of_first_label(skew):
    labels = np.arange(2000) % 2
    parts = partition(labels, 10, Skew.parse(skew), np.random.default_rng(3))
    return np.std([np.mean(labels[part]) for part in parts])


def test_small_alpha_makes_labels_unequal():
    assert spread_of_first_label("label:0.1") > 0.3
    assert spread_of_first_label("label:1000") < 0.1


def test_small_alpha_makes_sizes_unequal():
    sizes = {
        skew: [len(part) for part in partition(np.zeros(2000), 10, Skew.parse(skew), np.random.default_rng(3))]
        for skew in ("quantity:0.1", "quantity:1000")
    }
    assert max(sizes["quantity:0.1"]) > 600
    assert max(sizes["quantity:1000"]) < 250


@pytest.mark.parametrize("text", ["iid", "label:0.5", "quantity:2"])
def test_skew_is_written_as_it_is_read(text):
    assert str(Skew.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "label", "label:", "label:x", "label:0", "label:-1", "label:nan", "label:inf", "iid:1", "size:1", "label:1:2"],
)
def test_unreadable_skew_is_refused_with_the_ways_to_write_it(text):
    with pytest.raises(UsageError, match="write iid, label:ALPHA or quantity:ALPHA"):
        Skew.parse(text)


def test_more_sites_than_examples_can_serve_are_refused():
    with pytest.raises(UsageError, match="at most 5"):
        partition(np.zeros(11, np.int64), 6, Skew.parse("iid"), np.random.default_rng(0))
