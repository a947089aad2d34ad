import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from secagg.demo.datasets import BREAST_CANCER_EXTREMES, DATASET_NAMES, DIGITS_EXTREMES, load
from secagg.errors import UsageError

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(("name", "examples", "classes"), [("breast-cancer", 569, 2), ("digits", 1797, 10)])
def test_split_is_stratified_and_scaled(name, examples, classes):
    data = load(name, 0)
    assert len(data.train_y) + len(data.test_y) == examples
    assert abs(len(data.test_y) - examples / 5) <= 1
    assert data.classes == classes == len(np.unique(data.train_y))
    shares = [np.bincount(labels) / len(labels) for labels in (data.train_y, data.test_y)]
    assert np.abs(shares[0] - shares[1]).max() < 0.01
    assert data.train_x.dtype == data.test_x.dtype == np.float32
    assert data.train_y.dtype == data.test_y.dtype == np.int64
    assert np.abs(data.train_x).max() < 2.2


@pytest.mark.parametrize(
    ("source", "extremes"), [(load_breast_cancer, BREAST_CANCER_EXTREMES), (load_digits, DIGITS_EXTREMES)]
)
def test_public_extremes_hold_for_the_data(source, extremes):
    x = source().data
    low, high = np.array(extremes).T
    margin = 0.03 * (high - low)  # the published table is rounded to three decimals
    assert (x >= low - margin).all()
    assert (x <= high + margin).all()


def test_the_seed_decides_the_split():
    first, again, other = (load("digits", seed).test_x for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match=", ".join(DATASET_NAMES)):
        load("mnist", 0)
