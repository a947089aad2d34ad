"""Softmax regression on gradients of single patients, in closed form: numpy float64, no automatic differentiation.

Of a patient with features x (a constant 1 is one of them), label y and predicted probabilities p the gradient of the
log loss by the weights W, shape (features, classes), is x (p - onehot(y))^T. It has rank one, so its Euclidean norm is
the product of two norms, and a sum of clipped gradients is one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Patients:
    """Labelled patients of one site, one row each.

    Attributes:
        x: features, float64 of shape (patients, features), the constant included.
        y: labels 0 .. classes - 1, int64 of shape (patients,).
    """

    x: Matrix
    y: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of patients."""
        return len(self.y)


def residuals(weights: Matrix, patients: Patients) -> Matrix:
    """Return p - onehot(y), float64 of shape (patients, classes)."""
    # Not a matrix product: its last digits depend on how many rows there are, so on others than the patient.
    logits = np.zeros((len(patients), weights.shape[1]))
    for column, row in zip(patients.x.T, weights, strict=True):
        logits += column[:, None] * row
    logits -= logits.max(axis=1, keepdims=True)
    found = np.exp(logits)
    found /= found.sum(axis=1, keepdims=True)
    found[np.arange(len(patients)), patients.y] -= 1
    return found


def gradients(weights: Matrix, patients: Patients) -> Matrix:
    """Return every patient's gradient as it is, float64 of shape (patients, features * classes)."""
    outer = patients.x[:, :, None] * residuals(weights, patients)[:, None, :]
    return outer.reshape(len(patients), weights.size)


def clipped_sum(weights: Matrix, patients: Patients, clip: float) -> Matrix:
    """Return the sum of all gradients, each scaled down to a Euclidean norm of at most ``clip``; shaped as weights."""
    wrong = residuals(weights, patients)
    norms = np.linalg.norm(wrong, axis=1) * np.linalg.norm(patients.x, axis=1)
    shrunk = np.minimum(1.0, clip / np.maximum(norms, np.finfo(np.float64).tiny))
    total: Matrix = patients.x.T @ (wrong * shrunk[:, None])
    return total


def accuracy(weights: Matrix, patients: Patients) -> float:
    """Return the share of patients, 0 .. 1, that are labelled rightly."""
    return float(((patients.x @ weights).argmax(axis=1) == patients.y).mean())
