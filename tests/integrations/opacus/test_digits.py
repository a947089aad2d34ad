"""Real data: hospitals that share their noise learn nearly what a trusted server would, and more than each alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from secagg.integrations.opacus import Consortium, DistributedPrivacyEngine, make_private_locally

EPSILON, DELTA, EPOCHS, RATE, LEARNING_RATE, HOSPITALS = 1.0, 1e-5, 8, 0.1, 2.0, 5


def digits() -> tuple[list[TensorDataset], TensorDataset, TensorDataset]:
    """Return the hospitals' rows, all of them together, and those held out."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = torch.tensor(x[order] / 16, dtype=torch.float32), torch.tensor(y[order])
    parts = np.array_split(np.arange(1437), HOSPITALS)
    own = [TensorDataset(x[part], y[part]) for part in parts]
    return own, TensorDataset(x[:1437], y[:1437]), TensorDataset(x[1437:], y[1437:])


def model() -> torch.nn.Linear:
    fresh = torch.nn.Linear(64, 10)
    with torch.no_grad():
        fresh.weight.zero_()
        fresh.bias.zero_()
    return fresh


def epoch(private, optimizer, loader) -> None:
    for x, y in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(private(x), y).backward()
        optimizer.step()


def accuracy(trained, held_out: TensorDataset) -> float:
    x, y = held_out.tensors
    with torch.no_grad():
        return float((trained(x).argmax(dim=1) == y).float().mean())


def locally(dataset: TensorDataset):
    fresh = model()
    made = make_private_locally(
        module=fresh,
        optimizer=torch.optim.SGD(fresh.parameters(), lr=LEARNING_RATE),
        data_loader=DataLoader(dataset, batch_size=round(RATE * len(dataset))),
        target_epsilon=EPSILON,
        target_delta=DELTA,
        epochs=EPOCHS,
        max_grad_norm=1.0,
    )
    return fresh, *made[:3]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Optimal order is the")
def test_accuracy_local_and_distributed(capsys):
    """Prints the table; 200 held-out rows more or less would not change who is ahead."""
    own, everything, held_out = digits()
    torch.manual_seed(0)  # Opacus's noise and batches, in the comparison only

    def train(hospital):
        fresh = model()
        engine = DistributedPrivacyEngine(hospital)
        made = engine.make_private_with_epsilon(
            module=fresh,
            optimizer=torch.optim.SGD(fresh.parameters(), lr=LEARNING_RATE),
            data_loader=DataLoader(own[int(hospital.name)]),
            target_epsilon=EPSILON,
            target_delta=DELTA,
            epochs=EPOCHS,
            max_grad_norm=1.0,
            sample_rate=RATE,
            expected_batch_size=RATE * 1437,
        )
        for _ in range(EPOCHS):
            epoch(*made)
        return accuracy(fresh, held_out), engine.get_epsilon(DELTA)

    results = Consortium([str(place) for place in range(HOSPITALS)]).run(train)
    distributed, epsilon = results["0"]
    central = locally(everything)
    for _ in range(EPOCHS):
        epoch(*central[1:])
    sites = [locally(dataset) for dataset in own]
    alone = [locally(dataset) for dataset in own]
    for _ in range(EPOCHS):
        for site in (*sites, *alone):
            epoch(*site[1:])
        mean = {name: sum(site[0].state_dict()[name] for site in sites) / HOSPITALS for name in ("weight", "bias")}
        for site in sites:
            site[0].load_state_dict(mean)
    averaged = accuracy(sites[0][0], held_out)
    single = float(np.mean([accuracy(site[0], held_out) for site in alone]))
    with capsys.disabled():
        print(
            f"\ndigits, {HOSPITALS} hospitals, epsilon {EPSILON:g}, delta {DELTA:g}, {EPOCHS} epochs: held-out accuracy"
        )
        print(f"  trusted server, Opacus          {accuracy(central[0], held_out):.3f}")
        print(f"  distributed, epsilon {epsilon:.3f}      {distributed:.3f}")
        print(f"  Opacus at each, models averaged {averaged:.3f}")
        print(f"  Opacus at each, alone           {single:.3f}")
    assert epsilon <= EPSILON
    assert distributed > averaged > single
