"""Local compressors that cannot be summed, to compare with: EDEN, DRIVE, QSGD. No codec uses them.

Each takes one vector and gives back its float64 estimate, which the server of a plain (not secure) aggregation would
average. They need a scale per client; see ``refused.py``.
"""

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from quant.checks import whole_number
from quant.public import PublicRandomness
from quant.transforms import HadamardRotation
from quant.vectors import FloatVector, as_vector, magnitude

MAX_REFERENCE_BITS = 8


def eden(x: FloatVector, bits: int, public: PublicRandomness) -> NDArray[np.float64]:
    """Compress one vector by EDEN: rotate, the nearest Lloyd-Max centroid of the normal law, one unbiasing scale.

    Source: Vargaftik et al. 2022 ("EDEN: communication-efficient and robust distributed mean estimation"), section 3;
    with one bit it is DRIVE. The scale |x|^2 / <rotated, centroids> travels in the clear, 32 bits per client.
    """
    x = as_vector(x).astype(np.float64)
    bits = whole_number(bits, "bits", 1, MAX_REFERENCE_BITS)
    if magnitude(x) == 0:
        return x
    rotation = HadamardRotation()
    rotated = rotation.forward(x, public)
    norm = math.sqrt(float(np.dot(x, x)))
    centroids = lloyd_max(bits)
    edges = (centroids[1:] + centroids[:-1]) / 2
    nearest = centroids[np.searchsorted(edges, rotated * (math.sqrt(rotated.size) / norm))]
    scale = norm**2 / float(np.dot(rotated, nearest))
    return rotation.backward(nearest * scale, x.size, public).astype(np.float64)


def drive(x: FloatVector, public: PublicRandomness) -> NDArray[np.float64]:
    """Compress one vector to one bit per coordinate by DRIVE (Vargaftik et al. 2021, section 4), which is EDEN's."""
    return eden(x, 1, public)


def qsgd(x: FloatVector, bits: int, coins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compress one vector by QSGD: sign, and |x_i| / |x| stochastically rounded to 2^(bits-1) - 1 (at least 1) parts.

    Source: Alistarh et al. 2017 ("QSGD: communication-efficient SGD via gradient quantization and encoding").

    Args:
        x: the vector.
        bits: per coordinate, sign included.
        coins: uniform in [0, 1), shape as ``x``.
    """
    x = as_vector(x).astype(np.float64)
    parts = max(2 ** (whole_number(bits, "bits", 1, MAX_REFERENCE_BITS) - 1) - 1, 1)
    norm = math.sqrt(float(np.dot(x, x)))
    if norm == 0:
        return x
    return np.asarray(np.sign(x) * np.floor(np.abs(x) / norm * parts + coins) * (norm / parts))


@lru_cache(maxsize=MAX_REFERENCE_BITS)
def lloyd_max(bits: int) -> NDArray[np.float64]:
    """Give the 2^bits centroids of least mean squared error for the standard normal law, ascending (Max 1960)."""
    law = NormalDist()
    levels = 2**bits
    centroids = np.array([law.inv_cdf((i + 0.5) / levels) for i in range(levels)])
    for _ in range(20_000):
        edges = [-math.inf, *((centroids[1:] + centroids[:-1]) / 2).tolist(), math.inf]
        density = np.array([math.exp(-e * e / 2) / math.sqrt(2 * math.pi) for e in edges])
        below = np.array([0.0, *(law.cdf(edge) for edge in edges[1:-1]), 1.0])
        moved = (density[:-1] - density[1:]) / (below[1:] - below[:-1])
        if float(np.max(np.abs(moved - centroids))) < 1e-9:
            break
        centroids = moved
    return np.asarray(centroids)
