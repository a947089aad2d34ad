"""The noise in a private sum: exact after every tolerated drop-out pattern, and a missing share is noticed."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from protocols.primitives.prg import AesCtrStream
from quant.noise import draw
from secagg.contribution import Contribution
from secagg.privacy import Law, PatientUpdates
from secagg.privacy.shared import FAMILIES
from tests.secagg.private_cohort import Exchange, fitted, private_config

CLIENTS, LEAST, DIM, MANY = 5, 3, 4096, 1 << 15
PATTERNS = [gone for size in range(CLIENTS - LEAST + 1) for gone in combinations(range(1, CLIENTS + 1), size)]


def nobody(client: int) -> PatientUpdates:
    return PatientUpdates(np.zeros((0, DIM)))


def looks_right(noise: np.ndarray, variance: Fraction) -> bool:
    """Whether noise on known inputs has the variance that was promised: 8 standard errors, P(false alarm) < 1e-14."""
    return abs(np.mean(noise.astype(np.float64) ** 2) / float(variance) - 1) < 8 * np.sqrt(2 / noise.size) + 1e-3


@pytest.mark.parametrize("law", list(Law))
def test_honest_survivors_noise_is_the_target_after_every_tolerated_pattern(law: Law) -> None:
    """With no patients the sum is noise alone, so each integer of it can be recomputed from the sites' own seeds."""
    found = fitted(DIM, least=LEAST, law=law)
    config = private_config(found, DIM)
    sharing = found.privacy.sharing(CLIENTS)
    half = config.codec.facts.levels // 2
    for gone in PATTERNS:
        dropped = len(gone)
        round_ = Exchange(config, drop_inputs=gone)
        seeds = {client: session._machine.noise_seeds for client, session in round_.sessions.items()}
        contributions = round_.submit(nobody)
        opened = round_.open()
        residual = np.zeros(DIM, np.int64)
        for client, contribution in contributions.items():
            noise = contribution.integers - half
            for number in range(dropped + 1, CLIENTS - LEAST + 1):
                law_ = FAMILIES[law](sharing.components[number - 1])
                noise -= draw(law_, DIM, AesCtrStream(seeds[client][number - 1].reveal()))
            residual += noise
        assert opened.included == tuple(sorted(contributions))
        assert np.array_equal(opened.integers - half * len(contributions), residual)
        # What is left of each survivor, in exact fractions: V / (n - D - c); so n - D - c honest ones carry V.
        left = sharing.base + sum(sharing.components[:dropped], Fraction(0))
        assert left * (CLIENTS - dropped - 1) == sharing.target
        total = sharing.target * Fraction(CLIENTS - dropped, CLIENTS - dropped - 1)
        assert looks_right(residual, total), gone
        assert opened.noise is not None
        assert opened.noise.total == pytest.approx(float(total) ** 0.5 * found.step)
        assert opened.noise.honest == pytest.approx(float(sharing.target) ** 0.5 * found.step)
        assert np.allclose(opened.sum, _rotated_back(residual, round_) * found.step)


def _rotated_back(residual: np.ndarray, round_: Exchange) -> np.ndarray:
    codec = round_.config.codec
    return codec.transforms[0].backward(residual.astype(np.float64), DIM, round_.server.public)  # type: ignore[attr-defined]


def test_without_removable_components_the_worst_case_stays_in_the_sum() -> None:
    found = fitted(DIM, least=LEAST, removable=False)
    config = private_config(found, DIM)
    assert config.params.noise_components == 0
    round_ = Exchange(config, drop_inputs=(2,))
    round_.submit(nobody)
    opened = round_.open()
    noise = opened.integers - 4 * (config.codec.facts.levels // 2)
    assert looks_right(noise, 4 * found.privacy.target / (LEAST - 1))
    assert opened.noise is not None
    assert opened.noise.total == pytest.approx((4 * float(found.privacy.target) / 2) ** 0.5 * found.step)
    assert opened.noise.honest > opened.noise.target


def test_a_missing_noise_share_is_caught_by_a_variance_test_on_known_inputs() -> None:
    """One base of five missing is a fifth of the variance: 25 standard errors, where 8 raise the alarm."""
    found = fitted(MANY, least=LEAST)
    config = private_config(found, MANY)
    total = found.privacy.target * Fraction(CLIENTS, CLIENTS - 1)
    for without, caught in (((), False), ((4,), True)):
        round_ = Exchange(config)
        half = config.codec.facts.levels // 2
        for client, session in round_.sessions.items():
            contribution = session.prepare(PatientUpdates(np.zeros((0, MANY))))
            if client in without:  # a build that forgets the base of its noise, but not what the server takes off
                seeds = session._machine.noise_seeds
                sharing = found.privacy.sharing(CLIENTS)
                bare = np.full(MANY, half, np.int64)
                for number, seed in enumerate(seeds, start=1):
                    bare += sharing.draw_component(number, MANY, AesCtrStream(seed.reveal()))
                contribution = Contribution(bare, 0, {"update": config.lanes.fold(bare)}, noised=True)
            for frame in session.submit(contribution, bytes(range(32))):
                round_._send(client, frame)
        noise = round_.open().integers - CLIENTS * half
        assert looks_right(noise, total) != caught
