"""The two federations by themselves: every switch of the demo, through the protocol, on real data."""

from dataclasses import replace

import pytest
import torch

import quant
from secagg.demo import DemoConfig, to_json
from secagg.demo.federation import Plain, Secure
from secagg.demo.runner import run
from secagg.demo.training import Consortium, Server
from secagg.demo.unmasked import included_by

BASE = DemoConfig(sites=6, rounds=2, seed=2, dropout=1)


@pytest.fixture(scope="module")
def consortium():
    return Consortium(BASE)


@pytest.mark.parametrize(
    "choice",
    [
        {"bits": 8, "scheme": "nearest", "error_feedback": True},
        {"bits": 8, "scheme": "rotation-dither"},
        {"bits": 8, "scheme": "rotation", "adaptive_clip": 0.8},
        {"bits": 8, "coarser": 3},
        {"bits": 8, "downlink_bits": 8},
        {"adaptive_bits": "0:6,1:9"},
    ],
    ids=str,
)
def test_a_round_without_masks_equals_one_with_masks_bit_for_bit(consortium, choice):
    secure = Secure(replace(BASE, **choice), consortium, compare=True)
    rounds = [secure.advance(index) for index in range(2)]
    assert all(advanced.equal for advanced in rounds)
    assert all(advanced.record.exact for advanced in rounds)
    clear = Secure(replace(BASE, **choice), consortium, masked=False)
    assert [clear.advance(index).opened.included for index in range(2)] == [a.opened.included for a in rounds]
    assert abs(consortium.accuracy(clear.shown) - consortium.accuracy(secure.shown)) < 0.1


def test_the_way_down_costs_a_quarter_at_eight_bits_and_the_model_stays_close():
    full, quantized = run(BASE), run(replace(BASE, downlink_bits=8))
    ratio = quantized.downlink_bytes / full.downlink_bytes
    assert 0.25 < ratio < 0.32
    assert to_json(quantized)["downlink_bytes_per_site_round"] == quantized.downlink_bytes
    model = quantized.rounds[0].model_bytes[1]
    messages = sum(sites.get(1, 0) for sites in quantized.rounds[0].downlink_bytes.values())
    assert quantized.rounds[0].downlink_of(1) == model + messages
    assert abs(full.accuracy - quantized.accuracy) < 0.03


def test_the_server_keeps_what_the_way_down_left_out(consortium):
    secure = Secure(replace(BASE, downlink_bits=4), consortium)
    secure.advance(0)
    assert max(float((secure.shown[name] - secure.model[name]).abs().max()) for name in secure.model) > 1e-3
    float32 = Secure(BASE, consortium)
    float32.advance(0)
    assert all(torch.equal(float32.shown[name], float32.model[name]) for name in float32.model)


def test_monitoring_reports_every_round_and_warns_of_a_bad_range():
    good, bad = run(replace(BASE, rounds=1)), run(replace(BASE, rounds=1, range=1e-4))
    assert not good.warned
    assert any("widen the range" in warning for warning in bad.warned)
    assert to_json(bad)["warnings"] == list(bad.warned)
    seen = to_json(good)["per_round"][0]["monitoring"]
    assert seen["clients"] == 5 or seen["clients"] == 6
    assert 0 < seen["relative_error"] < 0.1
    silent = run(replace(BASE, rounds=1, monitor=False))
    assert to_json(silent)["per_round"][0]["monitoring"] is None


def test_error_feedback_rescues_coarse_nearest_rounding():
    """Three levels, rounded to nearest: most of every update is lost, unless it is said later."""
    base = DemoConfig(dataset="digits", rounds=8, bits=2, scheme="nearest", dropout=0, seed=1)

    def final(config):
        consortium = Consortium(config)
        secure = Secure(config, consortium, masked=False, together=True)
        for index in range(config.rounds):
            secure.advance(index)
        return consortium.accuracy(secure.shown)

    assert final(replace(base, error_feedback=True)) > final(base) + 0.05


def test_gradients_learn_too():
    config = replace(BASE, rounds=6, updates="gradient", scheme="rotation", bits=8)
    result = run(config)
    assert result.accuracy > 0.8
    assert abs(result.accuracy - result.accuracy_plain) < 0.1
    assert result.exact


def test_one_gradient_step_is_the_gradient_of_everybodys_loss(consortium):
    """The weighted mean of the sites' gradients is the gradient over all examples together."""
    config = replace(BASE, updates="gradient")
    gradients = {site: consortium.gradient(site, 0, consortium.start) for site in consortium.sites}
    total = sum(consortium.weights.values())
    mean = {
        name: sum(gradients[s][name] * consortium.weights[s] / total for s in gradients) for name in consortium.start
    }
    model = Server("gradient").apply(consortium.start, mean)
    plain = Plain(config, Consortium(config))
    plain.advance(0, tuple(consortium.sites))
    assert all(torch.allclose(model[name], plain.model[name], atol=1e-6) for name in model)


def test_drift_moves_examples_to_the_next_site_and_loses_none():
    consortium = Consortium(replace(BASE, drift=0.5, rounds=5))
    totals = [sum(consortium.weights_in(index).values()) for index in range(5)]
    assert len(set(totals)) == 1
    first, last = consortium.examples(2, 0), consortium.examples(2, 4)
    assert torch.equal(first.x, consortium.sites[2].x)
    kept = len(first.y) - int(0.5 * len(first.y))
    assert torch.equal(last.x[:kept], first.x[len(first.y) - kept :])
    assert torch.equal(last.x[kept:], consortium.sites[1].x[: len(last.y) - kept])
    assert consortium.weight_bound >= max(consortium.weights_in(4).values())


def test_a_missing_reveal_costs_an_attempt_in_the_demo():
    config = replace(BASE, scheme="dither", rounds=4)
    result = run(config)
    lost = [phase for outcome in result.rounds for phase in outcome.dropouts.values()]
    assert lost.count("share-keys") == 1
    assert result.attempts == 5
    assert result.exact


def test_included_by_agrees_with_the_protocol(result):
    for outcome in result.rounds:
        assert included_by(10, outcome.dropouts) == outcome.included


@pytest.mark.parametrize("name", ["qsgd", "TernGrad", "top-k", "DRIVE", "bitsandbytes", "kmeans", "huffman"])
@pytest.mark.fast
def test_schemes_that_cannot_be_summed_are_refused_by_name(name):
    with pytest.raises(quant.ConfigurationError, match="cannot be summed"):
        DemoConfig(scheme=name)
