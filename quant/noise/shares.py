"""How sites share one target of noise, and how the excess is removed again when fewer of them drop out.

Sums of noise are what protects, and any site may be missing from a sum. Let

    n    sites that may be among the survivors U3 (``clients``),
    m    the least number of survivors; with fewer the round is given up (``least``),
    c    colluders: sites that are assumed to add no noise, or to tell theirs to the server (``colluders``, at least 1),
    V    the target: the variance that the noise of the honest survivors must have in sum (``target``).

**Sizing for the worst case** gives each site V / (m - c): m survivors, c of them colluding, still add up to V. If all n
survive, that is n / (m - c) times too much noise.

**Add, then remove** ("XNoise", Jiang, Wang and Chen 2024, "Dordis: efficient federated learning with dropout-resilient
differential privacy", with n - c in place of n). Each site adds a base and components j = 1 .. n - m, each drawn from a
seed of its own:

    base         V / (n - c)
    component j  V / ((n - c - j) (n - c - j + 1))  =  V / (n - c - j) - V / (n - c - j + 1)

With D = n - |U3| sites missing, the seeds of the components j > D of the survivors are revealed and their noise is
subtracted from the sum. The sum telescopes: what is left of a survivor's noise has variance

    V / (n - c) + sum_{j <= D} [V / (n - c - j) - V / (n - c - j + 1)]  =  V / (n - c - D).

At least n - D - c survivors are honest, so the honest survivors' noise is V exactly when c collude, and no less when
fewer do; all survivors together carry V (n - D) / (n - D - c). Of a survivor nothing is revealed but excess; of the
sites that are missing nothing at all. All base and component noise together is V / (m - c) per site: the worst case.

**Skellam** is closed under sums, so the law of the honest survivors' noise is Skellam(V), exactly: where it was cut
into sites and components cannot be seen.

**Discrete Gaussian.** A sum of discrete Gaussians of parameters v_1 .. v_k is none, but nearly. Let V be the sum of the
v_i. With x_i = z v_i / V + y_i, where the y_i add up to 0, the squares separate:

    P(X_1 + ... + X_k = z) is proportional to exp(-z^2 / 2V) * sum over y of exp(-sum_i y_i^2 / 2 v_i),

where y runs over the lattice of integer vectors that add up to 0, shifted by z. By Poisson summation the last sum,
divided by its mean over all shifts, is within [1 - e, 1 + e], where

    e = sum over m != 0 of exp(-2 pi^2 Q(m)),
    Q(m) = min_s sum_i v_i (m_i - s)^2 = sum_{i<j} v_i v_j (m_i - m_j)^2 / V,

and m runs over the dual lattice: integer vectors, those that differ by the same number everywhere counting as one. Both
laws sum to 1, so they differ by at most ln((1 + e) / (1 - e)) in max-divergence, in both directions. To bound e, take
from each class a vector whose weighted median is 0. If only m_i is not 0, then Q(m) = m_i^2 v_i (V - v_i) / V. In
general Q(m) >= sum_i v_i m_i^2 / 2: a pair with m_i > 0 >= m_j counts (m_i - m_j)^2 >= m_i^2 + m_j^2, and the j with
m_j <= 0 have at least half of the weight; likewise for negative m_i. So vectors with two or more entries contribute at
most prod(1 + a_i) - 1 - sum a_i <= A^2, where a_i = 2 sum_{k >= 1} exp(-pi^2 v_i k^2) and A = sum a_i <= 1. Kairouz,
Liu and Steinke 2021 ("The distributed discrete Gaussian mechanism for federated learning with secure aggregation") add
two terms at a time, which gives v_i / 2 in place of v_i (V - v_i) / V: a far larger bound.

`Sharing.gap` is the bound for one coordinate: the honest survivors' noise is within max-divergence ``gap`` of the
discrete Gaussian of parameter V (more honest survivors than n - D - c only add independent noise to both), so d
coordinates cost d * gap of epsilon.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from quant.checks import whole_number
from quant.errors import ConfigurationError, InputError
from quant.noise.enclosures import exp_minus
from quant.noise.laws import DiscreteGaussian, Skellam, exact_variance
from quant.noise.sampler import draw, sampler_for
from quant.noise.tails import FAILURE, MAX_TOTAL_VARIANCE, Family, reach
from quant.streams import RandomStream

MAX_CLIENTS = 2**24

TWO_PI_SQUARED_BELOW = Fraction(19739208802178716, 10**15)
"""2 pi^2 is 19.73920880217871723..."""


@dataclass(frozen=True)
class Sharing:
    """Who adds how much noise: a target variance cut into bases and components of ``clients`` sites.

    Variances are exact fractions in squared grid steps; for the discrete Gaussian they are parameters sigma^2.

    Args:
        target: variance of the honest survivors' summed noise, V.
        clients: n, all sites that may survive.
        least: m, fewest survivors of a round that is not given up; at most n.
        colluders: at most so many sites add no noise or give it away. Never less than 1 is assumed: a site that runs
            the server, and every site that sees the sum, knows its own part.
        family: Skellam or DiscreteGaussian.

    Raises:
        ConfigurationError: numbers that make no sense, or no honest survivor left to add noise (least <= colluders).
    """

    target: Fraction
    clients: int
    least: int
    colluders: int = 1
    family: Family = Skellam

    def __post_init__(self) -> None:
        """Refuse what protects nobody."""
        if self.family not in (Skellam, DiscreteGaussian):
            raise ConfigurationError(f"noise is shared as Skellam or DiscreteGaussian, not {self.family!r}")
        object.__setattr__(self, "target", exact_variance(self.target, MAX_TOTAL_VARIANCE))
        whole_number(self.clients, "clients", 2, MAX_CLIENTS)
        whole_number(self.colluders, "colluders", 0, MAX_CLIENTS)
        object.__setattr__(self, "colluders", max(self.colluders, 1))
        whole_number(self.least, "the least number of survivors", 1, self.clients)
        if self.least <= self.colluders:
            raise ConfigurationError(
                f"{self.least} survivors of whom {self.colluders} may collude leave nobody who surely adds noise: "
                f"ask for at least {self.colluders + 1}"
            )
        for variance in (self.base, *self.components):
            self.family(variance)  # refuses what the sampler would

    @property
    def base(self) -> Fraction:
        """Variance of the part of each site that is never removed: V / (n - c)."""
        return self.target / (self.clients - self.colluders)

    @property
    def components(self) -> tuple[Fraction, ...]:
        """Variances of the removable components 1 .. n - m, in this order: V / ((n - c - j) (n - c - j + 1))."""
        return tuple(self._component(number) for number in range(1, self.clients - self.least + 1))

    @property
    def share(self) -> Fraction:
        """Variance of all that a site adds, base and components: V / (m - c)."""
        return self.target / (self.least - self.colluders)

    def removable(self, survivors: int) -> range:
        """Numbers j of the components that are removed from every survivor: D + 1 .. n - m with D = n - survivors.

        Raises:
            InputError: fewer survivors than ``least`` (the round must be given up) or more than ``clients``.
        """
        dropped = self.clients - self._survivors(survivors)
        return range(dropped + 1, self.clients - self.least + 1)

    def residual(self, survivors: int) -> Fraction:
        """Variance of one survivor's noise that is left after the removal: V / (n - D - c)."""
        return self.target / (self._survivors(survivors) - self.colluders)

    def total(self, survivors: int) -> Fraction:
        """Variance of the noise in the sum after the removal, if everybody is honest: V (n - D) / (n - D - c)."""
        return survivors * self.residual(survivors)

    def honest_parts(self, survivors: int) -> tuple[Fraction, ...]:
        """Variances of all independent parts that make up the honest survivors' noise; their sum is the target.

        What an accountant needs for the discrete Gaussian: with D sites missing, a base and D components for each of
        the n - D - c honest survivors.
        """
        kept = (self.base, *self.components[: self.clients - self._survivors(survivors)])
        return kept * (survivors - self.colluders)

    def reach(self, coordinates: int, failure: Fraction = FAILURE) -> int:
        """Bound the noise in the sum *before* the removal, for field widths: |noise| <= reach in all ``coordinates``.

        Fails with probability at most ``failure``. Covers every number of survivors, the worst being that all n
        survive with nothing removed yet; the removal only takes noise away from that. See ``quant.noise.reach``.
        """
        return reach(self.family, self.clients * self.share, coordinates, failure)

    def gap(self, survivors: int) -> float:
        """Bound the max-divergence, per coordinate, of the honest survivors' noise from the law of parameter V.

        0 for Skellam, and for a single part. Rounded up; infinite if the parts are too small for this bound.
        """
        dropped = self.clients - self._survivors(survivors)
        if self.family is Skellam:
            return 0.0
        honest = survivors - self.colluders
        if honest == 1 and dropped == 0:
            return 0.0
        alone = together = Fraction(0)
        for variance in (self.base, *self.components[:dropped]):
            alone += honest * _ripple(variance * (self.target - variance) / self.target)
            together += honest * _ripple(variance / 2)
        ripple = alone + together**2
        if together > 1 or ripple >= 1:
            return math.inf
        bound = ripple + ripple / (1 - ripple)  # ln(1 + e) <= e, -ln(1 - e) <= e / (1 - e)
        return math.nextafter(float(bound), math.inf)

    def draw_base(self, count: int, stream: RandomStream) -> NDArray[np.int64]:
        """Draw the base noise of one site; int64, shape (count,). Nobody else may ever know ``stream``."""
        return draw(self.family(self.base), count, stream)

    def draw_component(self, number: int, count: int, stream: RandomStream) -> NDArray[np.int64]:
        """Draw component ``number`` (1 .. n - m) of one site; int64, shape (count,).

        The same stream gives the same integers everywhere: a site adds them, and whoever has the seed subtracts them.
        """
        number = whole_number(number, "the number of a component", 1, self.clients - self.least, InputError)
        return draw(self.family(self._component(number)), count, stream)

    def draw_share(self, count: int, base: RandomStream, components: Sequence[RandomStream]) -> NDArray[np.int64]:
        """Draw all that one site adds; int64, shape (count,). Call it before data is touched, add the result later.

        Args:
            count: number of coordinates.
            base: stream of the base.
            components: streams of components 1 .. n - m, each from a seed of its own.

        Raises:
            InputError: not one stream for each component.
        """
        if len(components) != self.clients - self.least:
            raise InputError(f"{self.clients - self.least} components need as many streams, not {len(components)}")
        noise = self.draw_base(count, base)
        for number, stream in enumerate(components, start=1):
            sampler_for(self.family(self._component(number))).add(noise, stream)
        return noise

    def draw_excess(self, count: int, revealed: Mapping[int, Mapping[int, RandomStream]]) -> NDArray[np.int64]:
        """Draw again what is to be subtracted from the sum; int64, shape (count,).

        Args:
            count: number of coordinates.
            revealed: for each survivor (by any number that names it), the stream of each component of `removable`.

        Raises:
            InputError: not exactly the removable components of each survivor, or too few or too many survivors.
        """
        numbers = self.removable(len(revealed))
        excess = np.zeros(count, np.int64)
        for survivor, streams in revealed.items():
            if sorted(streams) != list(numbers):
                raise InputError(
                    f"survivor {survivor}: components {sorted(streams)} were revealed, but {len(revealed)} survivors "
                    f"of {self.clients} need exactly {list(numbers)}"
                )
            for number in numbers:
                sampler_for(self.family(self._component(number))).add(excess, streams[number])
        return excess

    def _component(self, number: int) -> Fraction:
        honest = self.clients - self.colluders
        return self.target / ((honest - number) * (honest - number + 1))

    def _survivors(self, survivors: int) -> int:
        return whole_number(survivors, "the number of survivors", self.least, self.clients, InputError)


def _ripple(variance: Fraction) -> Fraction:
    """Bound 2 sum_{k >= 1} q^(k^2) <= 2q / (1 - q) from above, where q = exp(-2 pi^2 variance)."""
    variance = min(variance, Fraction(32))  # the bound falls with the variance, and is 2^-910 there
    bits = 64 + math.ceil(variance * 32)
    q = Fraction(exp_minus(TWO_PI_SQUARED_BELOW * variance, bits)[1], 1 << bits)
    return 2 * q / (1 - q) if q < 1 else Fraction(2)
