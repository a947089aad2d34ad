"""Gradient inversion: what the sum of real gradients of a linear layer tells of single examples.

A linear layer with bias behind ReLU gives examples away: for a neuron that one example alone activates, the gradient of
its weights is that example times the gradient of its bias, so the quotient of both *is* the example (Phong et al. 2018;
Boenisch et al. 2023; "Robbing the Fed", Fowl et al. 2022). A server that may choose the model sets the biases as cut
points of one statistic of the examples, so that the difference of two neighbouring neurons holds those in between, and
it works through the sum of all sites. It needs PyTorch, for the gradients are computed by it and not made up.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

import quant
from protocols.primitives.prg import AesCtrStream
from protocols.suites import CLASSICAL
from secagg.attack.outcomes import Outcome, Result
from secagg.attack.setting import Setting

FEATURES, NEURONS = 64, 256
FOUND = 0.98
"""Likeness (cosine) from which an example counts as found."""

CURVE_BITS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32)

Array = NDArray[np.float64]


def run_all(setting: Setting) -> Iterator[Result]:
    """Attack the sum of real gradients, under this configuration and over all widths of the grid."""
    names = ((10, "linear-layer leakage: a model built to tell"), (11, "samples from sums of a dense layer"))
    if find_spec("torch") is None:
        for number, name in names:
            yield Result(number, name, Outcome.NOT_APPLICABLE, "not run: it needs PyTorch (the torch extra)")
        return
    examples, gradients = real_gradients(setting.least, setting.batch, trap=True)
    if setting.model_pinned:
        yield Result(10, names[0][1], Outcome.STOPPED, "sites train only a model that they looked at")
    else:
        yield _judge(10, names[0][1], setting, examples, gradients)
    honest = real_gradients(setting.least, setting.batch, trap=False)
    yield _judge(11, names[1][1], setting, *honest)
    curve = tuple((float(bits), found(examples, released(gradients, setting, bits=bits))) for bits in CURVE_BITS)
    at = ", ".join(f"{bits:g}: {share:.0%}" for bits, share in curve if bits in (1, 4, 8, 16, 32))
    change = "coarse grids do not protect: pin the model, or add noise"
    best = max(share for _, share in curve)
    outcome = Outcome.POSSIBLE if best > 0 else Outcome.STOPPED
    name = "gradient inversion over the bits of the grid"
    yield Result(0, name, outcome, f"examples found at bits {at}", change if best > 0 else "", curve)


def _judge(number: int, name: str, setting: Setting, examples: Array, gradients: list[Array]) -> Result:
    share = found(examples, released(gradients, setting))
    if share == 0:
        return Result(number, name, Outcome.STOPPED, f"none of {len(examples)} examples was found in the sum")
    change = "model_pinned = true (sites look at the model before they train it), and a noise_multiplier"
    return Result(number, name, Outcome.POSSIBLE, f"{share:.0%} of {len(examples)} examples read off the sum", change)


def real_gradients(sites: int, batch: int, *, trap: bool) -> tuple[Array, list[Array]]:
    """Train one step of a real layer at every site.

    Args:
        sites: how many are in the sum.
        batch: examples of each.
        trap: whether the server chose weights and biases to tell.

    Returns:
        (examples of all sites, float64 of shape (sites * batch, FEATURES); one gradient a site, float64 of shape
        (NEURONS * (FEATURES + 1),): weights by neuron, then biases).
    """
    import torch

    rng = np.random.default_rng(20)
    examples = rng.standard_normal((sites * batch, FEATURES))
    layer: Any = torch.nn.Linear(FEATURES, NEURONS, dtype=torch.float64)
    with torch.no_grad():
        if trap:
            # All neurons measure the mean of an example; the biases cut its normal law into equally likely bins.
            cuts = np.quantile(rng.standard_normal(200_000) / np.sqrt(FEATURES), (np.arange(NEURONS) + 0.5) / NEURONS)
            layer.weight.fill_(1 / FEATURES)
            layer.bias.copy_(torch.from_numpy(-cuts))
        else:
            layer.weight.copy_(torch.from_numpy(rng.standard_normal((NEURONS, FEATURES)) / np.sqrt(FEATURES)))
            layer.bias.zero_()
    gradients = []
    for site in range(sites):
        layer.zero_grad()
        data = torch.from_numpy(examples[site * batch : (site + 1) * batch])
        loss: Any = torch.relu(layer(data)).sum()
        loss.backward()
        gradients.append(np.concatenate([layer.weight.grad.numpy().ravel(), layer.bias.grad.numpy().ravel()]).copy())
    return examples, gradients


def released(gradients: list[Array], setting: Setting, bits: int | None = None) -> Array:
    """Give the sum as it leaves the round: quantized on the configuration's grid (or on ``bits``), with its noise."""
    dim, rng = gradients[0].size, np.random.default_rng()
    largest = max(float(np.abs(gradient).max()) for gradient in gradients)
    settings: dict[str, object] = {"range": largest, "rounding": "stochastic"}
    known = setting.quantization.get("bits")
    settings["bits"] = bits if bits is not None else known if isinstance(known, int) else 16
    codec = quant.from_config(settings, dim)
    stream = AesCtrStream(CLASSICAL.hash("rehearsal", rng.bytes(32)))
    total = sum((codec.encode(gradient, stream) for gradient in gradients), np.zeros(dim, dtype=np.int64))
    clip = max(float(np.linalg.norm(gradient)) for gradient in gradients)
    noise: Array = rng.standard_normal(dim) * setting.noise_multiplier * clip
    return codec.decode(total, len(gradients)) + noise


def found(examples: Array, total: Array) -> float:
    """Read examples off a sum of gradients and return the share of all examples that was found.

    Every neuron alone, and every difference of two neighbouring neurons, is a candidate: weights over bias.
    """
    weights, biases = total[: NEURONS * FEATURES].reshape(NEURONS, FEATURES), total[NEURONS * FEATURES :]
    weights = np.vstack([weights, np.diff(weights, axis=0)])
    biases = np.concatenate([biases, np.diff(biases)])
    usable = np.abs(biases) > 1e-9
    candidates = weights[usable] / biases[usable, None]
    lengths = np.linalg.norm(candidates, axis=1)
    candidates = candidates[lengths > 0] / lengths[lengths > 0, None]
    directions = examples / np.linalg.norm(examples, axis=1, keepdims=True)
    if not len(candidates):
        return 0.0
    return float((np.abs(directions @ candidates.T).max(axis=1) > FOUND).mean())
