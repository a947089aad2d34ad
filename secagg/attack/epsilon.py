"""``--only epsilon``, first part: attack the claim of the mechanism itself, with many releases of two worlds.

The mechanism is built as a round builds it: one site's update on the grid, clipped and conditionally rounded, and
discrete noise of the calibrated variance in the sum of the least survivors. The worlds differ by one update. What
the releases prove (``secagg.audit.epsilon``) must not exceed what was claimed. The second part is in ``canaries``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

import quant
from protocols import SystemEntropy
from protocols.primitives import prg
from quant.noise import Skellam, draw
from secagg.attack.outcomes import Outcome, Result
from secagg.attack.setting import Setting
from secagg.audit.epsilon import LeakBound, lower_bound, projected
from secagg.errors import UsageError
from secagg.privacy import Calibration, Goal, calibrate, of_site

DIM = 4
DELTA = 1e-5
CONFIDENCE = 0.95
RELEASES = 1_000_000

BESIDE = (0.25, 0.5, 2.0, 4.0)
"""Claims that are tried beside the one asked for, as multiples of it: the plot shows whether bounds follow claims."""

FALSE = "the claim is false: more noise, or a missing clip"


@dataclass(frozen=True)
class Weakness:
    """What is wrong with the build under attack; nothing by default.

    Attributes:
        sigma: standard deviation of the noise over the calibrated one.
        clip: norm to which contributions are really clipped, over the one that the noise is calibrated for.
    """

    sigma: float = 1.0
    clip: float = 1.0


SOUND = Weakness()


def run_all(
    setting: Setting, claim: float = 1.0, releases: int = RELEASES, weakness: Weakness = SOUND
) -> Iterator[Result]:
    """Bound epsilon from below for several claims, all bounds together with confidence 95 %, and compare.

    Args:
        setting: says how many survivors carry the noise.
        claim: epsilon that the mechanism is calibrated for, at delta 1e-5.
        releases: in each world.
        weakness: to see the attack win.
    """
    claims = sorted({claim, *(factor * claim for factor in BESIDE)})
    each = 1 - (1 - CONFIDENCE) / len(claims)
    found = {claimed: bound(setting, claimed, releases, weakness, each) for claimed in claims}
    asked, name = found[claim], "the mechanism, released many times"
    by = (
        f"epsilon at least {asked.epsilon:.3f}, claimed {claim:g}: {asked.samples:,} releases a world, "
        f"delta {DELTA:g}, confidence {CONFIDENCE:.0%}"
    )
    points = tuple((claimed, one.epsilon) for claimed, one in found.items())
    if any(one.refutes(claimed) for claimed, one in found.items()):
        yield Result(12, name, Outcome.POSSIBLE, by, FALSE, points)
    else:
        yield Result(12, name, Outcome.STOPPED, by, "", points)


def bound(
    setting: Setting, claim: float, releases: int = RELEASES, weakness: Weakness = SOUND, confidence: float = CONFIDENCE
) -> LeakBound:
    """Bound epsilon of the mechanism that is calibrated for ``claim``."""
    codec, variance = mechanism(setting, claim)
    present, absent = scores(codec, variance, setting.least, releases, weakness)
    return lower_bound(present, absent, DELTA, confidence)


def mechanism(setting: Setting, claim: float) -> tuple[quant.UpdateCodec, Fraction]:
    """Build the codec and calibrate the variance of the noise in the sum, in squared grid steps.

    Raises:
        UsageError: the claim cannot be met.
    """
    codec = quant.from_config({"levels": 1023, "range": 1.0, "clip": 1.0, "rounding": "conditional"}, DIM)
    found = calibrate(Goal(epsilon=claim, delta=DELTA, releases=1, least_survivors=setting.least), of_site(codec.facts))
    if not isinstance(found, Calibration):
        raise UsageError(f"no noise gives epsilon {claim:g}: {found}")
    return codec, Fraction(found.variance)


def scores(
    codec: quant.UpdateCodec, variance: Fraction, survivors: int, releases: int, weakness: Weakness = SOUND
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Release sums with and without one site's largest update, and project them on what differs.

    Returns:
        (scores with it, scores without it), each float64 of shape (releases,).
    """
    centre = codec.facts.levels // 2
    stream = prg.AesCtrStream(SystemEntropy().take(prg.KEY_BYTES, "attack"))
    others = (codec.encode(np.array([0.2, -0.1, 0.3, 0.05]), stream) - centre) * (survivors - 1)
    ours = np.rint(weakness.clip * (codec.encode(np.full(DIM, 0.5), stream) - centre)).astype(np.int64)
    law = Skellam(variance * Fraction(weakness.sigma) ** 2)
    found = []
    for present in (ours, 0):
        noise = draw(law, releases * DIM, stream).reshape(releases, DIM)
        found.append(projected(noise + others + present, ours))
    return found[0], found[1]
