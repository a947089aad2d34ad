"""Two real data sets that ship inside scikit-learn, split by seed and scaled by public constants.

Sites must scale alike, or their models do not add up. Scaling by the mean and deviation *of the data* would
need two secure sums before the first round. The demo takes constants that are public already: the extremes
that the breast-cancer data set publishes in its own description, and the 0..16 pixel range of the digits
format. (The published extremes were computed from all 569 patients, test patients included: fine for a
public data set, but a consortium has no such page and takes clinical reference ranges or secure sums.)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secagg.errors import UsageError

TEST_SHARE = 0.2

_Values = NDArray[np.float64]
_Labels = NDArray[np.int64]

# "Summary Statistics" in the data set's description: (minimum, maximum) of each of the 30 features, in the
# order of the columns (10 means, 10 standard errors, 10 worst values).
BREAST_CANCER_EXTREMES = (
    *((6.981, 28.11), (9.71, 39.28), (43.79, 188.5), (143.5, 2501.0), (0.053, 0.163)),
    *((0.019, 0.345), (0.0, 0.427), (0.0, 0.201), (0.106, 0.304), (0.05, 0.097)),
    *((0.112, 2.873), (0.36, 4.885), (0.757, 21.98), (6.802, 542.2), (0.002, 0.031)),
    *((0.002, 0.135), (0.0, 0.396), (0.0, 0.053), (0.008, 0.079), (0.001, 0.03)),
    *((7.93, 36.04), (12.02, 49.54), (50.41, 251.2), (185.2, 4254.0), (0.071, 0.223)),
    *((0.027, 1.058), (0.0, 1.252), (0.0, 0.291), (0.156, 0.664), (0.055, 0.208)),
)
DIGITS_EXTREMES = ((0.0, 16.0),) * 64


@dataclass(frozen=True, slots=True)
class Dataset:
    """One data set, split and scaled.

    Attributes:
        name: one of `DATASET_NAMES`.
        train_x, test_x: float32, shape (examples, features), scaled to about [-2, 2].
        train_y, test_y: int64, shape (examples,), labels 0 .. classes - 1.
        classes: number of labels.
    """

    name: str
    train_x: NDArray[np.float32]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]
    classes: int

    @property
    def features(self) -> int:
        """Number of features of one example."""
        return int(self.train_x.shape[1])


def _breast_cancer() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return x, y


def _digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x, y


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a data set comes from and how it is scaled: measurements to the ``power``, then by ``extremes``."""

    read: Callable[[], tuple[NDArray[np.float64], NDArray[np.int64]]]
    extremes: tuple[tuple[float, float], ...]
    power: float


# Lengths, areas and their errors crowd near zero; the square root (a fixed public choice) spreads them.
_SOURCES = {
    "breast-cancer": _Source(_breast_cancer, BREAST_CANCER_EXTREMES, 0.5),
    "digits": _Source(_digits, DIGITS_EXTREMES, 1.0),
}
DATASET_NAMES = tuple(_SOURCES)


def check_name(name: str) -> None:
    """Raise `UsageError`, listing the names there are, unless ``name`` is one of `DATASET_NAMES`."""
    if name not in DATASET_NAMES:
        raise UsageError(f"unknown data set {name!r}: choose one of {', '.join(DATASET_NAMES)}")


def _source(name: str) -> _Source:
    check_name(name)
    return _SOURCES[name]


def load(name: str, seed: int) -> Dataset:
    """Load ``name``, split it 80/20 with the labels' shares kept, and scale it by public constants.

    Args:
        name: one of `DATASET_NAMES`.
        seed: at least 0; the same seed gives the same split.

    Raises:
        UsageError: unknown name.
    """
    source = _source(name)
    low, high = np.array(source.extremes).T ** source.power
    train_x, test_x, train_y, test_y = measurements(name, seed)
    train_x, test_x = ((4 * (x**source.power - low) / (high - low) - 2).astype(np.float32) for x in (train_x, test_x))
    return Dataset(name, train_x, train_y, test_x, test_y, classes=int(train_y.max()) + 1)


def measurements(name: str, seed: int) -> tuple[_Values, _Values, _Labels, _Labels]:
    """Split ``name`` 80/20 with the labels' shares kept, and leave its values as they were measured.

    Returns:
        Training and test values, float64 of shape (examples, features), then training and test labels, int64.

    Raises:
        UsageError: unknown name.
    """
    source = _source(name)
    from sklearn.model_selection import train_test_split

    x, y = source.read()
    train_x, test_x, train_y, test_y = train_test_split(
        x, y.astype(np.int64), test_size=TEST_SHARE, stratify=y, random_state=seed
    )
    return train_x, test_x, train_y, test_y
