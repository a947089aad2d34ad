"""The hospitals' patients: features that no statistic of the data went into, and who holds whom.

A scale that is computed from the patients gives something away about them, and would have to be noised and charged.
What is used here costs nothing: constants that were there before the patients were, and functions of one patient alone.

**Breast cancer.** Measurements of cell nuclei are set against round measuring ranges, named below; the worst value of
a quantity has the range of the quantity, its standard error a tenth of it. Their square roots, -1 at zero and 1 at the
top of the range, are the features.

**Digits.** An image of 8 x 8 points is read as its cosine coefficients, as in JPEG; the 35 lowest without the mean are
kept and scaled to a Euclidean norm of 4. What is left is the coarse shape, without ink and exposure; and a model of
fewer coordinates pays less noise.

How features are made, and how fast is learned (``setting.py``), was settled on digits that a program drew and on a
made-up table, with one exception: the rate for breast cancer was chosen between three values after a look at runs on
the data set itself. That choice is not charged; in a real study it would have to be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secagg.demo.datasets import measurements
from secagg.demo.partition import Skew, partition
from secagg.demo.private.learner import Matrix, Patients

NUCLEUS_RANGES = (
    ("radius", 30.0),
    ("texture", 40.0),
    ("perimeter", 200.0),
    ("area", 2500.0),
    ("smoothness", 0.2),
    ("compactness", 0.5),
    ("concavity", 0.5),
    ("concave points", 0.25),
    ("symmetry", 0.5),
    ("fractal dimension", 0.1),
)
"""Measuring ranges 0 .. top of the ten quantities, round figures."""

ERROR_SHARE = 0.1
IMAGE_SIDE, IMAGE_WAVES, IMAGE_NORM = 8, 6, 4.0


def _nuclei(values: Matrix) -> Matrix:
    tops = np.array([top for _, top in NUCLEUS_RANGES])
    placed: Matrix = 2 * np.sqrt(values / np.concatenate([tops, ERROR_SHARE * tops, tops])) - 1
    return placed


def _cosines(side: int, waves: int) -> Matrix:
    """Return the orthonormal cosine transform (DCT-II), its lowest ``waves`` rows of ``side``."""
    rows, places = np.arange(waves)[:, None], np.arange(side)[None, :]
    scale = np.where(rows == 0, math.sqrt(1 / side), math.sqrt(2 / side))
    found: Matrix = scale * np.cos(np.pi * (places + 0.5) * rows / side)
    return found


def _images(values: Matrix) -> Matrix:
    waves = _cosines(IMAGE_SIDE, IMAGE_WAVES)
    coefficients = waves @ values.reshape(-1, IMAGE_SIDE, IMAGE_SIDE) @ waves.T
    shape = coefficients.reshape(len(values), -1)[:, 1:]
    norms = np.linalg.norm(shape, axis=1, keepdims=True)
    scaled: Matrix = IMAGE_NORM * shape / np.maximum(norms, np.finfo(np.float64).tiny)
    return scaled


FEATURES: Mapping[str, Callable[[Matrix], Matrix]] = {"breast-cancer": _nuclei, "digits": _images}


@dataclass(frozen=True, slots=True)
class Hospitals:
    """Who holds which patients, and the patients that nobody holds.

    Attributes:
        sites: site id (from 1) to its patients.
        test: patients that no site holds.
        features, classes: shape of the weights.
    """

    sites: Mapping[int, Patients]
    test: Patients
    features: int
    classes: int

    @classmethod
    def deal(cls, dataset: str, sites: int, skew: str, seed: int) -> Hospitals:
        """Deal a data set out to ``sites`` hospitals; the same arguments deal alike.

        Raises:
            UsageError: an unknown data set or skew, or more sites than there are patients for.
        """
        train_x, test_x, train_y, test_y = measurements(dataset, seed)
        parts = partition(train_y, sites, Skew.parse(skew), np.random.default_rng(seed))
        x = _with_constant(FEATURES[dataset](train_x))
        held = {site: Patients(x[part], train_y[part]) for site, part in enumerate(parts, 1)}
        test = Patients(_with_constant(FEATURES[dataset](test_x)), test_y)
        return cls(held, test, x.shape[1], int(train_y.max()) + 1)

    @property
    def patients(self) -> int:
        """How many there are at all sites together: the demo's knowledge, which no server has."""
        return sum(map(len, self.sites.values()))

    @property
    def start(self) -> Matrix:
        """The initial weights: zero, float64 of shape (features, classes)."""
        return np.zeros((self.features, self.classes))


def _with_constant(x: Matrix) -> Matrix:
    ones: NDArray[np.float64] = np.ones((len(x), 1))
    return np.hstack([x, ones])
