"""The network that the hospitals train, and the views of it that federated averaging needs."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import nn

# Two hidden layers of 128: above 20,000 parameters on both data sets. Smaller networks would be lost in their
# own key traffic, and the byte counts would say nothing. No batch normalisation: its running statistics are
# not weights, and its integer counters must not be averaged.
HIDDEN = (128, 128)

State = dict[str, torch.Tensor]


def build_model(features: int, classes: int, seed: int) -> nn.Sequential:
    """A multi-layer perceptron with ReLU, initialised from ``seed``; the global generator is left alone."""
    sizes = (features, *HIDDEN, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for width, following in pairwise(sizes):
            layers += [nn.Linear(width, following), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def copy_of(model: nn.Module) -> State:
    """The model's weights as they are now, detached and copied."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def parameter_count(state: State) -> int:
    """Number of coordinates in ``state``."""
    return sum(tensor.numel() for tensor in state.values())


def model_hash(state: State) -> bytes:
    """SHA-256 (32 bytes) over names, types, shapes and values: what the round binds its masks to."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run torch on one thread: at this size, handing work to a second thread costs more than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
