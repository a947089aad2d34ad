import numpy as np
import pytest

from secagg.demo import DemoConfig
from secagg.demo.runner import run


def test_sites_in_the_sum_are_those_that_sent_their_input(result):
    for outcome in result.rounds:
        gone = {site for site, phase in outcome.dropouts.items() if phase not in ("consistency-check", "unmasking")}
        assert set(outcome.included) == set(range(1, 11)) - gone
        assert dict(outcome.dropouts) == dict(result.config.dropouts(outcome.round_index))


def test_sums_are_exact_and_nothing_lies_beyond_the_grid(result):
    assert result.exact
    assert result.saturated == 0


def test_both_federations_learn_alike(result):
    assert result.accuracy > 0.8
    assert abs(result.accuracy - result.accuracy_plain) < 0.05


def test_server_saw_numbers_that_tell_nothing_of_the_update(result):
    view, top = result.view, 2.0**result.field_bits
    assert view.sent.max() < top
    assert view.true.std() < 0.1 * top
    # Uniform numbers have this mean; five standard errors keep the test from failing by chance.
    error = top / np.sqrt(12 * view.sent.size)
    assert abs(view.sent.mean() - top / 2) < 5 * error
    assert abs(np.corrcoef(view.sent.astype(float), view.true)[0, 1]) < 5 / np.sqrt(view.sent.size)


def test_progress_is_told_every_round():
    told = []
    result = run(DemoConfig(sites=3, rounds=2, skew="iid"), told.append)
    assert tuple(told) == result.rounds


def test_small_range_saturates_and_says_so():
    result = run(DemoConfig(sites=3, rounds=1, range=1e-4))
    assert result.saturated > 0
    assert result.exact


@pytest.mark.parametrize("dataset", ["breast-cancer", "digits"])
def test_default_demo_keeps_its_promises(dataset):
    """Twelve bits: accuracy of plain FedAvg, at most 0.60 of its bytes, every sum exact."""
    results = [run(DemoConfig(dataset=dataset, seed=seed)) for seed in range(3)]
    secure, plain = (np.mean([getattr(r, name) for r in results]) for name in ("accuracy", "accuracy_plain"))
    assert abs(secure - plain) <= 0.010
    assert plain >= {"breast-cancer": 0.95, "digits": 0.90}[dataset]
    assert all(r.uplink_bytes <= 0.60 * r.float32_bytes for r in results)
    assert all(r.exact and r.saturated == 0 for r in results)
    assert all(set(r.dropouts_by_phase) == set(r.uplink_by_phase) for r in results)
