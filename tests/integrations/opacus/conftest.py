"""Small hospitals: a linear model, few rows, everything in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from torch.utils.data import DataLoader, TensorDataset  # noqa: E402  # only with the extra

from secagg.integrations.opacus import DistributedPrivacyEngine  # noqa: E402

FEATURES, CLASSES, ROWS = 6, 3, 12

SETTINGS: dict[str, Any] = {
    "target_epsilon": 8.0,
    "target_delta": 1e-5,
    "epochs": 2,
    "max_grad_norm": 1.0,
    "sample_rate": 1.0,
    "expected_batch_size": 36.0,
}


def rows_of(seed: int, rows: int = ROWS) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, FEATURES, generator=generator)
    return TensorDataset(x, torch.randint(0, CLASSES, (rows,), generator=generator))


def linear(seed: int = 0) -> torch.nn.Linear:
    model = torch.nn.Linear(FEATURES, CLASSES)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return model


def make(hospital: Any, model: Any, dataset: Any, **settings: Any) -> tuple[Any, Any, Any, DistributedPrivacyEngine]:
    engine = DistributedPrivacyEngine(hospital)
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.pop("lr", 0.5))
    loader = DataLoader(dataset, batch_size=4)
    made = engine.make_private_with_epsilon(
        module=model, optimizer=optimizer, data_loader=loader, **(SETTINGS | settings)
    )
    return (*made, engine)


def train(model: Any, optimizer: Any, loader: Any, epochs: int, after: Callable[[], None] = lambda: None) -> None:
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            after()
