"""Shared noise costs what its honest survivors carry, whoever drops out."""

from fractions import Fraction

import pytest

from quant import QuantError
from quant.noise import DiscreteGaussian, Sharing, Skellam
from secagg.privacy import (
    Calibration,
    Goal,
    Law,
    PrivacyInputError,
    SkellamNoise,
    calibrate,
    honest_noise,
    of_patient,
    release,
    release_shared,
    sharing_of,
)

pytestmark = pytest.mark.fast

PATIENT = of_patient(900, 50)
GOAL = Goal(epsilon=1.0, delta=1e-5, releases=10, least_survivors=6, colluders=2)


@pytest.mark.parametrize("law", list(Law))
def test_calibrated_noise_keeps_its_promise_after_any_drop_outs(law):
    found = calibrate(GOAL, PATIENT, law)
    assert isinstance(found, Calibration)
    sharing = sharing_of(found, 10, 6, 2)
    assert float(sharing.share) == pytest.approx(found.share)
    for survivors in range(6, 11):
        noise = honest_noise(sharing, survivors)
        assert noise.variance == pytest.approx(found.variance)
        assert release(noise, PATIENT).times(10).epsilon(1e-5)[0] <= 1.0 + 1e-6
    assert release_shared(sharing, PATIENT).times(10).epsilon(1e-5)[0] == pytest.approx(1.0, rel=1e-6)


def test_skellam_does_not_show_how_it_was_cut():
    sharing = Sharing(Fraction(400), 10, 6, 1, Skellam)
    assert release_shared(sharing, PATIENT) == release(SkellamNoise(400.0), PATIENT)


def test_small_parts_of_discrete_gaussians_cost_their_ripple_or_are_refused():
    whole = release_shared(Sharing(Fraction(73), 6, 6, 1, DiscreteGaussian), PATIENT)
    parts = release_shared(Sharing(Fraction(73), 10, 6, 1, DiscreteGaussian), PATIENT)
    assert parts.gaussian > whole.gaussian
    with pytest.raises(PrivacyInputError, match="finer grid"):
        release_shared(Sharing(Fraction(40), 10, 6, 1, DiscreteGaussian), PATIENT)


@pytest.mark.parametrize("survivors", [5, 11])
def test_numbers_of_survivors_that_cannot_be(survivors):
    with pytest.raises(QuantError):
        honest_noise(Sharing(Fraction(400), 10, 6, 1), survivors)
