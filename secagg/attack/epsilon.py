"""``--only epsilon``: attack the claim of the mechanism itself, with many releases of two worlds.

The mechanism is built as a round builds it: one site's update on the grid, clipped and conditionally rounded, and
discrete noise of the calibrated variance in the sum of the least survivors. The worlds differ by one update. What
the releases prove (``secagg.audit.epsilon``) must not exceed what was claimed.
"""

from __future__ import annotations

from collections.abc import Iterator
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


def run_all(setting: Setting, claim: float = 1.0, releases: int = RELEASES, sigma: float = 1.0) -> Iterator[Result]:
    """Bound epsilon from below, and compare.

    Args:
        setting: says how many survivors carry the noise.
        claim: epsilon that the mechanism is calibrated for, at delta 1e-5.
        releases: in each world.
        sigma: standard deviation of the noise over the calibrated one; below 1 to see the attack win.
    """
    codec, variance = mechanism(setting, claim)
    present, absent = scores(codec, variance * sigma**2, setting.least, releases)
    bounds = [
        lower_bound(present[:count], absent[:count], DELTA, CONFIDENCE)
        for count in sorted({max(releases // 100, 1000), max(releases // 10, 1000), releases})
        if count <= releases
    ]
    yield _result(bounds[-1], claim, tuple((float(bound.samples), bound.epsilon / claim) for bound in bounds))


def _result(bound: LeakBound, claim: float, curve: tuple[tuple[float, float], ...]) -> Result:
    name = f"epsilon at least {bound.epsilon:.3f}, claimed {claim:g}"
    by = f"{bound.samples:,} releases a world, delta {bound.delta:g}, confidence {bound.confidence:.0%}"
    if bound.refutes(claim):
        return Result(12, name, Outcome.POSSIBLE, by, "the claim is false: more noise, or a missing clip", curve)
    return Result(12, name, Outcome.STOPPED, by, "", curve)


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
    codec: quant.UpdateCodec, variance: Fraction | float, survivors: int, releases: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Release sums with and without one site's largest update, and project them on what differs.

    Returns:
        (scores with it, scores without it), each float64 of shape (releases,).
    """
    centre = codec.facts.levels // 2
    stream = prg.AesCtrStream(SystemEntropy().take(prg.KEY_BYTES, "attack"))
    others = (codec.encode(np.array([0.2, -0.1, 0.3, 0.05]), stream) - centre) * (survivors - 1)
    ours = codec.encode(np.full(DIM, 0.5), stream) - centre
    law = Skellam(Fraction(variance))
    found = []
    for present in (ours, 0):
        noise = draw(law, releases * DIM, stream).reshape(releases, DIM)
        found.append(projected(noise + others + present, ours))
    return found[0], found[1]
