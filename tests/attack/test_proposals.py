"""A coordinator that proposes less privacy than it says: a site refuses whatever an auditor would call broken.

The two compute apart from each other: the site from ``RoundConfig`` by its policy (rules P1 to P11), the auditor from
the task's text (rules T25, T27, T28). Every proposal that is off in one or two numbers goes to both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import quant
from protocols import LocalProtocolError, ParameterError
from secagg.audit.budget import check_budget
from secagg.audit.reading import Round, StudyRecords
from secagg.audit.verdicts import Finding, Verdict
from secagg.config import RoundConfig
from secagg.errors import UsageError
from secagg.privacy import (
    Budget,
    Fitted,
    Goal,
    Ledger,
    LocalPrivacyPolicy,
    PrivacyInputError,
    PrivacyRefused,
    Relation,
    RoundPrivacy,
    SitePrivacy,
    Unit,
    fit,
)
from secagg.transcript import records as r

CLIENTS, DIM, LEAST, RELEASES = 8, 24, 6, 4
IDS = tuple(range(1, CLIENTS + 1))
LAYOUT = quant.Layout.of(np.zeros(DIM))
REFUSED = (PrivacyInputError, PrivacyRefused, UsageError, quant.QuantError, ParameterError, LocalProtocolError)

Mutation = Callable[[dict[str, Any]], None]


def base(unit: Unit) -> Fitted:
    goal = Goal(epsilon=1.0, delta=1e-5, releases=RELEASES, least_survivors=LEAST)
    found = fit(goal, clients=CLIENTS, dim=DIM, clip=1.0, width=24, unit=unit, patients=20)
    assert isinstance(found, Fitted)
    return found


def times(name: str, factor: float) -> Mutation:
    def mutate(fields: dict[str, Any]) -> None:
        value = fields[name]
        fields[name] = value * Fraction(factor) if isinstance(value, Fraction) else type(value)(value * factor)

    mutate.__name__ = f"{name}*{factor:g}"
    return mutate


def to(name: str, value: Any) -> Mutation:
    def mutate(fields: dict[str, Any]) -> None:
        fields[name] = value

    mutate.__name__ = f"{name}={value}"
    return mutate


MUTATIONS: list[Mutation] = [
    *(times(name, factor) for name in ("target", "epsilon", "clip", "delta") for factor in (0.25, 0.99, 1.01, 4.0)),
    *(times(name, factor) for name in ("coarsening", "l2_squared") for factor in (0.5, 2.0, 4.0)),
    *(to("releases", count) for count in (1, RELEASES - 1, RELEASES + 1)),
    *(to("least_survivors", least) for least in (LEAST - 1, LEAST + 1, CLIENTS)),
    *(to("colluders", count) for count in (0, 2, LEAST)),
    *(to("beta", beta) for beta in (0.0, 1e-9, 1e-5, 0.5)),
    *(to("sampling_rate", rate) for rate in (0.1, 2.0)),
    *(to("relation", relation) for relation in Relation),
    to("law", "discrete gaussian"),
    to("removable", False),
]


def accepted(privacy: RoundPrivacy, quantization: dict[str, object], clip: float | None) -> RoundConfig | None:
    """What a site makes of a proposal: the round, or ``None`` if it refuses."""
    try:
        config = RoundConfig(IDS, LAYOUT, quantization, threshold=LEAST, privacy=privacy)
        assert config.privacy_terms is not None
        ledger = Ledger(":memory:")
        ledger.open_cohort(
            "c", Budget(epsilon=50.0, delta=1e-5, unit=privacy.unit, relation=privacy.neighbours)
        )  # a generous one: it is not the budget that must stop these
        SitePrivacy(ledger, LocalPrivacyPolicy(max_survivors=CLIENTS, clip=clip), "c").review(config.privacy_terms)
    except REFUSED:
        return None
    return config


def judged(config: RoundConfig, releases: int) -> list[Finding]:
    """What an auditor makes of ``releases`` rounds of it, all of which asked for inputs."""
    begin = r.Parameters(params=config.params, params_hash="0" * 64, task=config.task_text, model_hash="0" * 64)
    rounds = [
        Round(number, {r.Parameters: begin, r.Shared: r.Shared(self_mask_hashes=())}) for number in range(releases)
    ]
    study = r.Study(format=1, study="study", software="tests", roster=(), colluders=1)
    return [f for f in check_budget(StudyRecords(study, rounds), study) if f.verdict is Verdict.BROKEN]


def proposals(unit: Unit) -> Iterator[tuple[str, RoundPrivacy, dict[str, object]]]:
    found = base(unit)
    fields = {name: getattr(found.privacy, name) for name in found.privacy.__dataclass_fields__}
    for count in (0, 1, 2):
        for chosen in combinations(MUTATIONS, count):
            changed = dict(fields)
            for mutate in chosen:
                mutate(changed)
            try:
                privacy = RoundPrivacy(**changed)
            except REFUSED:
                continue
            name = " and ".join(mutate.__name__ for mutate in chosen)
            yield name, privacy, found.quantization
            if privacy.clip != found.privacy.clip:  # the codec goes along
                yield f"{name}, codec too", privacy, {**found.quantization, "clip": privacy.clip}


@pytest.mark.parametrize("unit", list(Unit))
def test_what_a_site_accepts_an_auditor_verifies(unit: Unit) -> None:
    taken = refused = 0
    for name, privacy, quantization in proposals(unit):
        config = accepted(privacy, quantization, None)
        if config is None:
            refused += 1
            continue
        taken += 1
        assert judged(config, privacy.releases) == [], name
    assert taken > 50
    assert refused > 300


def test_less_noise_fewer_releases_or_another_clip_is_refused_each_alone() -> None:
    found = base(Unit.PATIENT)
    assert accepted(found.privacy, found.quantization, 1.0) is not None
    bad: list[dict[str, Any]] = [
        {"target": found.privacy.target * Fraction(99, 100)},
        {"epsilon": 0.99},
        {"delta": 1e-6},
        {"delta": 1e-4},
        {"releases": RELEASES + 1},
        {"l2_squared": found.privacy.l2_squared * 2},
        {"least_survivors": CLIENTS},
        {"relation": Relation.REPLACE},
        {"beta": 1e-5},
        {"sampling_rate": 0.5},  # nothing in a round draws patients
    ]
    for change in bad:
        assert accepted(replace(found.privacy, **change), found.quantization, 1.0) is None, change
    wide = {**found.quantization, "clip": 2.0}
    doubled = replace(found.privacy, clip=2.0)
    assert accepted(doubled, wide, 1.0) is None
