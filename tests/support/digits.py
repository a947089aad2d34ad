"""A small CNN and the digits that it learns, the same for every stack."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 64), nn.ReLU(),
        nn.Linear(64, 10),
    )  # fmt: skip


def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, labels, and the order in which they are dealt: the first 1000 to sites, the others are held out."""
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(1))
    return torch.tensor(digits.images).float()[:, None] / 16, torch.tensor(digits.target), order


def accuracy(net: nn.Module) -> float:
    images, labels, order = data()
    held_out = order[1000:]
    return (net(images[held_out]).argmax(1) == labels[held_out]).float().mean().item()
