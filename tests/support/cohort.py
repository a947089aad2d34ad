"""Cohorts of ``secagg.attack.cohort`` whose clients draw from seeded entropy, so that tests replay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from secagg.attack import cohort as rehearsed
from secagg.attack.cohort import (
    ACTIVE,
    COMPLETE,
    CURIOUS,
    JOINT,
    MODEL,
    NOISY,
    OTHER_MODEL,
    SPARSE_ACTIVE,
    SPARSE_CURIOUS,
    VARIANTS,
    Cohort,
    Variant,
    Vectors,
    identity,
    random_vectors,
    roster,
    unit_vectors,
)
from tests.support.entropy import InsecureSeededEntropy

__all__ = [
    "ACTIVE",
    "COMPLETE",
    "CURIOUS",
    "JOINT",
    "MODEL",
    "NOISY",
    "OTHER_MODEL",
    "SPARSE_ACTIVE",
    "SPARSE_CURIOUS",
    "VARIANTS",
    "Cohort",
    "Variant",
    "Vectors",
    "identity",
    "make_cohort",
    "random_vectors",
    "roster",
    "unit_vectors",
]


def seeded(seed: object, client: int) -> InsecureSeededEntropy:
    return InsecureSeededEntropy("client", seed, client)


def make_cohort(variant: Variant, *args: Any, **told: Any) -> Cohort:
    """As ``secagg.attack.cohort.make_cohort``, with seeded entropy."""
    return replace(rehearsed.make_cohort(variant, *args, **told), source=seeded)
