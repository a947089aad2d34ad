"""The files of lines that a coordinator keeps for good: receipts, and a transcript for each form of the study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from secagg.coordinator import chain, evidence
from secagg.coordinator.store import Store
from secagg.study.definition import Study

RECEIPTS = "receipts.jsonl"


class Archive:
    """The files; the store has the same lines, and brings the files up to them.

    A study that was changed and signed again, such as by a site less, has another roster: its transcript is closed, and
    another one begins.

    Args:
        store: of the coordinator.
        study: as it is signed now.

    Raises:
        StorageError: the disk refuses.
    """

    def __init__(self, store: Store, study: Study) -> None:
        self._store = store
        known = store.fact("study")
        if known != study.hash:
            with store.transaction():
                if known is None:
                    store.set_fact("study", study.hash)
                else:
                    if lines := store.transcript():
                        store.add_transcript([evidence.ending(lines)])
                    store.begin_part(study.hash)
        self._mend()

    def _mend(self) -> None:
        """Bring the files up to the store, after a crash or a full disk."""
        store, self._behind = self._store, True
        chain.mend(store.folder / RECEIPTS, store.lines())
        for part in range(store.part + 1):
            chain.mend(self.transcript(part), store.transcript(part))
        self._behind = False

    def transcript(self, part: int) -> Path:
        """Where a transcript is: ``transcript.jsonl``, and ``transcript-2.jsonl`` once the study was changed."""
        return self._store.folder / (f"transcript-{part + 1}.jsonl" if part else "transcript.jsonl")

    def add(self, receipt: str, told: Sequence[str]) -> None:
        """Append the line of an attempt that ended, and its lines of the transcript; both are in the store.

        Raises:
            StorageError: the disk refuses.
        """
        if self._behind:
            self._mend()
            return
        self._behind = True
        chain.append(self._store.folder / RECEIPTS, [receipt])
        chain.append(self.transcript(self._store.part), told)
        self._behind = False
