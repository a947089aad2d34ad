"""Weighted means in which no site's weight is ever sent in clear.

Each site adds two things to the secure sum: its vector times w_i / max_weight, and w_i itself. Both sums are masked;
the mean is their quotient. Dividing by the public ``max_weight`` keeps the vector inside the range of the grid.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.checks import whole_number
from quant.errors import InputError
from quant.vectors import FloatVector, as_vector, magnitude

MAX_WEIGHT = 2**53
"""Largest ``max_weight``: up to here every weight is exact in float64."""


@dataclass(frozen=True, slots=True)
class Weighting:
    """Weights (example counts, usually) as whole numbers from 0 to the public bound ``max_weight``.

    Order matters: clip, weigh, round. Clip the update first (``UpdateCodec.clip``), so that the bound holds for what a
    site thinks, not for what is left after scaling; the scaling never enlarges, so the codec's own clip then
    changes nothing: ``codec.encode(weighting.apply(codec.clip(x), w), stream)``.

    Error analysis. Exact: weights and their sum. Bounded: let e be the codec's ``max_error``, that is about one step
    for one coordinate of one site. Each site adds w/max_weight * x within e (and within 2^-23 |x| of float32 rounding,
    2^-52 |x| in float64), so the weighted mean over n sites errs by at most n * e * max_weight / sum(w). With equal
    weights w that is e * max_weight / w: what is a tenth of ``max_weight`` loses log2(10) = 3.3 bits of resolution. So
    put ``max_weight`` at the largest weight that occurs, and cap rare giants, rather than leaving room. Stochastic
    rounding errors average out: their standard deviation in the mean is at most
    sqrt(n) * step / 2 * max_weight / sum(w). A site of weight 0 adds rounding noise and nothing else.
    """

    max_weight: int

    def __post_init__(self) -> None:
        """Refuse a bound that is no positive whole number."""
        object.__setattr__(self, "max_weight", whole_number(self.max_weight, "max_weight", 1, MAX_WEIGHT))

    def check(self, weight: int) -> int:
        """Give the weight as an int.

        Raises:
            InputError: not a whole number, negative, or above ``max_weight``.
        """
        return whole_number(weight, "a weight", 0, self.max_weight, InputError)

    def apply(self, x: FloatVector, weight: int) -> FloatVector:
        """Give x * (weight / max_weight), shape and dtype as ``x``. No coordinate grows: the factor is at most 1.

        Raises:
            InputError: a weight out of range; ``x`` is not a vector, or holds NaN or infinity.
        """
        x = as_vector(x)
        magnitude(x)  # refuses NaN, and infinity times a weight of zero
        factor = self.check(weight) / self.max_weight
        with np.errstate(under="ignore"):
            return np.multiply(x, factor, out=np.empty_like(x))

    def mean(self, weighted_sum: NDArray[np.float64], total_weight: int) -> NDArray[np.float64]:
        """Give weighted_sum * max_weight / total_weight: the weighted mean, float64, shape as ``weighted_sum``.

        Args:
            weighted_sum: the decoded sum of the vectors that ``apply`` gave.
            total_weight: the sum of the weights of the same sites.

        Raises:
            InputError: the total is 0 (every site had weight zero, there is no mean), or not a whole number.
        """
        return weighted_sum * (self.max_weight / self.check_total(total_weight))

    def check_total(self, total_weight: int) -> int:
        """Give the total weight as an int.

        Raises:
            InputError: the total is 0 (every site had weight zero, there is no mean), or not a whole number.
        """
        if total_weight == 0:
            raise InputError("every included site has weight 0: there is no mean of nothing")
        return whole_number(total_weight, "the total weight", 1, 2**62, InputError)
