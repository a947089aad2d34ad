"""``--only epsilon``, second part: one private training run with canaries, and what it gave away of them.

Ten hospitals train a softmax regression with unit patient through the real rounds (masks, grids, noise, budgets).
Among their patients are canaries: each has a gradient of its own, as long as the clip allows, in one coordinate of its
own (Dirac canaries: Nasr et al. 2023, "Tight auditing of differentially private machine learning"), and is there by the
toss of a coin. The auditor knows the data of all others, so it subtracts their gradients from every released sum, adds
up what is left in each canary's coordinate, and guesses the coins (``secagg.audit.one_run``).

The bound is loose for four reasons, none of which is a bug: one run, guesses that count alike, the noise of the
colluders that the claim does not count on, and the delta that the theorem pays for every canary.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

import quant
from protocols import Entropy, SystemEntropy
from secagg.aggregation import aggregate
from secagg.attack.epsilon import CONFIDENCE, DELTA, FALSE, SOUND, Weakness
from secagg.attack.outcomes import Outcome, Result
from secagg.attack.setting import REHEARSED, Setting
from secagg.audit.one_run import OneRunBound, one_run_bound
from secagg.config import RoundConfig
from secagg.errors import UsageError
from secagg.privacy import Fitted, Goal, PatientUpdates, RoundPrivacy, SitePrivacy, Unit, fit

FEATURES, CLASSES = 511, 8
DIM = (FEATURES + 1) * CLASSES
PATIENTS = 30
"""Of each site, canaries not counted."""

CLIP = 1.0
ROUNDS = 8
RATE = 0.5
WIDTH = 24

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One audited training run.

    Attributes:
        bounds: after each round.
        claims: epsilon claimed after each round.
        accuracy: of the trained model on its patients, to see that it was a training.
    """

    bounds: tuple[OneRunBound, ...]
    claims: tuple[float, ...]
    accuracy: float


def run_all(setting: Setting, claim: float = 1.0, weakness: Weakness = SOUND) -> Iterator[Result]:
    """Audit one training run, and compare.

    Args:
        setting: says how many sites there are and how many survive.
        claim: epsilon of the whole run, at delta 1e-5.
        weakness: to see the attack win.
    """
    run = audited_run(setting, claim, weakness)
    bound, name = run.bounds[-1], "one training run with canaries"
    by = (
        f"epsilon at least {bound.epsilon:.3f} of {claim:g}: {bound.right} of {bound.guesses} guesses right "
        f"({bound.canaries} canaries, {len(run.bounds)} rounds, accuracy {run.accuracy:.0%}), "
        f"confidence {bound.confidence:.0%}"
    )
    points = tuple((claimed, found.epsilon) for claimed, found in zip(run.claims, run.bounds, strict=True))
    if bound.refutes(claim):
        yield Result(12, name, Outcome.POSSIBLE, by, FALSE, points)
    else:
        yield Result(12, name, Outcome.STOPPED, f"{by}; such bounds are loose", "", points)


def audited_run(
    setting: Setting,
    claim: float,
    weakness: Weakness = SOUND,
    *,
    rounds: int | None = None,
    entropy: Entropy | None = None,
) -> Run:
    """Train once, with canaries, and bound epsilon after every round.

    Args:
        setting: says how many sites there are and how many survive.
        claim: epsilon of the whole run.
        weakness: of the build.
        rounds: of training, all sites in each; `ROUNDS` by default.
        entropy: for the coins; the operating system's by default.

    Raises:
        UsageError: the claim cannot be met.
    """
    rounds = rounds or ROUNDS
    source, setting = entropy or SystemEntropy(), _rehearsed(setting)
    coins = np.unpackbits(np.frombuffer(source.take(DIM // 8, "coins"), np.uint8)).astype(np.bool_)
    clients = tuple(range(1, setting.clients + 1))
    fitted, privacy, quantization = _mechanism(setting, claim, rounds, weakness)
    data, sites = _patients(clients), _budgets(setting, privacy, quantization)
    model, left = np.zeros(DIM), np.zeros(DIM)
    bounds, claims = [], []
    length = CLIP * weakness.clip
    for number in range(rounds):
        gradients = {client: clipped(gradients_of(model, *data[client]), length) for client in clients}
        done = aggregate(
            {c: PatientUpdates(np.vstack([gradients[c], _canaries(coins, c, clients, length)])) for c in clients},
            privacy=privacy,
            quantization=quantization,
            threshold=setting.least,
            reduce="sum",
            study="canaries",
            round_index=number,
            model_hash=hashlib.sha256(model.tobytes()).digest(),
            sites=sites,
        )
        total = np.asarray(done.value, np.float64)
        left += total - sum((gradients[client].sum(axis=0) for client in clients), np.zeros(DIM))
        model -= RATE * total / (len(clients) * PATIENTS)
        bounds.append(one_run_bound(left, coins, DELTA, CONFIDENCE))
        claims.append(fitted.calibration.cost.times(number + 1).epsilon(DELTA)[0])
    right = sum(float((_predicted(model, x) == y).sum()) for x, y in data.values())
    return Run(tuple(bounds), tuple(claims), right / (len(clients) * PATIENTS))


def _rehearsed(setting: Setting) -> Setting:
    """Return a cohort of at most twelve on the complete graph, survivors in proportion."""
    size = min(setting.clients, REHEARSED)
    least = max(3, -(-setting.least * size // setting.clients))
    return Setting(clients=size, threshold=least, colluders=1, adversary="curious")


def _mechanism(
    setting: Setting, claim: float, rounds: int, weakness: Weakness
) -> tuple[Fitted, RoundPrivacy, dict[str, object]]:
    """Calibrate for the claim, then break what is to be broken; sites are told so, or they would refuse."""
    goal = Goal(epsilon=claim, delta=DELTA, releases=rounds, least_survivors=setting.least)
    found = fit(
        goal, clients=setting.clients, dim=DIM, clip=CLIP, unit=Unit.PATIENT, width=WIDTH, patients=PATIENTS,
        removable=False,
    )  # fmt: skip
    if not isinstance(found, Fitted):
        raise UsageError(f"no noise gives epsilon {claim:g} over {rounds} rounds: {found.reason}")
    if weakness == SOUND:
        return found, found.privacy, found.quantization
    broken = replace(
        found.privacy,
        target=found.privacy.target * Fraction(weakness.sigma) ** 2,
        clip=CLIP * weakness.clip,
        l2_squared=math.floor(found.privacy.l2_squared * weakness.clip**2),
        epsilon=1e5,
    )
    return found, broken, {**found.quantization, "clip": CLIP * weakness.clip}


def _budgets(setting: Setting, privacy: RoundPrivacy, quantization: Mapping[str, object]) -> dict[int, SitePrivacy]:
    clients = tuple(range(1, setting.clients + 1))
    layout = quant.Layout.of(np.zeros(DIM))
    terms = RoundConfig(clients, layout, quantization, threshold=setting.least, privacy=privacy).privacy_terms
    if terms is None:
        raise TypeError("a private round has terms")
    return {client: SitePrivacy.rehearsal(terms) for client in clients}


def _canaries(coins: NDArray[np.bool_], client: int, clients: tuple[int, ...], length: float) -> Array:
    """Return the vectors of the canaries of one site that are there: shape (some, DIM)."""
    here = np.flatnonzero(coins & (np.arange(DIM) % len(clients) == clients.index(client)))
    vectors = np.zeros((here.size, DIM))
    vectors[np.arange(here.size), here] = length
    return vectors


# -- an ordinary model -----------------------------------------------------------------------------------------------


def _patients(clients: tuple[int, ...]) -> dict[int, tuple[Array, NDArray[np.int64]]]:
    """Make patients of eight kinds: (features and a one, shape (PATIENTS, FEATURES + 1); kinds) by site."""
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((CLASSES, FEATURES)) * 2 / math.sqrt(FEATURES)
    made = {}
    for client in clients:
        kinds = rng.integers(CLASSES, size=PATIENTS)
        features = centres[kinds] + rng.standard_normal((PATIENTS, FEATURES)) / math.sqrt(FEATURES)
        made[client] = (np.hstack([features, np.ones((PATIENTS, 1))]), kinds)
    return made


def _shares(model: Array, x: Array) -> Array:
    scores: Array = x @ model.reshape(FEATURES + 1, CLASSES)
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Array = scores / scores.sum(axis=1, keepdims=True)
    return result


def _predicted(model: Array, x: Array) -> NDArray[np.int64]:
    kinds: NDArray[np.int64] = np.argmax(_shares(model, x), axis=1)
    return kinds


def gradients_of(model: Array, x: Array, y: NDArray[np.int64]) -> Array:
    """Return every patient's gradient of the cross-entropy: shape (patients, DIM)."""
    errors = _shares(model, x) - np.eye(CLASSES)[y]
    gradients: Array = np.einsum("nf,nc->nfc", x, errors).reshape(len(x), DIM)
    return gradients


def clipped(gradients: Array, length: float) -> Array:
    """Shorten what is longer; what the auditor expects a site to send."""
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    shortened: Array = gradients * np.minimum(1.0, length / np.maximum(norms, 1e-300))
    return shortened
