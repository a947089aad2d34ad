"""DP-SGD across hospitals through real rounds: what is summed, what is spent, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer
from opacus.validators.errors import UnsupportedModuleError
from torch.utils.data import TensorDataset

from secagg import RoundRefused, UsageError
from secagg.integrations.opacus import Consortium, DistributedPrivacyEngine
from secagg.integrations.opacus.engine import fingerprint
from secagg.privacy import (
    Budget,
    Ledger,
    LocalPrivacyPolicy,
    PrivacyRefused,
    Relation,
    SitePrivacy,
    Unit,
)
from tests.integrations.opacus.conftest import CLASSES, FEATURES, ROWS, linear, make, rows_of, train

NAMES = ("north", "south", "west")
NEARLY_EXACT = {"target_epsilon": 1e5, "epochs": 1}


def seed_of(name: str) -> int:
    return NAMES.index(name)


def flat(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_step_is_the_step_of_opacus_on_the_pooled_rows():
    """With next to no noise: the same clipped sum, divided by the same expected batch."""

    def hospital(place):
        model = linear()
        made, optimizer, loader, engine = make(place, model, rows_of(seed_of(place.name)), **NEARLY_EXACT)
        train(made, optimizer, loader, 1)
        return flat(model), optimizer.noise_multiplier * engine.config.privacy.clip

    results = Consortium(NAMES).run(hospital)
    model = linear()
    wrapped = GradSampleModule(model)
    optimizer = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.5), noise_multiplier=0.0, max_grad_norm=1.0, expected_batch_size=36
    )
    x, y = pooled()
    torch.nn.functional.cross_entropy(wrapped(x), y).backward()
    optimizer.step()
    for weights, sigma in results.values():
        assert torch.equal(weights, results["north"][0])
        assert float((weights - flat(model)).abs().max()) < 0.5 / 36 * (20 * sigma + 1e-3)
    assert float((flat(linear()) - flat(model)).abs().max()) > 0.01


def pooled() -> tuple[torch.Tensor, torch.Tensor]:
    parts = [rows_of(seed).tensors for seed in range(3)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


CLIP = 1.2


def clipped_sum(divisor: float) -> torch.Tensor:
    """Sum of all patients' gradients, one after the other, clipped; patients are four rows each."""
    x, y = pooled()
    total = torch.zeros(FEATURES * CLASSES + CLASSES)
    for first in range(0, len(x), 4):
        gradient = torch.zeros_like(total)
        for row in range(first, first + 4):
            model = linear()
            torch.nn.functional.cross_entropy(model(x[row : row + 1]), y[row : row + 1]).backward()
            gradient += torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        gradient /= divisor
        total += gradient * min(1.0, CLIP / float(gradient.norm()))
    return total


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_patient_of_several_rows_is_clipped_once(reduction):
    patients = [row // 4 for row in range(ROWS)]  # 3 patients of 4 rows

    def hospital(place):
        model = linear()
        made, optimizer, loader, _ = make(
            place,
            model,
            rows_of(seed_of(place.name)),
            patients=patients,
            patient_reduction=reduction,
            max_grad_norm=CLIP,
            expected_batch_size=9,
            lr=1.0,
            **NEARLY_EXACT,
        )
        train(made, optimizer, loader, 1)
        return flat(model)

    found = Consortium(NAMES).run(hospital)["north"]
    totals = {"mean": clipped_sum(4), "sum": clipped_sum(1)}
    assert float((totals["mean"] - totals["sum"]).abs().max()) > 0.1
    total = totals[reduction]
    # The noise has a deviation of about 1e-4.
    np.testing.assert_allclose(found, flat(linear()) - total / 9, atol=2e-3)


def test_models_stay_equal_and_epsilon_is_what_was_promised():
    budgets = {name: budget(8.0) for name in NAMES}

    def hospital(place):
        model = linear()
        made, optimizer, loader, engine = make(
            place, model, rows_of(seed_of(place.name)), sample_rate=0.5, epochs=3, expected_batch_size=18
        )
        epsilons = []
        train(made, optimizer, loader, 3, lambda: epsilons.append(engine.get_epsilon(1e-5)))
        return flat(model), epsilons

    results = Consortium(NAMES, privacy=budgets).run(hospital)
    weights, epsilons = results["north"]
    assert all(torch.equal(weights, other) for other, _ in results.values())
    assert len(epsilons) == 6
    assert epsilons == sorted(epsilons)
    assert 7.9 < epsilons[-1] <= 8.0
    for site in budgets.values():  # what the sites charged is what the accountant reports
        spent = site.ledger.spent("rows")
        assert spent.releases == 6
        assert spent.epsilon(1e-5)[0] == pytest.approx(epsilons[-1], rel=1e-7)


def budget(epsilon: float) -> SitePrivacy:
    ledger = Ledger(":memory:")
    ledger.open_cohort("rows", Budget(epsilon=epsilon, delta=1e-5, unit=Unit.PATIENT, relation=Relation.ADD_REMOVE))
    return SitePrivacy(ledger, LocalPrivacyPolicy(max_survivors=3, clip=1.0, sampling_rate=0.5), "rows")


def test_the_ledger_stops_training_past_the_promise():
    steps = []

    def hospital(place):
        model = linear()
        made, optimizer, loader, _ = make(place, model, rows_of(seed_of(place.name)), epochs=2)
        train(made, optimizer, loader, 3, lambda: steps.append(place.name))

    with pytest.raises(PrivacyRefused, match="P7"):
        Consortium(NAMES).run(hospital)
    assert len(steps) == 2 * len(NAMES)


def test_noise_multiplier_is_kept():
    def hospital(place):
        model = linear()
        engine = DistributedPrivacyEngine(place, accountant="rdp")
        _, optimizer, _ = engine.make_private(
            module=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            data_loader=torch.utils.data.DataLoader(rows_of(0)),
            noise_multiplier=1.5,
            max_grad_norm=0.7,
            sample_rate=0.25,
            expected_batch_size=9,
            epochs=2,
            target_delta=1e-5,
        )
        return optimizer.noise_multiplier, optimizer.dominating_multiplier, engine.config.privacy.releases

    for noise, dominating, releases in Consortium(NAMES).run(hospital).values():
        assert 1.5 <= dominating <= 1.5 * (1 + 1e-3)
        assert dominating <= noise <= 1.5 * 1.02  # what rounding and the failure probability cost
        assert releases == 8


def test_noise_in_a_step_is_what_is_stated():
    """Nobody has a gradient: what comes back is the noise of all three, twice the two honest ones' and a half."""

    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(1000, 2, bias=False)
            torch.nn.init.zeros_(self.inner.weight)

        def forward(self, x):
            return self.inner(x) * 0.0

    def hospital(place):
        model = Flat()
        dataset = TensorDataset(torch.ones(4, 1000), torch.zeros(4, dtype=torch.long))
        made, optimizer, loader, _engine = make(place, model, dataset, epochs=1, lr=1.0, expected_batch_size=1)
        before = flat(model)
        train(made, optimizer, loader, 1)
        return flat(model) - before, optimizer.noise_multiplier

    results = Consortium(NAMES, least_survivors=3).run(hospital)
    change, noise_multiplier = results["north"]
    sums = change.numpy()
    # All three survive, one is assumed to collude: the total is 3 / 2 of the honest variance. 2000 draws; the mean
    # square is off by more than 20 % with a probability below 1e-9 (chi-square).
    assert np.mean(sums**2) == pytest.approx(noise_multiplier**2 * 1.5, rel=0.2)
    assert all(torch.equal(other, change) for other, _ in results.values())


@pytest.mark.parametrize("phase", ["masked-input", "unmasking"])
def test_a_hospital_that_drops_out_of_a_step_goes_on_with_the_others(phase):
    def hospital(place):
        model = linear()
        made, optimizer, loader, engine = make(place, model, rows_of(0), epochs=2)
        train(made, optimizer, loader, 2)
        return flat(model), engine.get_epsilon(1e-5)

    names = (*NAMES, "east")
    results = Consortium(names, least_survivors=3, dropouts={0: {"south": phase}}).run(hospital)
    assert all(torch.equal(results["north"][0], weights) for weights, _ in results.values())
    with pytest.raises(RoundRefused):
        Consortium(names, least_survivors=3, dropouts={1: dict.fromkeys(("south", "west"), phase)}).run(hospital)


def test_empty_batches_are_steps_too():
    empty = []

    def hospital(place):
        model = linear()
        made, optimizer, loader, _ = make(
            place, model, rows_of(seed_of(place.name), 2), sample_rate=0.1, epochs=1, expected_batch_size=0.6
        )
        for x, y in loader:
            empty.append(len(x) == 0)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(made(x), y).backward()
            optimizer.step()
        return flat(model)

    results = Consortium(NAMES).run(hospital)
    assert any(empty)  # of 30 batches none is empty with a probability of 0.19^30
    assert all(torch.isfinite(weights).all() for weights in results.values())


def test_rows_that_are_no_numbers_count_as_zero():
    def hospital(place):
        model = linear()
        dataset = rows_of(seed_of(place.name))
        if place.name == "south":
            dataset.tensors[0][3] = math.nan
            dataset.tensors[0][4] = math.inf
        made, optimizer, loader, _ = make(place, model, dataset, epochs=1)
        train(made, optimizer, loader, 1)
        return flat(model)

    results = Consortium(NAMES).run(hospital)
    assert all(torch.isfinite(weights).all() for weights in results.values())


def test_hospitals_that_differ_get_no_sum():
    def other_settings(place):
        model = linear()
        made, optimizer, loader, _ = make(place, model, rows_of(0), max_grad_norm=1.0 + (place.name == "west"))
        train(made, optimizer, loader, 1)

    with pytest.raises(UsageError, match="different settings"):
        Consortium(NAMES).run(other_settings)

    def other_weights(place):
        model = linear(seed=int(place.name == "west"))
        made, optimizer, loader, _ = make(place, model, rows_of(0))
        train(made, optimizer, loader, 1)

    with pytest.raises(UsageError, match="different weights"):
        Consortium(NAMES).run(other_weights)


def test_a_hospital_that_fails_ends_the_training_of_all():
    def hospital(place):
        model = linear()
        made, optimizer, loader, _ = make(place, model, rows_of(0))
        if place.name == "south":
            raise ValueError("no such file")
        train(made, optimizer, loader, 1)

    with pytest.raises(ValueError, match="no such file"):
        Consortium(NAMES).run(hospital)


def test_layers_that_mix_rows_are_refused_by_opacus():
    model = torch.nn.Sequential(torch.nn.Linear(FEATURES, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, CLASSES))
    hospital = Consortium(NAMES).run(lambda place: place)["north"]
    with pytest.raises(UnsupportedModuleError, match="BatchNorm"):
        make(hospital, model, rows_of(0))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"sample_rate": 0.0}, "sample_rate"),
        ({"expected_batch_size": 0}, "expected_batch_size"),
        ({"epochs": 0}, "epoch"),
        ({"patient_reduction": "max"}, "patient_reduction"),
        ({"patients": ["a"]}, "as many patients"),
        ({"target_epsilon": 1e-9}, "cannot be private"),
    ],
)
def test_refusals(settings, word):
    hospital = Consortium(NAMES).run(lambda place: place)["north"]
    with pytest.raises(UsageError, match=word):
        make(hospital, linear(), rows_of(0), **settings)


def test_parameters_of_another_module_are_refused():
    hospital = Consortium(NAMES).run(lambda place: place)["north"]
    engine = DistributedPrivacyEngine(hospital)
    with pytest.raises(UsageError, match="not the module's"):
        engine.make_private(
            module=linear(),
            optimizer=torch.optim.SGD(linear().parameters(), lr=0.1),
            data_loader=torch.utils.data.DataLoader(rows_of(0)),
            noise_multiplier=1.0,
            max_grad_norm=1.0,
            sample_rate=1.0,
            expected_batch_size=9,
            epochs=1,
            target_delta=1e-5,
        )


def test_gradients_are_sent_once():
    def hospital(place):
        model = linear()
        made, optimizer, loader, _ = make(place, model, rows_of(0))
        for x, y in loader:
            torch.nn.functional.cross_entropy(made(x), y).backward()
            optimizer.step()
            optimizer.step()

    with pytest.raises(ValueError, match="zero_grad"):
        Consortium(NAMES).run(hospital)

    def part_of_a_batch(place):
        model = linear()
        made, optimizer, loader, _ = make(place, model, rows_of(0))
        for x, y in loader:
            torch.nn.functional.cross_entropy(made(x[:2]), y[:2]).backward()
            optimizer.step()

    with pytest.raises(UsageError, match="one whole batch"):
        Consortium(NAMES).run(part_of_a_batch)


def test_the_fingerprint_is_of_every_bit():
    model = linear()
    before = fingerprint(list(model.parameters()))
    assert fingerprint(list(linear().parameters())) == before
    with torch.no_grad():
        model.bias[0] = torch.nextafter(model.bias[0], torch.tensor(9.0))
    assert fingerprint(list(model.parameters())) != before
