"""Sensitivities, by exhaustion where that is possible."""

import itertools
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import quant
from secagg.privacy import PrivacyInputError, Relation, Sensitivity, SkellamNoise, Unit, of_patient, of_site, release
from secagg.privacy.sensitivity import rounded

pytestmark = pytest.mark.fast


def test_a_site_is_bounded_by_its_codec():
    codec = quant.from_config({"levels": 4095, "range": 0.1, "clip": 1.0, "rounding": "conditional"}, 300)
    found = of_site(codec.facts)
    assert found.l2_squared == codec.facts.integer_l2_squared
    assert (found.unit, found.relation, found.failure) == (Unit.SITE, Relation.ZERO_OUT, 0.0)
    assert of_site(codec.facts, Relation.REPLACE).l2_squared == 4 * found.l2_squared


@pytest.mark.parametrize("levels", [5, 6])
def test_zeroing_out_a_site_by_exhaustion(levels):
    """All integer vectors a codec can give, against every encoding of zero."""
    codec = quant.from_config({"levels": levels, "range": 1.0, "clip": 0.6}, 3)
    limit, upper = codec.facts.integer_l2_squared, codec.facts.upper
    reachable = [
        q for q in itertools.product(range(levels), repeat=3) if sum((2 * one - upper) ** 2 for one in q) <= 4 * limit
    ]
    zeros = {one for one in range(levels) if abs(2 * one - upper) <= 1}
    worst = max(
        sum((a - b) ** 2 for a, b in zip(q, zero, strict=True))
        for q in reachable
        for zero in itertools.product(zeros, repeat=3)
    )
    assert worst <= of_site(codec.facts).l2_squared
    pairs = max(sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) for p in reachable for q in reachable)
    assert pairs <= of_site(codec.facts, Relation.REPLACE).l2_squared


def test_no_clip_no_sensitivity():
    facts = quant.from_config({"bits": 8, "range": 1.0, "clip": 1.0}, 4).facts
    with pytest.raises(PrivacyInputError, match="clip"):
        of_site(replace(facts, integer_l2_squared=None))
    with pytest.raises(PrivacyInputError, match="wrap"):
        of_site(replace(facts, wraps=True))


def test_coarse_rounding_of_neighbours_by_exhaustion():
    """Every site sum, neighbour and coin of a tiny grid: the same law of differences, inside the sure bound."""
    g, dim = 3, 2
    for difference in itertools.product(range(-4, 5), repeat=dim):
        fine = sum(one * one for one in difference)
        if not fine:
            continue
        sure, failure = rounded(fine, min(dim, fine), g, 0.0)
        assert failure == 0.0
        laws = []
        for total in itertools.product(range(-3, 4), repeat=dim):
            law = Counter()
            for coins in itertools.product(range(g), repeat=dim):
                moved = tuple((x + d + u) // g - (x + u) // g for x, d, u in zip(total, difference, coins, strict=True))
                law[moved] += 1
                assert sum(one * one for one in moved) <= sure
            laws.append(law)
        assert all(law == laws[0] for law in laws), "the difference must not depend on the site's sum"


@pytest.mark.parametrize("beta", [0.3, 0.05])
@pytest.mark.parametrize("difference", [(1, 1, 2, 3, 1, 1, 2, 2), (4, 4, 4, 4, 4, 4, 4, 4), (1, 0, 0, 7, 0, 2, 5, 1)])
def test_rounded_norm_fails_no_more_often_than_beta(difference, beta):
    g = 8
    fine = sum(one * one for one in difference)
    bound, _ = rounded(fine, min(len(difference), fine), g, beta)
    broken = Fraction(0)
    for up in itertools.product((0, 1), repeat=len(difference)):
        chance = math.prod(
            Fraction(d % g, g) if one else 1 - Fraction(d % g, g) for d, one in zip(difference, up, strict=True)
        )
        if sum((d // g + one) ** 2 for d, one in zip(difference, up, strict=True)) > bound:
            broken += chance
    assert broken <= beta


def test_patients():
    whole = of_patient(10_000, 50)
    assert (whole.l2_squared, whole.failure) == (10_000, 0.0)
    assert of_patient(10_000, 50, relation=Relation.REPLACE).l2_squared == 40_000
    coarse = of_patient(64 * 10_000, 50, coarsening=8, beta=1e-9)
    assert 10_000 < coarse.l2_squared < 10_000 * 1.1
    assert coarse.failure == 1e-9
    sure = of_patient(64 * 10_000, 50, coarsening=8, beta=0)
    assert sure.failure == 0
    assert sure.l2_squared == math.floor((100 + math.sqrt(50)) ** 2)
    # Three ones among a million zeros move three coordinates at most.
    assert of_patient(3, 10**6, coarsening=4).l2_squared <= 6


def test_norms_of_integers():
    one = Sensitivity(unit=Unit.PATIENT, relation=Relation.ADD_REMOVE, l2_squared=9, dim=10**6)
    assert one.l2 == pytest.approx(3)
    assert one.l1 == pytest.approx(9)
    assert one.linf == 3
    wide = Sensitivity(unit=Unit.PATIENT, relation=Relation.ADD_REMOVE, l2_squared=10**8, dim=4)
    assert wide.l1 == pytest.approx(20_000)
    generator = np.random.default_rng(5)
    for _ in range(200):
        vector = generator.integers(-3, 4, 6)
        square = int((vector**2).sum())
        if square:
            s = Sensitivity(unit=Unit.PATIENT, relation=Relation.ADD_REMOVE, l2_squared=square, dim=6)
            assert abs(vector).sum() <= s.l1
            assert abs(vector).max() <= s.linf


@pytest.mark.parametrize(("unit", "relation"), [(Unit.SITE, Relation.ADD_REMOVE), (Unit.PATIENT, Relation.ZERO_OUT)])
def test_relations_that_are_not_hidden(unit, relation):
    with pytest.raises(PrivacyInputError, match="take"):
        Sensitivity(unit=unit, relation=relation, l2_squared=1, dim=1)


@pytest.mark.parametrize("wrong", [{"l2_squared": 0}, {"dim": 0}, {"failure": 1.0}, {"failure": math.nan}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(PrivacyInputError):
        Sensitivity(**{"unit": Unit.PATIENT, "relation": Relation.ADD_REMOVE, "l2_squared": 1, "dim": 1, **wrong})


def test_every_result_names_unit_and_relation():
    from secagg.privacy import claim

    s = of_patient(100, 10)
    said = str(claim(release(SkellamNoise(1e4), s).times(3), s, 1e-5))
    assert "one patient" in said
    assert "add or remove" in said
    assert "3 releases" in said
