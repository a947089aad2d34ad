"""The audit transcript of a study: records are chained here, stored with their round, then appended to the file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import cast

import msgspec
import numpy as np

from protocols.pairwise import LocalPolicy
from protocols.pairwise.steps import Outbound
from secagg.config import RoundConfig
from secagg.opened import Opened
from secagg.study.definition import Study
from secagg.transcript.chain import Transcript, study_record
from secagg.transcript.receipts import Receipt
from secagg.transcript.recorder import RoundRecorder
from secagg.transcript.records import End, Parameters, Record, Spend, read, write


class Lines:
    """Chains records onto earlier lines; takes the place of a ``Transcript`` whose file is written later.

    Attributes:
        made: the new lines.
    """

    def __init__(self) -> None:
        self._number, self._previous = 0, "0" * 64
        self.made: list[str] = []

    def follow(self, number: int, last: str) -> None:
        """Go on after ``number`` lines, the last of which is ``last``."""
        self._number, self._previous = number, hashlib.sha256(last.encode()).hexdigest()

    def append(self, record: Record) -> None:
        """Chain one record."""
        line = write(msgspec.structs.replace(record, number=self._number, previous=self._previous))
        self.made.append(line.decode())
        self.follow(self._number + 1, self.made[-1])


class RoundEvidence:
    """Watches one attempt at a round; a replayed journal gives the same lines.

    Args:
        config: the round.
        model: hash of the model.
    """

    def __init__(self, config: RoundConfig, model: bytes) -> None:
        self._lines = Lines()
        self._recorder = RoundRecorder(cast(Transcript, self._lines), config.params, model, config.task_text)

    def received(self, site: int, frame: bytes) -> None:
        """Note a frame that was accepted."""
        self._recorder.received(site, frame)

    def sent(self, outbound: Outbound) -> None:
        """Note what all sites are told alike."""
        if outbound.clients:
            self._recorder.sent(outbound.clients[0], outbound.frame_for(outbound.clients[0]))

    def lines(
        self,
        study: Study,
        before: tuple[int, str] | None,
        opened: Opened | None,
        reason: str = "",
        *,
        receipts: Sequence[Receipt] = (),
        spend: Spend | None = None,
    ) -> list[str]:
        """Return the lines of the round, and of the study's beginning if it is the first.

        Args:
            study: what was signed.
            before: number of earlier lines and the last of them, or ``None``.
            opened: the opened sum, if there is one.
            reason: else, why there is none.
            receipts: of the sites that answered.
            spend: what the round cost of the privacy budget.
        """
        if before is None:
            self._lines.append(beginning(study))
        else:
            self._lines.follow(*before)
        if opened is None:
            self._recorder.aborted(reason)
        else:
            vectors = {name: np.asarray(vector) for name, vector in opened.vectors.items()}
            self._recorder.opened(vectors, receipts=receipts, spend=spend)
        return self._lines.made


def beginning(study: Study) -> Record:
    """Return the first record: who takes part and what is assumed."""
    policy = LocalPolicy(
        colluders=study.colluders, max_attempts=study.training.attempts, roster=study.roster, studies=(study.name,)
    )
    facts = {"study file, SHA-256": study.hash.hex(), "coordinator": study.study.coordinator}
    return study_record(study.name, "secagg", policy, facts)


def ending(lines: Sequence[str]) -> str:
    """Return the last line of a study's transcript, after ``lines``."""
    chained = Lines()
    chained.follow(len(lines), lines[-1])
    chained.append(End(rounds=sum(isinstance(read(line.encode()), Parameters) for line in lines)))
    return chained.made[0]
