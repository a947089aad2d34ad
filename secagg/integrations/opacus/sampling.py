"""Batches of whole patients, drawn by secret coins.

Opacus draws rows; here patients are drawn, and bring all of their rows, because the patient is what is hidden. The
coins come from a cryptographic stream: they make the privacy claim smaller only while nobody can guess them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opacus.data_loader import dtype_safe, shape_safe, wrap_collate_with_empty
from torch.utils.data import DataLoader, Dataset, Sampler

from protocols.primitives.prg import AesCtrStream
from secagg.errors import UsageError
from secagg.privacy.patients import is_missing


class PatientSampler(Sampler[list[int]]):
    """Yields lists of rows: per step, all rows of the patients who take part.

    Args:
        patients: one name for each row of the dataset; None if every row is a patient of its own. Rows without a name
            (see ``secagg.privacy.patients.is_missing``) are never drawn: nothing would bound whose they are.
        rows: number of rows of the dataset.
        sample_rate: probability with which a patient takes part in a step.
        steps: number of steps of an epoch.
        poisson_sampling: every patient by a coin of their own, in every step anew. Otherwise each patient takes part
            in one step of an epoch, all steps having the same number but for one; that amplifies nothing.
        key: 32 secret bytes that the coins are made of.

    Raises:
        UsageError: numbers out of range, or not one patient for each row.
    """

    def __init__(
        self,
        patients: Sequence[Hashable] | None,
        rows: int,
        *,
        sample_rate: float,
        steps: int,
        poisson_sampling: bool,
        key: bytes,
    ) -> None:
        if not 0 < sample_rate <= 1:
            raise UsageError(f"sample_rate is above 0 and at most 1, not {sample_rate!r}")
        if patients is not None and len(patients) != rows:
            raise UsageError(f"a dataset of {rows} rows needs as many patients, not {len(patients)}")
        names: dict[Hashable, int] = {}
        given = range(rows) if patients is None else patients
        owner = [-1 if is_missing(name) else names.setdefault(name, len(names)) for name in given]
        self.patient = np.array(owner, dtype=np.int64)
        self.patients = len(names)
        nobodys = int((self.patient < 0).sum())
        self._rows_of = np.argsort(self.patient, kind="stable")[nobodys:]
        self._ends = np.cumsum(np.bincount(self.patient[self.patient >= 0], minlength=self.patients))
        self._threshold = min(int(Fraction(sample_rate) * 2**64), 2**64 - 1)
        self._everybody = sample_rate == 1
        self._steps, self._poisson, self._stream = steps, poisson_sampling, AesCtrStream(key)

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[int]]:
        parts = None if self._poisson else np.array_split(np.argsort(self._words(), kind="stable"), self._steps)
        for step in range(self._steps):
            chosen = self._coins() if parts is None else np.sort(parts[step])
            yield [row for patient in chosen for row in self._of(int(patient))]

    def _of(self, patient: int) -> list[int]:
        begin = 0 if patient == 0 else int(self._ends[patient - 1])
        rows: list[int] = self._rows_of[begin : self._ends[patient]].tolist()
        return rows

    def _coins(self) -> NDArray[np.int64]:
        if self._everybody:
            return np.arange(self.patients)
        return np.flatnonzero(self._words() < np.uint64(self._threshold))

    def _words(self) -> NDArray[np.uint64]:
        raw = np.empty(8 * self.patients, np.uint8)
        self._stream.fill(raw)
        return raw.view("<u8")


class PatientLoader(DataLoader[Any]):
    """A ``DataLoader`` over the batches of a `PatientSampler`, empty ones included; knows whose rows the last one held.

    Args:
        data_loader: whose dataset and settings to take.
        sampler: of the batches.
    """

    def __init__(self, data_loader: DataLoader[Any], sampler: PatientSampler) -> None:
        self._drawn: deque[NDArray[np.int64]] = deque()
        self.current: NDArray[np.int64] | None = None
        self.patients = sampler
        dataset: Dataset[Any] = data_loader.dataset
        first = dataset[0] if len(sampler.patient) else ()
        super().__init__(
            dataset,
            batch_sampler=_Noting(sampler, self._drawn),
            num_workers=data_loader.num_workers,
            collate_fn=wrap_collate_with_empty(
                collate_fn=data_loader.collate_fn,
                sample_empty_shapes=[(0, *shape_safe(part)) for part in first],
                dtypes=[dtype_safe(part) for part in first],
            ),
            pin_memory=data_loader.pin_memory,
            timeout=data_loader.timeout,
            worker_init_fn=data_loader.worker_init_fn,
            multiprocessing_context=data_loader.multiprocessing_context,
            prefetch_factor=data_loader.prefetch_factor,
            persistent_workers=data_loader.persistent_workers,
        )

    def __iter__(self) -> Any:
        self._drawn.clear()
        for batch in super().__iter__():
            self.current = self._drawn.popleft()
            yield batch

    def take(self) -> NDArray[np.int64]:
        """Return the patient of each row of the present batch, once.

        Raises:
            UsageError: no batch, or one that was used for a step already.
        """
        if self.current is None:
            raise UsageError("each step takes one batch of the data loader that make_private returned")
        current, self.current = self.current, None
        return current


class _Noting(Sampler[list[int]]):
    """Passes batches on and notes whose rows they are: loaders with workers draw them ahead of time."""

    def __init__(self, sampler: PatientSampler, drawn: deque[NDArray[np.int64]]) -> None:
        self._sampler, self._drawn = sampler, drawn

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self._sampler:
            self._drawn.append(self._sampler.patient[np.array(rows, dtype=np.int64)])
            yield rows
