"""Opacus's interface over our costs, beside Opacus's own accountants on the Gaussian that dominates."""

from __future__ import annotations

import pytest
from opacus.accountants import PRVAccountant, RDPAccountant, create_accountant
from opacus.accountants.accountant import IAccountant

from secagg.integrations.opacus import DistributedAccountant
from secagg.integrations.opacus.accountant import step_cost

DELTA = 1e-5

# Opacus's own: few orders of RDP, and the logarithm of zero where PRV does not sample.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Optimal order is the"),
    pytest.mark.filterwarnings("ignore:divide by zero encountered in log"),
]


def spent(accountant: IAccountant, noise_multiplier: float, sample_rate: float, steps: int) -> float:
    for _ in range(steps):
        accountant.step(noise_multiplier=noise_multiplier, sample_rate=sample_rate)
    return float(accountant.get_epsilon(DELTA))


def test_opacus_makes_one_by_name():
    accountant = create_accountant("distributed")
    assert isinstance(accountant, DistributedAccountant)
    assert accountant.get_epsilon(DELTA) == 0.0
    assert len(accountant) == 0


@pytest.mark.parametrize(("noise_multiplier", "steps"), [(20.0, 40), (5.0, 10), (60.0, 1000)])
def test_without_sampling_it_is_the_tight_one(noise_multiplier, steps):
    """Composed Gaussians have an exact curve: below Opacus's RDP, and at its PRV within that one's stated error."""
    ours = spent(DistributedAccountant(), noise_multiplier, 1.0, steps)
    assert ours < spent(RDPAccountant(), noise_multiplier, 1.0, steps)
    assert ours == pytest.approx(spent(PRVAccountant(), noise_multiplier, 1.0, steps), abs=0.02)


@pytest.mark.parametrize(("noise_multiplier", "rate", "steps"), [(1.0, 0.05, 200), (4.0, 0.1, 100), (0.8, 0.01, 500)])
def test_with_sampling_it_is_proven_by_renyi(noise_multiplier, rate, steps):
    ours = spent(DistributedAccountant(), noise_multiplier, rate, steps)
    assert ours == pytest.approx(spent(RDPAccountant(), noise_multiplier, rate, steps), rel=0.02)
    assert ours > spent(PRVAccountant(), noise_multiplier, rate, steps) - 0.02  # numerical, so tighter


def test_histories_are_joined_saved_and_read():
    accountant = DistributedAccountant()
    for noise_multiplier in (3.0, 3.0, 2.0):
        accountant.step(noise_multiplier=noise_multiplier, sample_rate=1.0)
    assert accountant.history == [(3.0, 1.0, 2), (2.0, 1.0, 1)]
    assert len(accountant) == 3
    cost = step_cost(3.0, 1.0).times(2) + step_cost(2.0, 1.0)
    assert accountant.get_epsilon(DELTA) == cost.epsilon(DELTA)[0]
    accountant.failure = 1e-6
    assert accountant.get_epsilon(DELTA) > cost.epsilon(DELTA)[0]
    other = DistributedAccountant()
    other.load_state_dict(accountant.state_dict())
    assert other.get_epsilon(DELTA) == accountant.get_epsilon(DELTA)
    with pytest.raises(ValueError, match="mechanism rdp"):
        RDPAccountant().load_state_dict(accountant.state_dict())
