"""The output law is the law: by exhaustion where that is possible, by statistics, and by a naive second sampler."""

import hashlib
import itertools
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from quant.errors import InputError
from quant.noise import DiscreteGaussian, Sampler, Skellam, TableLaw, draw, sampler_for
from quant.noise.sampler import BLOCK, MAX_TABLE_VARIANCE
from tests.quant.noise import independent
from tests.quant.noise.conftest import TINY, ScriptedStream, naive_draws, probabilities, stream

LAWS = [
    Skellam(Fraction(1, 100)),
    Skellam(1),
    Skellam(Fraction(17, 3)),
    Skellam(900),
    DiscreteGaussian(Fraction(1, 9)),
    DiscreteGaussian(1),
    DiscreteGaussian(100),
    TINY,
    TableLaw((1, 1)),
    TableLaw((7,), 4),
    TableLaw(tuple(range(1, 300)), -100),
    TableLaw((1, 0, 2**80), 2**40),
    TableLaw((2**199 - 1, 2**199 + 1)),  # boundaries so near the ends of intervals that they have to be sharpened
    TableLaw((2**199 + 1, 2**199 - 1)),
]
IDS = [repr(law)[:40] for law in LAWS]


def words64(*values):
    return b"".join(value.to_bytes(8, "little") for value in values)


@pytest.mark.parametrize("law", [Skellam(Fraction(1, 2)), DiscreteGaussian(2), TINY, TableLaw((1, 2), 5)], ids=repr)
def test_lazy_refinement_is_exact_by_exhaustion(law):
    """Read bit by bit, all streams of up to 14 bits: what is settled has each outcome's probability, up to the rest."""
    sampler = Sampler(law)
    settled, still_open = {}, [0]
    for bits in range(1, 15):
        longer = []
        for known in (2 * prefix + bit for prefix in still_open for bit in (0, 1)):
            index = sampler._settle(known, bits)
            if index is None:
                longer.append(known)
            else:
                value = law.value(index)
                settled[value] = settled.get(value, 0) + Fraction(1, 2**bits)
        still_open = longer
    rest = Fraction(len(still_open), 2**14)
    assert sum(settled.values()) + rest == 1
    assert rest < Fraction(1, 500)
    found = law.boundaries(128)
    edges = [*zip(found.low, found.high, strict=True)] + [(1 << 128, 1 << 128)] * found.complete
    below = (0, 0)
    for index, edge in enumerate(edges):
        least, most = Fraction(edge[0] - below[1], 2**128), Fraction(edge[1] - below[0], 2**128)
        mass = settled.get(law.value(index), 0)
        assert mass <= most
        assert least <= mass + rest
        below = edge
    assert set(settled) <= {law.value(index) for index in range(len(edges))}


@pytest.mark.parametrize("law", LAWS, ids=IDS)
def test_every_first_word(law):
    """All 65536 cells: a cell is settled if no boundary is inside, and then as slowly computed."""
    sampler = sampler_for(law)
    for cell in range(1 << 16):
        index = sampler._settle(cell, 16)
        fast = int(sampler._cells[cell])
        assert fast == (sampler._open_mark if index is None else law.value(index))


def outcomes_of_a_cell(sampler, cell):
    """(index of the outcome, how many of the 2^48 continuations of the cell give it), by bisection of real draws."""
    indexes = {sampler.law.value(index): index for index in range(200)}

    def index_of(word):
        return indexes[int(sampler.draw(1, ScriptedStream(cell.to_bytes(2, "little"), words64(word, 0, 0)))[0])]

    start, last, end = 0, index_of(2**48 - 1), 2**48
    while (index := index_of(start)) != last:
        low, high = start, end - 1  # index_of(low) == index < index_of(high)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if index_of(middle) == index else (low, middle)
        yield index, high - start
        start = high
    yield last, end - start


@pytest.mark.parametrize(
    "law", [Skellam(Fraction(1, 2)), Skellam(6), DiscreteGaussian(2), TINY, TableLaw((1, 2), 5)], ids=repr
)
def test_probability_of_each_outcome_over_all_64_bit_words(law):
    """Counted with real draws: what the first 16 and the next 48 bits give together is the law, up to 2^-62."""
    sampler = sampler_for(law)
    cells, counts = np.unique(sampler._cells, return_counts=True)
    indexes = {law.value(index): index for index in range(200)}
    mass = dict.fromkeys(range(200), 0)
    for value, count in zip(cells.tolist(), counts.tolist(), strict=True):
        if value != sampler._open_mark:
            mass[indexes[value]] += count << 48
    for cell in np.flatnonzero(sampler._cells == sampler._open_mark).tolist():
        for index, count in outcomes_of_a_cell(sampler, cell):
            mass[index] += count
    assert sum(mass.values()) == 2**64
    found = law.boundaries(128)
    edges = [0, *found.low, *([1 << 128] * found.complete)]
    for index, (below, above) in enumerate(itertools.pairwise(edges)):
        assert abs(mass[index] - Fraction(above - below, 2**64)) < 4


@pytest.mark.parametrize("law", LAWS, ids=IDS)
def test_every_boundary_from_both_sides(law):
    """Words one below, at and one above each boundary at 64 bits, in any cell: read on only if it is inside."""
    sampler, found = sampler_for(law), law.boundaries(640)
    edges = list(zip(found.low, found.high, strict=True))
    for number, edge in enumerate(edges[:: max(1, len(edges) // 60)]):
        at = edge[0] >> 640 - 64
        for known in {max(at - 1, 0), at, min(at + 1, 2**64 - 1)}:
            if sampler._settle(known >> 48, 16) is not None:
                continue
            inside = [(low, high) for low, high in edges if known << 576 < low and high < known + 1 << 576]
            script = [(known >> 48).to_bytes(2, "little"), words64(known & (1 << 48) - 1 | number << 48)]
            if not inside:
                value = law.value(sum(1 for _, high in edges if high <= known << 576))
            elif len(inside) == 1:  # 64 more bits, just above the boundary
                more = (inside[0][0] >> 512) % 2**64
                if more == 2**64 - 1:
                    continue
                script.append(words64(more + 1))
                value = law.value(sum(1 for _, high in edges if high <= (known << 64 | more + 1) << 512))
            else:
                continue
            source = ScriptedStream(*script)
            assert sampler.draw(1, source).tolist() == [value]
            assert source.left == 0


@pytest.mark.parametrize(("family", "variance"), [(Skellam, 2), (DiscreteGaussian, 2), (DiscreteGaussian, 10**4)])
def test_the_radius_grows_without_end(family, variance):
    """A uniform number 1 - 2^-200 (1 + 2^-20): beyond every table that is kept, and still the right outcome."""
    law = family(variance)
    top = 2**256 - 2**56 - 2**36
    words = [(top >> shift) % 2**64 for shift in (192, 128, 64, 0)]
    script = [(words[0] >> 48).to_bytes(2, "little"), words64(*words)]
    source = ScriptedStream(*script)
    value = int(sampler_for(law).draw(1, source)[0])
    cumulative = independent.skellam_cumulative if family is Skellam else independent.gaussian_cumulative
    scaled = [independent.scaled(edge, 256) for edge in independent.folded(cumulative(variance, abs(value) + 3))]
    assert value == law.value(sum(1 for edge in scaled if edge < top))
    assert abs(value) > np.abs(sampler_for(law)._values).max()
    assert source.left == 0


def test_a_value_beyond_the_small_type_of_the_table():
    """The table of this law holds 16-bit integers; an outcome further out must not be cut."""

    class Far(TableLaw):
        def value(self, index):
            return (5, 2**40)[index]

    sampler = Sampler(Far((2**80, 1)))
    assert sampler._cells.dtype == np.int16
    ones = (2**64 - 1,)
    source = ScriptedStream(b"\xff\xff\x00\x00", words64(*ones * 2))
    assert sampler.draw(2, source).tolist() == [2**40, 5]


@pytest.mark.parametrize("law", LAWS, ids=IDS)
def test_the_naive_sampler_reads_the_same_bytes_and_draws_the_same(law, monkeypatch):
    monkeypatch.setattr("quant.noise.sampler.BLOCK", 64)
    fast, slow = stream(5), stream(5)
    drawn = sampler_for(law).draw(300, fast)
    assert drawn.tolist() == naive_draws(law, 300, slow, 64)
    assert fast.taken == slow.taken


@pytest.mark.parametrize("law", [Skellam(10**4), DiscreteGaussian(10**6)], ids=repr)
def test_blocks_follow_each_other(law):
    """Two blocks are two draws; the type is int64."""
    whole, parts = stream(6), stream(6)
    drawn = draw(law, 2 * BLOCK + 5, whole)
    assert drawn.dtype == np.int64
    pieces = [draw(law, size, parts) for size in (BLOCK, BLOCK, 5)]
    assert np.array_equal(drawn, np.concatenate(pieces))


@pytest.mark.parametrize("law", [Skellam(9), Skellam(2 * MAX_TABLE_VARIANCE)], ids=repr)
def test_adding_is_drawing(law):
    total = np.arange(BLOCK + 3)
    sampler_for(law).add(total, stream(7))
    assert np.array_equal(total, np.arange(BLOCK + 3) + draw(law, BLOCK + 3, stream(7)))
    for wrong in (np.zeros(3), np.zeros(3, np.int32), np.zeros((3, 1), np.int64)):
        with pytest.raises(InputError, match="vector of int64"):
            sampler_for(law).add(wrong, stream(7))


def chi_square(law, drawn):
    """The p-value of the observed counts; outcomes expected fewer than 20 times are taken together, on each side."""
    expected = {value: p * drawn.size for value, p in probabilities(law).items()}
    common = sorted(value for value, e in expected.items() if e >= 20)
    low, high = common[0], common[-1]
    counts = np.bincount(np.clip(drawn, low - 1, high + 1) - (low - 1), minlength=high - low + 3)
    wanted = np.array([0.0, *(expected.get(value, 0.0) for value in range(low, high + 1)), 0.0])
    below = sum(e for value, e in expected.items() if value < low)
    wanted[0], wanted[-1] = below, max(drawn.size - wanted.sum() - below, 0)
    kept = wanted > 5
    assert counts[~kept].sum() <= 40
    observed, wanted = counts[kept], wanted[kept]
    statistic = ((observed - wanted) ** 2 / wanted).sum()
    return stats.chi2.sf(statistic, len(wanted) - 1)


SIGMAS = [Fraction(3, 10), 1, 3, 10, 100, 1000]


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("family", [Skellam, DiscreteGaussian])
def test_chi_square(family, sigma):
    law = family(sigma**2)
    assert chi_square(law, draw(law, 10**6, stream(int(100 * sigma)))) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("family", [Skellam, DiscreteGaussian])
def test_chi_square_of_ten_million(family, sigma):
    law = family(sigma**2)
    assert chi_square(law, draw(law, 10**7, stream(int(100 * sigma) + 7))) > 1e-4


def test_chi_square_sees_a_wrong_sigma():
    """One percent of variance is found at a million draws."""
    wrong = draw(DiscreteGaussian(Fraction(101, 100) * 100), 10**6, stream(1))
    assert chi_square(DiscreteGaussian(100), wrong) < 1e-4


def test_chi_square_of_tables():
    for law in (TINY, TableLaw(tuple(range(1, 300)), -100)):
        assert chi_square(law, draw(law, 10**6, stream(3))) > 1e-4


@pytest.mark.parametrize("law", [Skellam(Fraction(1, 100)), Skellam(10**6), DiscreteGaussian(10**6), Skellam(2**25)])
def test_mean_and_variance(law):
    count = 400_000
    drawn = draw(law, count, stream(9))
    variance = float(law.variance)
    fourth = 3 * variance**2 + (variance if isinstance(law, Skellam) else 0)
    assert abs(drawn.mean()) < 5 * np.sqrt(variance / count)
    assert abs((drawn.astype(float) ** 2).mean() - variance) < 5 * np.sqrt((fourth - variance**2) / count)


def test_large_skellams_are_sums_of_equal_ones():
    law = Skellam(3 * MAX_TABLE_VARIANCE - 5)
    drawn = draw(law, BLOCK + 9, stream(4))
    again, part = stream(4), Skellam(Fraction(law.variance, 3))
    first = sum(draw(part, BLOCK, again) for _ in range(3))
    rest = sum(draw(part, 9, again) for _ in range(3))
    assert np.array_equal(drawn, np.concatenate([first, rest]))


def test_neighbours_in_a_vector_are_independent():
    drawn = draw(Skellam(50), 10**6, stream(8)).astype(float)
    for lag in (1, 2, 3, 64):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 5e-3


@pytest.mark.parametrize("count", [-1, 1.5, "3", True])
def test_no_count(count):
    with pytest.raises(InputError, match="number of draws"):
        draw(TINY, count, stream(1))


def test_nothing_is_read_for_nothing():
    assert draw(TINY, 0, ScriptedStream()).shape == (0,)


def test_samplers_are_kept():
    assert sampler_for(Skellam(7)) is sampler_for(Skellam(7.0))


def test_a_law_that_encloses_nothing_is_refused():
    class Vague(TableLaw):
        def boundaries(self, bits):
            found = super().boundaries(bits)
            return type(found)(bits, [0] * len(found.low), [1 << bits] * len(found.high), complete=True)

    with pytest.raises(InputError, match="enclosure"):
        Sampler(Vague((1, 2, 3)))


VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{vector['law']}-{n}" for n, vector in enumerate(VECTORS)])
def test_vectors(vector):
    source = stream(0)
    source.__init__(bytes.fromhex(vector["key"]))
    parameters = {
        "skellam": lambda: Skellam(Fraction(vector["variance"])),
        "discrete gaussian": lambda: DiscreteGaussian(Fraction(vector["variance"])),
        "table": lambda: TableLaw(tuple(map(Fraction, vector["weights"])), vector["first"]),
    }
    drawn = draw(parameters[vector["law"]](), vector["count"], source)
    assert drawn[:24].tolist() == vector["draws"]
    assert hashlib.sha256(drawn.astype("<i8").tobytes()).hexdigest() == vector["sha256"]
    assert source.taken == vector["bytes_read"]


def test_vectors_cover_both_laws_over_blocks():
    kinds = {(vector["law"], vector["count"] > BLOCK) for vector in VECTORS}
    assert kinds >= set(itertools.product(["skellam", "discrete gaussian", "table"], [True]))
