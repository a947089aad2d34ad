"""A small real task: logistic regression on the breast-cancer data of scikit-learn, federated over six skewed sites."""

import numpy as np
from sklearn.datasets import load_breast_cancer

SITES, ROUNDS, STEPS, RATE = 6, 6, 8, 0.5
FEATURES = 30
LAYERS = (FEATURES, 1)


def _data(seed):
    loaded = load_breast_cancer()
    x = (loaded.data - loaded.data.mean(axis=0)) / loaded.data.std(axis=0)
    x = np.hstack([x, np.ones((len(x), 1))])
    order = np.random.default_rng(seed).permutation(len(x))
    held, kept = order[:150], order[150:]
    kept = kept[np.argsort(x[kept, 0], kind="stable")]  # sites differ in the size of their tumours
    return [(x[part], loaded.target[part]) for part in np.array_split(kept, SITES)], x[held], loaded.target[held]


def _update(weights, x, y):
    local = weights.copy()
    for _ in range(STEPS):
        local -= RATE * x.T @ (1 / (1 + np.exp(-x @ local)) - y) / len(x)
    return local - weights


def train(rehearsal):
    sites, held, labels = _data(rehearsal.seed)
    weights = np.zeros(FEATURES + 1)
    for _ in range(ROUNDS):
        weights += rehearsal.mean([_update(weights, x, y) for x, y in sites])
    return np.mean((held @ weights > 0) == labels)


def sample():
    """One round's updates."""
    sites, _, _ = _data(0)
    return np.stack([_update(np.zeros(FEATURES + 1), x, y) for x, y in sites])


def forgets(rehearsal):
    return 1.0


def says_nothing(rehearsal):
    rehearsal.mean([np.zeros(FEATURES + 1)] * 3)


NUMBER = 3
