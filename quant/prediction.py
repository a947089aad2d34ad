"""What error a setting will have: rounding and saturation of normal coordinates, in closed form where there is one.

Everything is in units of sigma, the standard deviation of a coordinate after rotation, and relative: the mean squared
error of the mean over n sites, divided by the mean square of one update (NMSE). Exact for normal coordinates;
real ones are near enough after a rotation, and the benchmark in the tests measures how near.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from quant.grid import Rounding

GAUSS_POINTS = 161
GAUSS_REACH = 7.5
COARSE = 32
"""Up to so many levels cells are added up one by one; beyond, a cell is so narrow that Fourier series are as good."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted error of a mean.

    Attributes:
        rounding: NMSE that rounding adds to saturation.
        overload: NMSE of saturation alone; the total is their sum.
        saturated: share of the coordinates beyond the range.
    """

    rounding: float
    overload: float
    saturated: float

    @property
    def total(self) -> float:
        """Rounding and saturation together."""
        return self.rounding + self.overload


def predict(sigmas: float, levels: int, clients: int, agreement: float, rounding: Rounding) -> Prediction:
    """Predict the error of a grid on [-sigmas, sigmas] for standard normal coordinates.

    Dither errs by step^2 / 12, whatever the value is, independently between clients.

    Args:
        sigmas: the range, in standard deviations.
        levels: of the grid.
        clients: n, whose mean is decoded.
        agreement: correlation of two clients' updates, 1 if they are identical (the worst case for saturation).
        rounding: how the grid rounds.
    """
    step = 2 * sigmas / (levels - 1)
    overload = overload_error(sigmas, clients, agreement)
    if rounding == "dither":
        rounded = step**2 / 12 / clients
    elif rounding == "nearest":
        rounded = _nearest_error(sigmas, levels, clients, agreement, overload)
    else:
        rounded = _stochastic_variance(sigmas, levels) / clients
    return Prediction(rounded, overload, math.erfc(sigmas / math.sqrt(2)))


def overload_error(sigmas: float, clients: int, agreement: float) -> float:
    """Mean squared error of the mean of n saturated standard normal values.

    One client's error is o(z) = sign(z) max(|z| - k, 0), with E o^2 = 2 ((1 + k^2) Q(k) - k phi(k)). Two clients with
    z = sqrt(r) g + sqrt(1 - r) e share g: E[o o'] is the integral of phi(g) E[o | g]^2, and E[o | g] is a difference
    of two s psi(t), psi(t) = phi(t) + t Phi(t). For r = 1 the errors are the same and do not average at all.
    """
    alone = max(2 * ((1 + sigmas**2) * _upper(sigmas) - sigmas * _density(sigmas)), 0.0)
    return _of_mean(alone, min(_shared_overload(sigmas, _tame(agreement)), alone), clients)


def _stochastic_variance(sigmas: float, levels: int) -> float:
    """E[f (1 - f)] step^2 of values within the range, f their fraction of a step; those beyond end on the grid.

    Coarse grids: (z - a)(b - z) integrated over every cell [a, b]. Fine ones: 1/6, up to terms exp(-2 pi^2 / step^2).
    """
    step = 2 * sigmas / (levels - 1)
    if levels > COARSE:
        return step**2 / 6 * (1 - 2 * _upper(sigmas))
    points = np.linspace(-sigmas, sigmas, levels)
    mass, first, second = (np.diff(moment) for moment in _moments(points))
    low, high = points[:-1], points[1:]
    return float(np.sum((low + high) * first - second - low * high * mass))


def _nearest_error(sigmas: float, levels: int, clients: int, agreement: float, overload: float) -> float:
    """What nearest rounding adds: the errors of two clients stay correlated if their values are.

    Coarse grids: with cells of centre c, E e^2 and E[e | g] are sums of moments of the normal law. Fine ones: the
    series of the sawtooth, whose covariance is sum 2 (step / (2 pi m))^2 exp(-(2 pi m / step)^2 (1 - r)).
    """
    step = 2 * sigmas / (levels - 1)
    agreement = _tame(agreement)
    if levels > COARSE:
        turn = 2 * math.pi / step
        shared = sum(math.exp(-((m * turn) ** 2) * (1 - agreement)) / m**2 for m in range(1, 9))
        return _of_mean(step**2 / 12, step**2 / (2 * math.pi**2) * shared, clients)
    points = np.linspace(-sigmas, sigmas, levels)
    edges = np.concatenate([[-GAUSS_REACH - 2], (points[1:] + points[:-1]) / 2, [GAUSS_REACH + 2]])
    mass, first, second = (np.diff(moment) for moment in _moments(edges))
    alone = float(np.sum(points**2 * mass - 2 * points * first + second))
    together, spread = 0.0, math.sqrt(1 - agreement)
    grid, weights = _gauss()
    for g, weight in zip(grid.tolist(), weights.tolist(), strict=True):
        mean = math.sqrt(agreement) * g
        below = np.array([_upper(-(edge - mean) / spread) for edge in edges.tolist()])
        together += weight * (float(np.dot(points, np.diff(below))) - mean) ** 2
    return _of_mean(alone, min(together, alone), clients) - overload


@lru_cache(maxsize=4096)
def _shared_overload(sigmas: float, agreement: float) -> float:
    """E[o(z) o(z')] of two standard normal values with this correlation."""
    spread = math.sqrt(1 - agreement)
    total = 0.0
    grid, weights = _gauss()
    for g, weight in zip(grid.tolist(), weights.tolist(), strict=True):
        mean = math.sqrt(agreement) * g
        error = spread * (_excess((mean - sigmas) / spread) - _excess((-mean - sigmas) / spread))
        total += weight * error**2
    return total


def _of_mean(alone: float, together: float, clients: int) -> float:
    """Mean square of a mean over n, from the mean square of one and the covariance of two."""
    return alone / clients + (clients - 1) / clients * together


def _tame(agreement: float) -> float:
    """Keep a correlation inside [0, 1), where two clients still have something of their own to divide by."""
    return min(max(agreement, 0.0), 1 - 1e-9)


@lru_cache(maxsize=1)
def _gauss() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give points and weights of the trapezoidal rule for the normal law, which converges exponentially."""
    points = np.linspace(-GAUSS_REACH, GAUSS_REACH, GAUSS_POINTS)
    return points, np.array([_density(point) for point in points.tolist()]) * (points[1] - points[0])


def _moments(edges: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Integrals of phi, z phi and z^2 phi from minus infinity to each edge."""
    density = np.array([_density(edge) for edge in edges.tolist()])
    below = np.array([_upper(-edge) for edge in edges.tolist()])
    return below, -density, below - edges * density


def _density(t: float) -> float:
    """Density of the normal law."""
    return math.exp(-t * t / 2) / math.sqrt(2 * math.pi)


def _upper(t: float) -> float:
    """Upper tail of the normal law."""
    return math.erfc(t / math.sqrt(2)) / 2


def _excess(t: float) -> float:
    """E max(t + Z, 0) = phi(t) + t Phi(t)."""
    return _density(t) + t * _upper(-t)
