"""Mean estimation with distributed Skellam noise: its squared error over that of the analytic Gaussian mechanism.

The setting of figure 1 of Kairouz, Liu and Steinke 2021 (and of the Skellam paper after it): n clients, each a vector
of length 1 in 250 dimensions, uniform on the sphere; one release; neighbours differ by zeroing out one client; delta
10^-5; fields of 16 bits for the sum. Vectors go through the real codec (rotation, conditional rounding), the noise is
drawn exactly, and it is sized for n - 1 honest clients: the one that is missing is the colluder that is always
assumed. The trusted server to compare with adds one Gaussian, calibrated by its exact curve, to the exact sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

import quant
from protocols import SystemEntropy
from protocols.primitives import prg
from protocols.suites import CLASSICAL
from quant.noise import Sharing, Skellam, draw
from secagg.bench.measure import Effort, Row
from secagg.errors import UsageError
from secagg.privacy import Calibration, Goal, SkellamNoise, calibrate, gaussian, of_site, renyi
from secagg.public import JointRandomness

DIM = 250
BITS = 16
DELTA = 1e-5
EPSILONS = (0.75, 1.0, 2.0, 3.0, 4.0, 6.0)
CLIENTS = (100, 1000)
REPEATS = 200
COLLUDERS = 1


@dataclass(frozen=True)
class Setting:
    """One row before it is measured.

    Attributes:
        codec: fits, with its noise, into fields of ``BITS`` bits.
        sharing: the calibrated noise.
        found: what it was calibrated to.
        epsilon: promised.
    """

    codec: quant.UpdateCodec
    sharing: Sharing
    found: Calibration
    epsilon: float


def bench(effort: Effort) -> list[Row]:
    """Rows with ``mechanism, clients, dim, epsilon, bits, mse, mse_gaussian, ratio``, and where the ratio comes from.

    Errors are per coordinate of the mean. ``standard_error`` is that of the ratio; ``sensitivity`` the factor that
    rounding costs in squared sensitivity, ``renyi_variance`` the factor of variance that a Renyi accountant would cost.
    """
    rows = []
    for clients in (20,) if effort.quick else CLIENTS:
        for epsilon in EPSILONS[:1] if effort.quick else EPSILONS:
            effort.tick(f"{clients} clients, epsilon {epsilon:g}")
            rows.append(_row(setting(clients, epsilon), clients, effort.rounds(REPEATS)))
    return rows


def setting(clients: int, epsilon: float) -> Setting:
    """Find the finest grid that leaves room for its own noise in the field, by bisection over the levels.

    Raises:
        UsageError: no grid fits.
    """
    low, high, best = 1, (1 << BITS) // clients // 2, None
    while low <= high:
        middle = (low + high) // 2
        tried = _fitting(clients, epsilon, 2 * middle + 1)
        if tried is None:
            high = middle - 1
        else:
            best, low = tried, middle + 1
    if best is None:
        raise UsageError(f"{BITS} bits have no room for {clients} clients at epsilon {epsilon:g}")
    return best


def _fitting(clients: int, epsilon: float, levels: int) -> Setting | None:
    codec = quant.from_config({"levels": levels, "clip": 1.0, "rotation": True, "rounding": "conditional"}, DIM)
    goal = Goal(epsilon=epsilon, delta=DELTA, releases=1, least_survivors=clients, colluders=COLLUDERS)
    found = calibrate(goal, of_site(codec.facts))
    if not isinstance(found, Calibration):
        return None
    sharing = Sharing(Fraction(found.variance), clients, clients, COLLUDERS, Skellam)
    try:
        room = quant.max_levels(BITS, clients, noise=sharing.reach(codec.facts.encoded_dim))
    except quant.CapacityError:
        return None
    return Setting(codec, sharing, found, epsilon) if levels <= room else None


def _row(chosen: Setting, clients: int, repeats: int) -> Row:
    errors = np.array([_squared_error(chosen, clients, repeat) for repeat in range(repeats)])
    facts, sigma = chosen.codec.facts, 1 / gaussian.shift(chosen.epsilon, DELTA)
    ideal = (sigma / clients) ** 2
    l2_squared = of_site(facts).l2_squared * facts.step**2
    return {
        "mechanism": "skellam",
        "clients": clients,
        "dim": DIM,
        "epsilon": chosen.epsilon,
        "bits": BITS,
        "mse": float(errors.mean()),
        "mse_gaussian": ideal,
        "ratio": float(errors.mean()) / ideal,
        "standard_error": float(errors.std()) / math.sqrt(max(1, repeats - 1)) / ideal,
        "levels": facts.levels,
        "sigma": chosen.found.sigma,
        "sensitivity": l2_squared,
        "renyi_variance": _renyi_variance(chosen) / chosen.found.variance,
    }


def _squared_error(chosen: Setting, clients: int, repeat: int) -> float:
    """Squared error per coordinate of one decoded mean; fresh vectors, rotation, coins and noise."""
    vectors = np.random.default_rng([clients, repeat]).standard_normal((clients, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codec, entropy = chosen.codec, SystemEntropy()
    public = JointRandomness(CLASSICAL, entropy.take(32, "public"))
    coins = prg.AesCtrStream(entropy.take(prg.KEY_BYTES, "coins"))
    # The sum of all shares is one Skellam, by law: drawing it at once is the same, and faster.
    noise = draw(Skellam(chosen.sharing.total(clients)), codec.facts.encoded_dim, coins)
    total: NDArray[np.int64] = sum((codec.encode(one, coins, public=public) for one in vectors), noise)
    # Noise may carry a total beyond what so many vectors can sum to; vectors of zeros, which encode as the centre of an
    # odd number of levels, make room without moving the decoded sum.
    zeros = 1 + 2 * int(abs(noise).max()) // (codec.facts.levels - 1)
    mean = codec.decode(total + zeros * (codec.facts.levels // 2), clients + zeros, public=public) / clients
    return float(np.mean((mean - vectors.mean(axis=0)) ** 2))


def _renyi_variance(chosen: Setting) -> float:
    """Give the variance that the Renyi bound of the Skellam mechanism alone would ask for."""
    sensitivity = of_site(chosen.codec.facts)

    def enough(variance: float) -> bool:
        return renyi.epsilon(SkellamNoise(variance).curve(sensitivity), DELTA) <= chosen.epsilon

    return _least(enough, chosen.found.variance)


def _least(enough: Callable[[float], bool], low: float) -> float:
    """Bisect for the least value from ``low`` on that is enough."""
    high = low
    while not enough(high):
        low, high = high, 2 * high
    while high > low * (1 + 1e-6):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
