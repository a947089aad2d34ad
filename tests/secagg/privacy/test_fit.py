"""From a promise and a field width to a round: what fits keeps the promise by the site's own sums, or says why not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import quant
from secagg.config import RoundConfig
from secagg.privacy import (
    Fitted,
    Goal,
    Infeasible,
    Law,
    PrivacyInputError,
    Relation,
    RoundPrivacy,
    Sampling,
    SitePrivacy,
    Unit,
    calibrate,
    fit,
)
from secagg.privacy.sensitivity import Sensitivity

GOAL = Goal(epsilon=1.0, delta=1e-5, releases=4, least_survivors=3, colluders=1)


def fitted(goal: Goal = GOAL, **settings: Any) -> Fitted | Infeasible:
    chosen: dict[str, Any] = {"clients": 5, "dim": 60, "clip": 1.0, "width": 16, "patients": 10} | settings
    return fit(goal, **chosen)


def config_of(found: Fitted, clients: int = 5, dim: int = 60) -> RoundConfig:
    return RoundConfig(
        tuple(range(1, clients + 1)),
        quant.Layout.of(np.zeros(dim)),
        found.quantization,
        threshold=found.privacy.least_survivors,
        privacy=found.privacy,
    )


@pytest.mark.parametrize("law", list(Law))
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dim": 1},
        {"dim": 1, "rotation": False},
        {"rotation": False, "patients": 1},
        {"clients": 3},
        {"clients": 40, "goal": replace(GOAL, least_survivors=27, colluders=3)},
        {"unit": Unit.SITE},
        {"unit": Unit.SITE, "relation": Relation.REPLACE},
        {"relation": Relation.REPLACE},
        {"removable": False},
        {"width": 13, "goal": replace(GOAL, epsilon=8.0)},
        {"width": 40, "goal": replace(GOAL, releases=100)},
        {"clip": 1e-6},
        {"clip": 1e6, "range": 3e5},
    ],
    ids=str,
)
def test_what_fits_passes_the_review_of_a_site(settings: dict[str, Any], law: Law) -> None:
    settings = dict(settings)
    goal = settings.pop("goal", GOAL)
    found = fitted(goal, law=law, **settings)
    assert isinstance(found, Fitted), found.reason
    config = config_of(found, settings.get("clients", 5), settings.get("dim", 60))
    assert config.lanes.width <= found.width
    assert found.claim.epsilon <= goal.epsilon
    terms = config.privacy_terms
    assert terms is not None
    review = SitePrivacy.rehearsal(terms).review(terms)
    assert review.claim.epsilon <= goal.epsilon
    assert review.claim.epsilon > 0.9 * goal.epsilon or found.sigma / found.step < 2.01  # no more noise than is of use


def test_sigma_comes_close_to_the_gaussian_mechanism_as_fields_grow() -> None:
    fine = Sensitivity(unit=Unit.PATIENT, relation=Relation.ADD_REMOVE, l2_squared=1 << 40, dim=60)
    best = calibrate(GOAL, fine, max_variance=2.0**70)
    assert not isinstance(best, Infeasible)
    ideal = best.sigma / 2**20
    sigmas = [fitted(width=width).sigma for width in (13, 14, 16, 18, 20)]  # type: ignore[union-attr]
    assert sigmas == sorted(sigmas, reverse=True)
    assert ideal < sigmas[-1] < 1.01 * ideal


def test_a_smaller_range_costs_no_privacy_and_less_noise() -> None:
    wide, narrow = fitted(width=13), fitted(width=13, range=0.5)
    assert isinstance(wide, Fitted)
    assert isinstance(narrow, Fitted)
    assert narrow.sigma < wide.sigma
    assert narrow.claim.epsilon <= 1.0


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"width": 2}, "cannot add up"),
        ({"width": 8}, "take wider fields"),
        ({"goal": replace(GOAL, epsilon=1e-4)}, "wider fields|more noise"),
        ({"goal": replace(GOAL, least_survivors=1)}, "survivors"),
        ({"beta": 1e-5}, "beta"),
    ],
    ids=str,
)
def test_infeasible_says_why(settings: dict[str, Any], reason: str) -> None:
    found = fitted(**settings)
    assert not found
    assert isinstance(found, Infeasible)
    assert any(word in found.reason for word in reason.split("|")), found.reason


@pytest.mark.parametrize(
    "settings",
    [
        {"clients": 2},
        {"patients": 0},
        {"width": 1},
        {"range": 0.0},
        {"range": float("nan")},
        {"clip": 0.0},
        {"clip": float("inf")},
        {"unit": "person"},
        {"law": "laplace"},
        {"levels": 2},
        {"relation": Relation.ZERO_OUT},
        {"unit": "site", "goal": replace(GOAL, sampling=Sampling(rate=0.1, independent=True, secret=True))},
    ],
    ids=str,
)
def test_numbers_that_make_no_round_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises((PrivacyInputError, quant.ConfigurationError, ValueError)):
        fitted(**settings)


def test_the_description_is_canonical_and_comes_back() -> None:
    found = fitted()
    assert isinstance(found, Fitted)
    privacy = found.privacy
    assert RoundPrivacy.from_config(json.loads(json.dumps(privacy.config()))) == privacy
    assert hash(replace(privacy, epsilon=1)) == hash(privacy)  # type: ignore[arg-type]
    task = json.loads(config_of(found).task_text)
    assert task["privacy"] == privacy.config()
    tasks = {config_of(found).task}
    for change in ({"epsilon": 1.5}, {"releases": 5}, {"beta": 1e-9}, {"removable": False}, {"delta": 1e-6}):
        tasks.add(config_of(replace(found, privacy=replace(privacy, **change))).task)  # type: ignore[arg-type]
    assert len(tasks) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"unit": "person"},
        {"relation": "zero out"},
        {"law": "laplace"},
        {"target": "1/0"},
        {"target": "nan"},
        {"target": 0},
        {"least_survivors": 1.5},
        {"least_survivors": 1},
        {"colluders": 0},
        {"epsilon": float("nan")},
        {"epsilon": 0},
        {"delta": 1},
        {"releases": True},
        {"clip": float("inf")},
        {"coarsening": 3},
        {"l2_squared": 0},
        {"beta": "x"},
        {"beta": 1.0},
        {"sampling_rate": 0},
        {"removable": 1},
        {"surprise": 1},
    ],
    ids=str,
)
def test_descriptions_of_no_private_round_are_refused(change: dict[str, Any]) -> None:
    found = fitted()
    assert isinstance(found, Fitted)
    with pytest.raises(PrivacyInputError):
        RoundPrivacy.from_config(found.privacy.config() | change)
