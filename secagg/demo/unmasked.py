"""A round without masks, for sweeps over many settings: the same integers, added in the clear.

Encoding, sum and decoding are the very functions that a real round runs, so the result is that of a real round with
the same coins, bit for bit; ``same_in_the_clear`` compares them. Nothing is hidden here, and whatever uses it says so.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

import quant
from protocols import SystemEntropy
from secagg.config import RoundConfig
from secagg.contribution import Contribution, encode
from secagg.errors import RoundRefused
from secagg.feedback import SiteResidual
from secagg.opened import Opened, open_sums
from secagg.public import JointRandomness

Train = Callable[[int], tuple[quant.Update, int]]
"""Gives a site's update and weight."""


def included_by(sites: int, dropouts: Mapping[int, str]) -> tuple[int, ...]:
    """Give who is in the sum: everybody but those that vanish before their input is in."""
    return tuple(site for site in range(1, sites + 1) if dropouts.get(site, "unmasking") == "unmasking")


def _included(config: RoundConfig, dropouts: Mapping[int, str]) -> tuple[int, ...]:
    """Give who is in the sum.

    Raises:
        RoundRefused: fewer than the threshold.
    """
    left = included_by(len(config.clients), dropouts)
    if len(left) < config.params.least_survivors:
        raise RoundRefused(f"{len(left)} sites are in the sum, {config.params.least_survivors} are needed")
    return left


def add_up(config: RoundConfig, contributions: Mapping[int, Contribution], public: quant.PublicRandomness) -> Opened:
    """Add what the sites would have masked, vector by vector modulo its modulus, and decode the sums."""
    sums: dict[str, NDArray[np.uint64]] = {}
    for spec in config.params.vectors:
        total = np.zeros(spec.length, dtype=np.uint64)
        for contribution in contributions.values():
            total += contribution.vectors[spec.name]
        sums[spec.name] = total & np.uint64(spec.modulus - 1)
    return open_sums(config, sums, tuple(sorted(contributions)), public)


def unmasked_round(
    config: RoundConfig, train: Train, dropouts: Mapping[int, str], residuals: Mapping[int, SiteResidual] | None
) -> tuple[Opened, dict[int, SiteResidual]]:
    """Run a round in the clear; give its sum, and with error feedback what every site keeps."""
    entropy = SystemEntropy()
    public = JointRandomness(config.params.cipher_suite, entropy.take(32, "joint-seed"))
    kept, contributions = dict(residuals or {}), {}
    for client in _included(config, dropouts):
        update, weight = train(client)
        residual = SiteResidual.checked(kept.get(client), config.codec) if config.error_feedback else None
        contribution = encode(config, update, weight, entropy, public=public, client=client, residual=residual)
        contributions[client] = contribution
        if contribution.residual is not None:
            kept[client] = contribution.residual.included()
    return add_up(config, contributions, public), kept


def same_in_the_clear(
    config: RoundConfig,
    opened: Opened,
    contributions: Mapping[int, Contribution],
    public: quant.PublicRandomness,
) -> bool:
    """Tell whether what a round opened equals what ``add_up`` gives of the same inputs, bit for bit."""
    clear = add_up(config, {client: contributions[client] for client in opened.included}, public)
    return (
        np.array_equal(opened.integers, clear.integers)
        and opened.mean.tobytes() == clear.mean.tobytes()
        and (opened.total_weight, opened.inside) == (clear.total_weight, clear.inside)
        and opened.monitoring == clear.monitoring
    )
