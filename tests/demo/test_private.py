"""Private learning: gradients, the federations that are compared, what is promised and what is reported."""

import json

import numpy as np
import pytest
import torch

from secagg.cli import main
from secagg.demo.private.baselines import Baseline
from secagg.demo.private.federation import Distributed
from secagg.demo.private.hospitals import FEATURES, Hospitals
from secagg.demo.private.learner import Patients, clipped_sum, gradients
from secagg.demo.private.result import ARMS, to_json
from secagg.demo.private.runner import run
from secagg.demo.private.setting import CLIP, PrivateConfig
from secagg.errors import UsageError
from secagg.privacy import Calibration, Goal, PrivacyInputError, calibrate, gaussian

TINY = PrivateConfig(dataset="breast-cancer", epsilon=2.0, sites=5, rounds=3, dropout=1, bits=14, seed=3)


@pytest.fixture(scope="module")
def result():
    return run(TINY)


@pytest.fixture
def patients(rng):
    return Patients(rng.normal(size=(7, 5)), rng.integers(3, size=7))


def test_gradients_of_single_patients_are_those_of_autograd(rng, patients):
    weights = rng.normal(size=(5, 3))
    for row, x, y in zip(gradients(weights, patients), patients.x, patients.y, strict=True):
        leaf = torch.tensor(weights, requires_grad=True)
        logits = torch.from_numpy(x[None]) @ leaf
        torch.nn.functional.cross_entropy(logits, torch.tensor([y])).backward()
        np.testing.assert_allclose(row, leaf.grad.numpy().ravel(), atol=1e-12)


def test_a_patients_gradient_is_the_same_whoever_else_is_there(rng):
    """To the last bit: a matrix product's last digits depend on how many rows it has."""
    held = Patients(rng.normal(size=(57, 31)), rng.integers(2, size=57))
    weights = rng.normal(size=(31, 2))
    together = gradients(weights, held)
    for left_out in (0, 1, 56):
        others = np.arange(57) != left_out
        np.testing.assert_array_equal(gradients(weights, Patients(held.x[others], held.y[others])), together[others])


def test_the_sum_is_that_of_gradients_clipped_one_by_one(rng, patients):
    weights = 3 * rng.normal(size=(5, 3))
    rows = gradients(weights, patients)
    norms = np.linalg.norm(rows, axis=1)
    for clip in (0.1, float(np.median(norms)), 1e3):
        wanted = (rows * np.minimum(1, clip / norms)[:, None]).sum(axis=0)
        np.testing.assert_allclose(clipped_sum(weights, patients, clip).ravel(), wanted, atol=1e-12)


@pytest.mark.parametrize(("dataset", "columns"), [("digits", 64), ("breast-cancer", 30)])
def test_features_of_a_patient_depend_on_that_patient_alone(rng, dataset, columns):
    rows = rng.uniform(0, 16, (9, columns))
    together = FEATURES[dataset](rows)
    for place, row in enumerate(rows):
        np.testing.assert_array_equal(FEATURES[dataset](row[None])[0], together[place])
    assert np.isfinite(FEATURES[dataset](np.zeros((1, columns)))).all()


def test_every_patient_is_at_one_hospital():
    hospitals = Hospitals.deal("digits", 10, "label:0.5", 0)
    assert hospitals.patients == 1437
    assert all(len(patients) >= 2 for patients in hospitals.sites.values())
    assert hospitals.start.size == 36 * 10


def test_epsilon_is_what_the_accountant_claims_and_the_ledgers_stay_below(result):
    calibration = result.fitted.calibration
    assert isinstance(calibration, Calibration)
    assert result.claim.epsilon <= TINY.epsilon
    assert to_json(result)["epsilon"] == result.claim.epsilon == pytest.approx(TINY.epsilon, rel=1e-3)
    assert result.rounds[-1].epsilon == pytest.approx(result.claim.epsilon, rel=1e-12)
    sensitivity = result.fitted.privacy.terms(_codec(result), TINY.sites, TINY.threshold).sensitivity()
    goal = Goal(epsilon=2.0, delta=TINY.delta, releases=3, least_survivors=TINY.threshold, colluders=1)
    again = calibrate(goal, sensitivity, max_variance=2.0**60)
    assert calibration.variance == pytest.approx(again.variance, rel=1e-6)
    for outcome in result.rounds:
        assert max(outcome.ledgers.values()) <= outcome.epsilon * (1 + 1e-9)
    # Who was in every sum spent everything, who was in none nothing.
    joined = [sum(site in outcome.included for outcome in result.rounds) for site in range(1, 6)]
    spent = result.rounds[-1].ledgers
    assert sorted(spent, key=spent.get)[-1] in [site for site in range(1, 6) if joined[site - 1] == max(joined)]


def _codec(result):
    import quant

    return quant.from_config(result.fitted.quantization, result.parameters)


def test_sums_are_exact_and_carry_the_noise_that_was_promised(result):
    assert result.exact
    assert result.fitted.sigma >= TINY.central_sigma
    for outcome in result.rounds:
        assert outcome.noise * TINY.central_sigma >= result.fitted.sigma


def test_noise_of_the_distributed_sum_is_as_large_as_it_says():
    """One sum on known patients: the error's root mean square, over 62 coordinates, within a factor of 2."""
    hospitals = Hospitals.deal("breast-cancer", 5, "iid", 0)
    federation = Distributed(TINY, hospitals)
    opened = federation.advance(0).opened
    true = sum(clipped_sum(hospitals.start, hospitals.sites[site], CLIP) for site in opened.included)
    error = opened.sum.reshape(true.shape) - true
    # A chi-square variable with 62 degrees of freedom is beyond these factors with probability below 1e-10.
    assert 0.5 < np.sqrt(np.mean(error**2)) / opened.noise.total < 2


def test_the_trusted_server_needs_what_the_analytic_gaussian_says():
    shift = CLIP * np.sqrt(TINY.rounds) / TINY.central_sigma
    assert gaussian.delta(TINY.epsilon, shift) == pytest.approx(TINY.delta, rel=1e-6)


def test_baselines_differ_in_noise_only():
    hospitals = Hospitals.deal("breast-cancer", 5, "iid", 0)
    spread = {}
    for noise in ("none", "server", "local"):
        arm = Baseline(TINY, hospitals, noise=noise)
        arm.advance((1, 2, 3, 4))
        spread[noise] = arm.weights
    moved = {noise: np.linalg.norm(weights - spread["none"]) for noise, weights in spread.items()}
    unit = TINY.rate * TINY.central_sigma / TINY.divisor(4) * np.sqrt(62)
    assert 0.5 < moved["server"] / unit < 2
    assert 0.5 < moved["local"] / (2 * unit) < 2


def test_the_comparison_names_everybody_and_the_neighbours(result):
    found = to_json(result)
    assert set(found["comparison"]) == set(ARMS)
    assert found["comparison"]["open"]["epsilon"] is None
    assert (found["unit"], found["relation"], found["delta"]) == ("patient", "add or remove", 1e-5)
    for key in ("dataset", "sites", "rounds", "accuracy", "accuracy_plain_fedavg", "bits", "seconds", "dropouts"):
        assert found[key] is not None
    json.dumps(found)


def test_half_of_the_sites_vanish_before_their_input_and_half_after():
    config = PrivateConfig(dropout=4)
    for round_index in range(8):
        phases = list(config.dropouts(round_index).values())
        assert sum(phase in ("masked-input", "advertise-keys") for phase in phases) == 2
        assert len(phases) == 4
    assert config.threshold == 6


REFUSED = [
    (["--epsilon", "0"], "choose a positive number"),
    (["--epsilon", "-1"], "choose a positive number"),
    (["--epsilon", "1", "--delta", "0.5"], "well below one in"),
    (["--epsilon", "1", "--unit", "site"], "--unit site says what that would cost"),
    (["--epsilon", "1", "--adaptive-clip", "0.5"], "the clip is fixed"),
    (["--epsilon", "1", "--scheme", "dither"], "as the accountant counted"),
    (["--epsilon", "1", "--error-feedback"], "carries a patient into later rounds"),
    (["--epsilon", "1", "--dropout", "5"], "at most 4"),
    (["--epsilon", "1", "--sites", "2"], "3 to a few dozen"),
    (["--epsilon", "0.000001", "--bits", "24"], "infeasible"),
    (["--delta", "1e-6"], "give --epsilon"),
    (["--epsilon", "1", "--sweep", "bits"], "--sweep epsilon is the private one"),
    (["--epsilon", "1", "--sweep", "epsilon"], "leave --epsilon and --dropout out"),
]


@pytest.mark.parametrize(
    ("options", "says"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input_gets_one_line_and_leaves_nothing(tmp_path, monkeypatch, capfd, options, says):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", *options]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err
    assert list(tmp_path.iterdir()) == []


def test_command_writes_figures_picture_and_a_transcript(tmp_path, capfd):
    options = ["--epsilon", "2", "--sites", "4", "--rounds", "2", "--out", str(tmp_path / "run")]
    assert main(["demo", *options]) == 0
    out, err = capfd.readouterr()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "accuracy.png",
        "result.json",
        "transcript.jsonl",
    ]
    assert (tmp_path / "run/accuracy.png").read_bytes()[:4] == b"\x89PNG"
    assert "differential privacy for one patient (neighbours: add or remove) over 2 releases" in out
    assert "against the trusted server" in out
    assert "epsilon" in err
    assert json.loads((tmp_path / "run/result.json").read_text())["exact"] is True


def test_configurations_that_promise_nothing():
    with pytest.raises(UsageError, match="positive"):
        PrivateConfig(epsilon=float("nan"))
    with pytest.raises((UsageError, PrivacyInputError)):
        PrivateConfig(delta=0.0)
    with pytest.raises(UsageError, match="4 to 24"):
        PrivateConfig(bits=3)
