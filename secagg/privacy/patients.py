"""Unit patient: what a site does with its patients' vectors before anything leaves it.

Per patient, on the site's machine: add up the patient's rows, clip to the Euclidean norm C, put the vector on a fine
public grid, and look at the *integers*: if their squared norm exceeds B^2, the patient counts as zero. Then per site:
add the integers exactly, rotate them exactly, round once to the released grid, saturate. Noise is added to the result.

**Why one patient moves the released integers by no more than `Sensitivity` says.** Let neighbours differ by one
patient's integer vector D in site s, ||D||^2 <= B^2 (checked on integers, so it holds whatever floats did; NaN and
infinity became zero, too). Nothing else of a site depends on the patient, as long as the rows that are handed in do
not: *the row of a record must be a function of that record and of public numbers, to the last bit*. Floats that were
worked out for many patients at once may not be (the last digit of a matrix product depends on how many rows it has, and
so does a gradient that was divided by the size of a batch); what others then move by is no part of the bound. Then

1. *Sum.* X and X' = X + D in exact integers (`MAX_PATIENTS` keeps them inside of 64 bits).
2. *Rotation.* Signs and a Walsh-Hadamard matrix with entries +-1, unnormalised, in integers: Y' = Y + HSD, and
   ||HSD||^2 = r ||D||^2 exactly, r being the height of the blocks. So clipping and checking before the rotation is
   worth as much as after it, and only one vector per site is rotated. The signs are public and do not depend on data.
3. *Coarse rounding.* floor((Y + U) / g), U uniform on 0 .. g - 1 per coordinate and independent of the data: the
   argument of ``sensitivity`` (unit patient), with r B^2 for the squared norm.
4. *Saturation.* Each coordinate is moved into [-h, h]. The map is the same for every input and moves no two integers
   further apart: |clamp(a) - clamp(b)| <= |a - b|. So, for the same coins, no coordinate of the difference grows, and
   neither does its norm. That is why the range of the released grid needs no bound on the number of patients and no
   check on the site's sum: it is a matter of accuracy alone.

Rounding to the fine grid is to the nearest, after shrinking the clip by half a fine step per coordinate: by the
triangle inequality ||round(x / f)|| <= (C - f sqrt(d) / 2) / f + sqrt(d) / 2 = C / f. With about 2^20 fine steps in C
what that loses is far below the noise, and there are no coins to toss for each patient. The check that follows relies
on none of this.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

import quant
from quant.chain import Chain
from quant.clip import ClipL2
from quant.grid import UniformGrid
from quant.hadamard import hadamard_integers
from quant.public import ROTATION, PublicRandomness, need_public
from quant.streams import RandomStream
from quant.transforms import HadamardRotation, flip_signs
from secagg.privacy.errors import PrivacyInputError

MAX_PATIENTS = 1 << 24
"""Most patients of one site: the integers of so many stay inside of 62 bits, whatever they are."""

FINE_BITS = 20
"""About so many bits of the clip are kept per patient before the sum is rounded."""

MAX_SQUARED = 1 << 62
BLOCK = 1 << 20
"""Values of patients that are worked on at a time."""


class PatientUpdates:
    """One vector per patient, of a site; what ``ClientSession.prepare`` takes in a round of unit patient.

    Several rows of one patient are added up *before* the clip, so a patient counts once, however many records there
    are. Rows that hold NaN or infinity make their patient count as zero. Nothing of this raises because of data.

    Args:
        rows: floats of shape (rows, dim), one row per record, flat and in the order of the round's layout. No rows,
            shape (0, dim), are welcome.
        patients: who each row belongs to, as many ids as rows; None if every row is a patient of its own. Rows whose
            ids are missing (see `is_missing`) may be anybody's, and are left out: nothing would bound what a patient
            adds by them, and clipped together they would move by twice the clip with one of theirs.

    Raises:
        PrivacyInputError: not a matrix of real numbers, another number of ids than rows, or ids without a hash.
    """

    def __init__(self, rows: ArrayLike, patients: Sequence[Hashable] | NDArray[np.generic] | None = None) -> None:
        given = np.asarray(rows)
        if given.ndim != 2 or given.dtype.kind not in "fiub":
            raise PrivacyInputError(
                f"patients' vectors are a matrix of real numbers, a row each, not {given.dtype} of shape {given.shape}"
            )
        if patients is not None and len(patients) != len(given):
            raise PrivacyInputError(f"{len(given)} rows need as many patient ids, not {len(patients)}")
        self._rows = given
        self._places = None if patients is None else _places(patients)

    @classmethod
    def of(cls, pairs: Iterable[tuple[Hashable, quant.Update]], layout: quant.Layout) -> PatientUpdates:
        """Collect (patient id, update) pairs, updates of the round's layout; several of one patient are added up.

        Raises:
            quant.InputError: an update of another layout; never because of its values.
        """
        collected = list(pairs)
        rows = np.zeros((len(collected), layout.dim))
        for row, (_, update) in zip(rows, collected, strict=True):
            row[:] = layout.flatten(update, refuse=False)
        return cls(rows, [patient for patient, _ in collected])

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return int(self._rows.shape[1])

    @property
    def count(self) -> int:
        """Number of patients, which is the site's secret."""
        return len(self._rows) if self._places is None else int(self._places.max(initial=-1)) + 1

    def __repr__(self) -> str:
        """Say what it is, and nothing about the data, the number of patients included."""
        return f"PatientUpdates(dim={self.dim})"

    def blocks(self) -> Iterator[NDArray[np.float64]]:
        """Give the patients' vectors, float64 of shape (some, dim), a block at a time."""
        some = max(1, BLOCK // max(1, self.dim))
        if self._places is None:
            for start in range(0, len(self._rows), some):
                yield self._rows[start : start + some].astype(np.float64)
            return
        order = np.argsort(self._places, kind="stable")
        ordered = self._places[order]
        for first in range(0, self.count, some):
            start, stop = np.searchsorted(ordered, [first, first + some])
            block = np.zeros((min(some, self.count - first), self.dim))
            with np.errstate(over="ignore", invalid="ignore"):
                np.add.at(block, ordered[start:stop] - first, self._rows[order[start:stop]])
            yield block


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientGrid:
    """The two public grids of a round of unit patient, and how vectors get there. See `patient_grid`.

    Attributes:
        dim: coordinates of a vector.
        encoded_dim: released integers.
        rows: height r of the rotated blocks; 1 without rotation.
        clip: C, model units.
        fine: step f of the fine grid, model units.
        l2_squared: B^2, largest squared integer norm of a patient, fine steps.
        coarsening: g, a power of two: rotated fine steps per released step.
        half: h, largest released integer of one site; integers are sent as 0 .. 2h.
    """

    dim: int
    encoded_dim: int
    rows: int
    clip: float
    fine: float
    l2_squared: int
    coarsening: int
    half: int

    def integers(self, block: NDArray[np.float64]) -> NDArray[np.int64]:
        """Clip, round and check: float64 of shape (patients, dim) gives int64 of the same, rows of norm at most B."""
        if not block.size:
            return np.zeros(block.shape, np.int64)
        inside = self.clip - self.fine * math.sqrt(self.dim) / 2
        with np.errstate(all="ignore"):
            largest = np.abs(block).max(axis=1, keepdims=True)
            usable = np.isfinite(largest)
            unit = np.where(usable & (largest > 0), block / largest, 0.0)
            norm = np.sqrt(np.einsum("ij,ij->i", unit, unit))[:, None]  # of 1 or more: largest is 1
            shrunk = np.minimum(largest, inside / norm)
            scaled = np.where(usable, unit * (shrunk / self.fine), 0.0)
        most = math.isqrt(self.l2_squared)
        np.clip(np.rint(scaled, out=scaled), -most - 1, most + 1, out=scaled)
        integers = np.nan_to_num(scaled).astype(np.int64)
        squared = np.einsum("ij,ij->i", integers, integers)
        integers[(squared > self.l2_squared) | (squared < 0)] = 0
        return integers

    def total(self, updates: PatientUpdates) -> NDArray[np.int64]:
        """Add up all patients exactly: int64 of shape (dim,), fine steps. Secret: no noise yet.

        Raises:
            PrivacyInputError: vectors of another length than the round's, or more than `MAX_PATIENTS` patients.
        """
        if updates.dim != self.dim:
            raise PrivacyInputError(f"this round adds up vectors of {self.dim} coordinates, not {updates.dim}")
        if updates.count > MAX_PATIENTS:
            raise PrivacyInputError(f"one site has at most {MAX_PATIENTS} patients; split it")
        total = np.zeros(self.dim, np.int64)
        for block in updates.blocks():
            total += self.integers(block).sum(axis=0)
        return total

    def release(
        self, total: NDArray[np.int64], coins: RandomStream, public: PublicRandomness | None = None
    ) -> NDArray[np.int64]:
        """Rotate, round once and saturate: int64 of shape (encoded_dim,), each in [0, 2 half]. Still without noise.

        Args:
            total: of `total`.
            coins: secret and independent of the data: 8 bytes per released integer.
            public: the round's joint randomness, if it rotates.
        """
        rotated = self.rotate(total, public)
        words = np.empty(8 * self.encoded_dim, np.uint8)
        coins.fill(words)
        rotated += (words.view("<u8") & np.uint64(self.coarsening - 1)).astype(np.int64)
        rotated >>= self.coarsening.bit_length() - 1  # floor, of negative numbers as well
        np.clip(rotated, -self.half, self.half, out=rotated)
        rotated += self.half
        return rotated

    def rotate(self, total: NDArray[np.int64], public: PublicRandomness | None) -> NDArray[np.int64]:
        """Multiply by public signs and the unnormalised Walsh-Hadamard matrix, exactly; only copy without rotation."""
        padded = np.zeros(self.encoded_dim, np.int64)
        padded[: self.dim] = total
        if self.rows == 1:
            return padded
        signs = flip_signs(np.ones(self.dim, np.float32), need_public(public, (ROTATION,)).stream(ROTATION))
        padded[: self.dim] *= signs.astype(np.int64)
        return hadamard_integers(padded.reshape(self.rows, -1)).reshape(-1)


def patient_grid(codec: quant.UpdateCodec, *, clip: float, l2_squared: int, coarsening: int) -> PatientGrid:
    """Return the fine grid that goes with a codec: its clip is the *patient's*, its range the *site's sum's*.

    Raises:
        PrivacyInputError: a chain that is not exactly clip, perhaps rotation, and a uniform grid with a zero.
    """
    if not isinstance(codec, Chain):
        raise PrivacyInputError("unit patient needs a codec of quant.chain")
    if len(codec.clips) != 1 or not isinstance(codec.clips[0], ClipL2) or codec.clips[0].bound != clip:
        raise PrivacyInputError(
            f"unit patient clips every patient to {clip:g} and nothing else: quantization clip={clip:g}"
        )
    rows, grid = rotated_rows(codec), codec.grid
    if not isinstance(grid, UniformGrid) or grid.levels % 2 == 0 or grid.rounding != "stochastic":
        raise PrivacyInputError(
            "unit patient rounds stochastically to one uniform grid with a zero: an odd number of levels, "
            "rounding 'stochastic'"
        )
    if coarsening < 1 or coarsening & (coarsening - 1) or l2_squared < 1:
        raise PrivacyInputError("coarsening is a power of two, and the patients' norm bound is at least 1")
    fine = grid.step * math.sqrt(rows) / coarsening
    longest = math.isqrt(l2_squared) + 1
    room = MAX_SQUARED // MAX_PATIENTS
    if longest**2 * codec.dim > MAX_SQUARED or longest**2 * rows >= room**2 or coarsening > MAX_SQUARED:
        raise PrivacyInputError("the fine grid is too fine for exact sums in 64 bits: take a smaller coarsening")
    if not clip > fine * math.sqrt(codec.dim):
        raise PrivacyInputError(
            f"a fine grid of step {fine:g} is too coarse to clip {codec.dim} coordinates to {clip:g}: "
            "take a larger coarsening"
        )
    return PatientGrid(
        dim=codec.dim,
        encoded_dim=codec.facts.encoded_dim,
        rows=rows,
        clip=clip,
        fine=fine,
        l2_squared=l2_squared,
        coarsening=coarsening,
        half=grid.levels // 2,
    )


def rotated_rows(codec: quant.UpdateCodec) -> int:
    """Return r, the height of the rotated blocks; 1 without rotation.

    Raises:
        PrivacyInputError: other transforms than a rotation.
    """
    transforms = codec.transforms if isinstance(codec, Chain) else ()
    rotations = [stage for stage in transforms if isinstance(stage, HadamardRotation)]
    if len(rotations) != len(transforms):
        raise PrivacyInputError("unit patient goes with rotation or none; leave random_k, keep and layer_scales out")
    return rotations[0].rows(codec.facts.dim) if rotations else 1


def _places(patients: Sequence[Hashable] | NDArray[np.generic]) -> NDArray[np.int64]:
    """Number the patients in the order in which they first appear; -1 for rows of nobody."""
    known: dict[Hashable, int] = {}
    ids: Iterable[Hashable] = patients.tolist() if isinstance(patients, np.ndarray) else patients
    try:
        return np.array([-1 if is_missing(who) else known.setdefault(who, len(known)) for who in ids], np.int64)
    except TypeError as error:
        raise PrivacyInputError(f"patient ids are hashable, such as numbers or strings: {error}") from error


def is_missing(patient: Hashable) -> bool:
    """Tell whether an id names nobody: None, an empty text, NaN and whatever else does not equal itself."""
    try:
        return patient is None or patient == "" or not patient == patient  # noqa: PLR0124, SIM201
    except TypeError:  # pandas.NA does not say whether it equals anything
        return True
