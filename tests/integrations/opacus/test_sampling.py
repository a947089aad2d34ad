"""Patients are drawn whole, by coins that come up as often as they should and cannot be foreseen."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from secagg import UsageError
from secagg.integrations.opacus import PatientLoader, PatientSampler

KEY = bytes(range(32))


def sampler(rows: int = 60, **given) -> PatientSampler:
    patients = [f"patient {row // 3}" for row in range(rows)]
    settings = {"sample_rate": 0.3, "steps": 50, "poisson_sampling": True, "key": KEY} | given
    return PatientSampler(settings.pop("patients", patients), rows, **settings)


def test_patients_bring_all_of_their_rows():
    for rows in sampler():
        assert len(rows) % 3 == 0
        assert {row // 3 for row in rows} == {rows[place] // 3 for place in range(0, len(rows), 3)}


def test_coins_come_up_at_the_rate_and_independently():
    """40000 coins: the mean is within 0.015 of the rate but for a probability below 1e-9 (Hoeffding: 2e-8 * ...)."""
    drawn = sampler(rows=600, steps=200)
    took = np.zeros((200, 200))
    for step, rows in enumerate(drawn):
        took[step, [row // 3 for row in rows[::3]]] = 1
    assert abs(took.mean() - 0.3) < math.sqrt(math.log(2e9) / (2 * took.size))
    # Rows and columns vary as those of independent coins do; the key is fixed.
    for axis in (0, 1):
        assert took.sum(axis=axis).var() == pytest.approx(200 * 0.3 * 0.7, rel=0.4)
    again = list(sampler(rows=600, steps=200))
    assert again == list(sampler(rows=600, steps=200))
    assert again != list(sampler(rows=600, steps=200, key=bytes(32)))


def test_each_epoch_draws_anew():
    drawn = sampler(steps=4)
    assert list(drawn) != list(drawn)


def test_without_poisson_everybody_takes_part_once():
    drawn = sampler(sample_rate=0.25, steps=4, poisson_sampling=False)
    batches = list(drawn)
    assert sorted(row for rows in batches for row in rows) == list(range(60))
    assert [len(rows) for rows in batches] == [15] * 4
    assert list(drawn) != batches


def test_at_rate_one_everybody_takes_part():
    assert next(iter(sampler(sample_rate=1.0, steps=1))) == list(range(60))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_knows_whose_rows_it_gave(workers):
    dataset = TensorDataset(torch.arange(60), torch.arange(60) // 3)
    loader = PatientLoader(DataLoader(dataset, batch_size=7, num_workers=workers), sampler(sample_rate=0.05, steps=20))
    empty = 0
    for rows, patients in loader:
        assert loader.take().tolist() == patients.tolist()
        empty += len(rows) == 0
        with pytest.raises(UsageError, match="one batch"):
            loader.take()
    assert empty > 0
    assert len(loader) == 20


def test_refusals():
    with pytest.raises(UsageError, match="sample_rate"):
        sampler(sample_rate=0.0)
    with pytest.raises(UsageError, match="as many patients"):
        sampler(patients=["a", "b"])


@pytest.mark.parametrize("poisson_sampling", [True, False])
def test_rows_of_nobody_are_never_drawn(poisson_sampling):
    """A patient may have several of them, each with a clip of its own."""
    patients = [None, "a", math.nan, "b", "a", ""]
    drawn = sampler(rows=6, patients=patients, sample_rate=0.5, steps=40, poisson_sampling=poisson_sampling)
    assert drawn.patients == 2
    assert {row for rows in drawn for row in rows} == {1, 3, 4}
