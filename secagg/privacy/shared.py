"""What noise that sites share costs, after any number of drop-outs: the link to ``quant.noise.Sharing``."""

from __future__ import annotations

from fractions import Fraction

from quant.noise import DiscreteGaussian, Sharing, Skellam
from secagg.privacy.calibration import Calibration, Law
from secagg.privacy.mechanism import Cost, DiscreteGaussianNoise, Noise, Sampling, SkellamNoise, largest, release
from secagg.privacy.sensitivity import Sensitivity

FAMILIES: dict[Law, type[Skellam] | type[DiscreteGaussian]] = {
    Law.SKELLAM: Skellam,
    Law.DISCRETE_GAUSSIAN: DiscreteGaussian,
}


def sharing_of(found: Calibration, clients: int, least: int, colluders: int) -> Sharing:
    """Return how ``clients`` sites share calibrated noise, excess removed after drop-outs.

    Args:
        found: of ``calibrate``, for the same ``least`` survivors and ``colluders``.
        clients: sites that are invited.
        least: fewest survivors of a round that is not given up.
        colluders: members assumed to add no noise.

    Raises:
        quant.ConfigurationError: numbers that make no sense, or parts that no sampler draws.
    """
    return Sharing(Fraction(found.variance), clients, least, colluders, FAMILIES[found.law])


def honest_noise(sharing: Sharing, survivors: int) -> Noise:
    """Return the law of the honest survivors' noise once the excess is removed.

    Skellam: its target, whoever drops out. Discrete Gaussian: a sum of bases and of the components that stay, each a
    discrete Gaussian of its own, which is not quite the same law for every number of survivors.

    Raises:
        PrivacyInputError: parts below one squared grid step, for which no claim is made.
        quant.InputError: fewer survivors than ``sharing.least``, or more than there are clients.
    """
    honest = survivors - sharing.colluders
    kept = sharing.clients - survivors
    sharing.residual(survivors)
    if sharing.family is Skellam:
        return SkellamNoise(float(sharing.target))
    parts = tuple(float(part) for part in (sharing.base, *sharing.components[:kept]))
    return DiscreteGaussianNoise(parts * honest)


def release_shared(sharing: Sharing, sensitivity: Sensitivity, sampling: Sampling | None = None) -> Cost:
    """Return the cost of one release whatever number of tolerated drop-outs there will be: the largest of them all.

    Raises:
        PrivacyInputError: see `honest_noise` and `release`.
    """
    counts = range(sharing.least, sharing.clients + 1)
    laws = {honest_noise(sharing, survivors) for survivors in (counts[:1] if sharing.family is Skellam else counts)}
    return largest([release(law, sensitivity, sampling) for law in laws])
