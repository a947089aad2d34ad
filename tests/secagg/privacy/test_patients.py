"""Unit patient by exhaustion: on tiny grids, every patient, every neighbour, all coins, exact laws of outputs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

import quant
from secagg.privacy import PatientUpdates, PrivacyInputError, SkellamNoise, of_patient, release
from secagg.privacy.fit import _fine
from secagg.privacy.patients import PatientGrid, patient_grid
from tests.quant.conftest import InsecurePublic

VARIANCE = 3.0
REACH = 40
"""Beyond it lies less than 1e-15 of Skellam(3)."""


class Coins:
    """Replays given coins, one 64-bit word each."""

    def __init__(self, coins: tuple[int, ...]) -> None:
        self._raw = np.array(coins, "<u8").view(np.uint8)

    def fill(self, out: NDArray[np.uint8]) -> None:
        out[:] = self._raw


def tiny(dim: int, bound: int, coarsening: int, half: int, rows: int = 1) -> PatientGrid:
    return PatientGrid(
        dim=dim,
        encoded_dim=dim,
        rows=rows,
        clip=1.0,
        fine=1.0,
        l2_squared=bound,
        coarsening=coarsening,
        half=half,
    )


def ball(dim: int, bound: int) -> list[tuple[int, ...]]:
    side = range(-int(bound**0.5), int(bound**0.5) + 1)
    return [point for point in product(side, repeat=dim) if 0 < sum(x * x for x in point) <= bound]


def outputs(grid: PatientGrid, total: tuple[int, ...]) -> Iterator[NDArray[np.int64]]:
    """The released integers, around zero, for all coins in a fixed order."""
    public = InsecurePublic(b"signs")
    for coins in product(range(grid.coarsening), repeat=grid.encoded_dim):
        yield grid.release(np.array(total, np.int64), Coins(coins), public) - grid.half


CASES = [
    pytest.param(tiny(1, 9, 4, 2), 12, id="one coordinate"),
    pytest.param(tiny(1, 9, 1, 100), 12, id="no coarse rounding"),
    pytest.param(tiny(2, 5, 2, 2), 4, id="two coordinates"),
    pytest.param(tiny(2, 4, 4, 1), 4, id="two coordinates, saturated at one step"),
    pytest.param(tiny(2, 4, 4, 50), 4, id="two coordinates, never saturated"),
    pytest.param(tiny(2, 4, 4, 2, rows=2), 4, id="rotated"),
]


@pytest.mark.parametrize(("grid", "far"), CASES)
def test_no_neighbour_moves_the_released_integers_further_than_claimed(grid: PatientGrid, far: int) -> None:
    """For every sum X, every patient D and all coins: the sure bound always, the likely one but for beta."""
    fine = grid.l2_squared * grid.rows
    sure = of_patient(fine, grid.encoded_dim, coarsening=grid.coarsening, beta=0).l2_squared
    likely = {beta: of_patient(fine, grid.encoded_dim, coarsening=grid.coarsening, beta=beta) for beta in (0.3, 0.05)}
    for total in product(range(-far, far + 1), repeat=grid.dim):
        before = list(outputs(grid, total))
        for patient in ball(grid.dim, grid.l2_squared):
            after = outputs(grid, tuple(map(sum, zip(total, patient, strict=True))))
            moved = np.array([int(((b - a) ** 2).sum()) for a, b in zip(before, after, strict=True)])
            assert moved.max() <= sure
            for beta, bound in likely.items():
                assert np.mean(moved > bound.l2_squared) <= (beta if bound.failure else 0)


def test_rounding_is_unbiased_over_its_coins() -> None:
    for grid in (tiny(1, 9, 4, 99), tiny(2, 4, 4, 99), tiny(2, 4, 4, 99, rows=2)):
        for total in product(range(-5, 6), repeat=grid.dim):
            exact = grid.rotate(np.array(total, np.int64), InsecurePublic(b"signs")) / grid.coarsening
            assert np.array_equal(np.mean(list(outputs(grid, total)), axis=0), exact)


@pytest.mark.parametrize(("grid", "far"), CASES)
def test_exact_hockey_stick_divergences_stay_below_the_claim(grid: PatientGrid, far: int) -> None:
    noise = skellam(VARIANCE)
    laws = {}
    for total in product(range(-far, far + 1), repeat=grid.dim):
        laws[total] = law_of(grid, total, noise)
    fine = grid.l2_squared * grid.rows
    tightest = 0.0
    for beta in (0.0, 0.05):
        sensitivity = of_patient(fine, grid.encoded_dim, coarsening=grid.coarsening, beta=beta)
        cost = release(SkellamNoise(VARIANCE), sensitivity)
        for delta in (0.4, 0.2, 0.1):
            epsilon, _ = cost.epsilon(delta)
            for total, patient in product(laws, ball(grid.dim, grid.l2_squared)):
                other = tuple(map(sum, zip(total, patient, strict=True)))
                if other not in laws:
                    continue
                true = np.maximum(laws[total] - np.exp(epsilon) * laws[other], 0).sum()
                assert true <= delta * (1 + 1e-9)
                tightest = max(tightest, true / delta)
    assert tightest > 0.02  # the claim is about these laws, not about nothing


def law_of(grid: PatientGrid, total: tuple[int, ...], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """The exact law of what is released, noise included: probabilities on a box of integers."""
    side = 2 * (min(grid.half, 12 if grid.dim == 1 else 6) + REACH) + 1
    reach = side // 2
    clean = np.zeros((side,) * grid.encoded_dim)
    every = list(outputs(grid, total))
    for out in every:
        clean[tuple(out + reach)] += 1 / len(every)
    law = clean
    for axis in range(grid.encoded_dim):
        law = np.apply_along_axis(np.convolve, axis, law, noise, "same")
    return law


def skellam(variance: float) -> NDArray[np.float64]:
    """Probabilities of Skellam on -REACH .. REACH, by convolving two Poisson laws."""
    half, count = variance / 2, 2 * REACH + 1
    poisson = np.exp(-half) * np.cumprod(np.concatenate([[1.0], half / np.arange(1, count)]))
    return np.convolve(poisson, poisson[::-1])[count - 1 - REACH : count + REACH]


# --- from floats to the fine grid --------------------------------------------------------------------


def real(dim: int = 5, clip: float = 0.7, rotation: bool = False) -> PatientGrid:
    keys = {"levels": 201, "range": 3.0, "clip": clip} | ({"rotation": True} if rotation else {})
    codec = quant.from_config(keys, dim)
    coarsening, bound = _fine(codec, clip)
    return patient_grid(codec, clip=clip, l2_squared=bound, coarsening=coarsening)


NASTY = [0.0, -0.0, 5e-324, 1e-300, 1e-9, 0.1, 0.7, 1.0, 1e9, 1.7e308, -1.7e308, np.inf, -np.inf, np.nan]


def test_integers_keep_the_norm_whatever_the_floats_and_never_raise() -> None:
    grid = real(dim=2)
    rows = np.array(list(product(NASTY, repeat=2)))
    integers = grid.integers(rows)
    assert int((integers.astype(object) ** 2).sum(axis=1).max()) <= grid.l2_squared
    broken = ~np.isfinite(rows).all(axis=1)
    assert not integers[broken].any()
    huge = np.abs(rows).max(axis=1) >= 1e9
    norms = np.sqrt((integers[huge & ~broken].astype(np.float64) ** 2).sum(axis=1)) * grid.fine
    assert np.all(norms > 0.99 * grid.clip)


def test_small_vectors_are_kept_and_large_ones_clipped(rng: np.random.Generator) -> None:
    grid = real(dim=50, clip=2.0)
    rows = rng.normal(0, 0.1, (40, 50))
    assert np.abs(grid.integers(rows) * grid.fine - rows).max() <= grid.fine * 0.5001
    clipped = grid.integers(1000 * rows) * grid.fine
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.abs(clipped - 2.0 * unit).max() < 1e-4


def test_a_norm_beyond_the_bound_counts_as_zero_and_is_no_error() -> None:
    """The check needs nothing of the clip: with a bound below what the clip gives, patients vanish one by one."""
    grid = tiny(2, 2, 1, 100)
    wide = PatientGrid(**{name: getattr(grid, name) for name in grid.__slots__} | {"clip": 100.0})
    rows = np.array([[1.0, 1.0], [2.0, 0.0], [1e6, 1e6], [0.0, -1.0]])
    assert wide.integers(rows).tolist() == [[1, 1], [0, 0], [0, 0], [0, -1]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e308])
def test_one_patient_moves_the_sum_by_the_bound_at_most(rng: np.random.Generator, bad: float) -> None:
    grid = real()
    rows = rng.normal(0, 3.0, (30, 5))
    rows[4] *= 1e6
    rows[5, 2] = bad
    patients = [f"patient {row // 2}" for row in range(30)]  # two rows each
    whole = grid.total(PatientUpdates(rows, patients))
    for gone in range(15):
        kept = [row for row in range(30) if row // 2 != gone]
        without = grid.total(PatientUpdates(rows[kept], [patients[row] for row in kept]))
        assert int(((whole - without) ** 2).sum()) <= grid.l2_squared


def test_rows_of_one_patient_are_added_before_the_clip() -> None:
    grid = real(dim=3, clip=1.0)
    rows = np.array([[5.0, 0, 0], [0.1, 0.2, 0.3], [-5.0, 0, 0], [0, 0, 0.1]])
    total = grid.total(PatientUpdates(rows, ["a", "b", "a", "b"])) * grid.fine
    assert np.allclose(total, [0.1, 0.2, 0.4], atol=1e-5)
    shuffled = grid.total(PatientUpdates(rows[::-1], ["b", "a", "b", "a"])) * grid.fine
    assert np.allclose(shuffled, total, atol=1e-5)
    assert PatientUpdates(rows, np.array([7, 8, 7, 8])).count == 2
    layout = quant.Layout.of({"w": np.zeros(2), "b": np.zeros(1)})
    pairs = [(who, {"w": row[:2], "b": row[2:]}) for who, row in zip("abab", rows, strict=True)]
    flat = PatientUpdates.of(pairs, layout)
    assert flat.count == 2
    assert flat.dim == 3


class NotAvailable:
    """Like pandas.NA, says not whether it equals anything."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


@pytest.mark.parametrize("missing", [None, "", float("nan"), np.nan, NotAvailable()])
def test_rows_without_an_id_are_left_out(missing: object) -> None:
    """Clipped together they would move by up to twice the clip with the rows of one patient."""
    assert PatientUpdates(np.ones((5, 2)), ["a", missing, missing, "a", missing]).count == 1
    assert PatientUpdates(np.ones((3, 2)), np.full(3, np.nan)).count == 0
    grid = real(dim=2)
    rows = np.array([[-20.0, 0.0], [0.1, 0.2], [10.0, 0.0]])
    assert np.array_equal(
        grid.total(PatientUpdates(rows, [missing, "a", missing])), grid.total(PatientUpdates(rows[1:2], ["a"]))
    )
    with pytest.raises(PrivacyInputError, match="hashable"):
        PatientUpdates(np.ones((1, 2)), [["a"]])  # type: ignore[list-item]


def test_blocks_add_up_to_the_same_as_one(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = real(dim=4)
    rows = rng.normal(0, 1, (37, 4))
    ids = rng.integers(0, 9, 37)
    whole, many = grid.total(PatientUpdates(rows)), grid.total(PatientUpdates(rows, ids))
    monkeypatch.setattr("secagg.privacy.patients.BLOCK", 8)
    assert np.array_equal(grid.total(PatientUpdates(rows)), whole)
    assert np.array_equal(grid.total(PatientUpdates(rows, ids)), many)


def test_a_site_without_patients_is_welcome() -> None:
    grid = real(dim=3)
    assert not grid.total(PatientUpdates(np.zeros((0, 3)))).any()
    assert not grid.total(PatientUpdates(np.zeros((0, 3)), [])).any()
    assert "0" not in repr(PatientUpdates(np.zeros((0, 3))))


@pytest.mark.parametrize("rotation", [False, True])
def test_release_is_the_rounded_sum_in_model_units(rng: np.random.Generator, rotation: bool) -> None:
    keys = {"levels": 2001, "range": 3.0, "clip": 0.7} | ({"rotation": True} if rotation else {})
    codec = quant.from_config(keys, 9)
    coarsening, bound = _fine(codec, 0.7)
    grid = patient_grid(codec, clip=0.7, l2_squared=bound, coarsening=coarsening)
    public = InsecurePublic(b"signs")
    rows = rng.normal(0, 0.1, (6, 9))
    sent = grid.release(grid.total(PatientUpdates(rows)), Coins((coarsening // 2,) * grid.encoded_dim), public)
    decoded = codec.decode(sent, 1, public=public)
    assert np.linalg.norm(decoded - rows.sum(axis=0)) < codec.facts.step * grid.encoded_dim**0.5


@pytest.mark.parametrize(
    ("rows", "ids"),
    [(np.zeros(3), None), (np.zeros((2, 3)), ["a"]), (np.array([["x"]]), None), (np.zeros((1, 2), complex), None)],
)
def test_what_is_no_matrix_of_patients_is_refused(rows: NDArray[np.generic], ids: list[str] | None) -> None:
    with pytest.raises(PrivacyInputError):
        PatientUpdates(rows, ids)
    with pytest.raises(PrivacyInputError, match="coordinates"):
        real(dim=3).total(PatientUpdates(np.zeros((1, 4))))


@pytest.mark.parametrize(
    ("keys", "settings", "what"),
    [
        ({"levels": 200, "range": 1.0, "clip": 1.0}, {}, "odd"),
        ({"levels": 201, "range": 1.0, "clip": 1.0, "rounding": "dither"}, {}, "stochastic"),
        ({"levels": 201, "range": 1.0}, {}, "clip"),
        ({"levels": 201, "range": 1.0, "clip": 2.0}, {}, "clip"),
        ({"levels": 201, "range": 1.0, "clip": 1.0, "clip_linf": 0.1}, {}, "clip"),
        ({"levels": 201, "range": 1.0, "clip": 1.0, "random_k": 2}, {}, "rotation"),
        ({"modulus_bits": 12, "step": 0.1, "clip": 1.0}, {}, "uniform"),
        ({"levels": 201, "range": 1.0, "clip": 1.0}, {"coarsening": 3}, "power of two"),
        ({"levels": 201, "range": 1.0, "clip": 1.0}, {"l2_squared": 0}, "at least 1"),
        ({"levels": 201, "range": 1.0, "clip": 1.0}, {"l2_squared": 2**62}, "too fine"),
        ({"levels": 3, "range": 1.0, "clip": 1.0}, {"coarsening": 1}, "too coarse"),
    ],
)
def test_codecs_that_do_not_go_with_patients_are_refused(
    keys: dict[str, object], settings: dict[str, int], what: str
) -> None:
    with pytest.raises(PrivacyInputError, match=what):
        patient_grid(quant.from_config(keys, 4), clip=1.0, **({"l2_squared": 100, "coarsening": 64} | settings))
