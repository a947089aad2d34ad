"""How a round ended, and where the study is after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from secagg.coordinator.live_round import Opening
from secagg.study import rounds
from secagg.study.definition import Study
from secagg.study.rounds import Validation


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt.

    Attributes:
        kind: ``"opened"`` or ``"aborted"``.
        included: sites in the sum.
        model: hash of the weights after the round, or empty.
        reason: why it was aborted.
        counters: opened sums of the counters; they judge the weights that the round *began* with.
        total_weight: opened sum of the weights.
        spent: cost of the study so far, as ``spending`` writes it; empty without privacy.
        answers: of a study of kind analytics.
    """

    kind: str
    included: tuple[int, ...] = ()
    model: bytes = b""
    reason: str = ""
    counters: dict[str, int] = field(default_factory=dict)
    total_weight: int = 0
    spent: bytes = b""
    answers: dict[str, Any] = field(default_factory=dict)


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a study is.

    Attributes:
        study: its name.
        round: number of the next round.
        attempt: number of its next try.
        model: hash of the present weights.
        best: hash of the weights that validated best, or of the present ones.
        best_counters: how they validated.
        opened: rounds that succeeded.
        stale: rounds since the best.
        lost: rounds lost one after the other.
        finished: why the study is over; empty while it is not.
        charged: rounds in which inputs were asked for: sites have charged them to their privacy budgets.
        spent: cost of those, as ``spending`` writes it; empty without privacy.
        recorded: cost up to the last opened sum.
    """

    study: str
    round: int
    attempt: int
    model: bytes
    best: bytes
    best_counters: dict[str, int] = {}
    opened: int = 0
    stale: int = 0
    lost: int = 0
    finished: str = ""
    charged: int = 0
    spent: bytes = b""
    recorded: bytes = b""

    def after(self, opening: Opening, outcome: Outcome, study: Study, *, inputs: bool) -> Progress:
        """Return where the study is after an attempt.

        An attempt that failed before anybody masked an input is tried again. After that it is lost: sites contribute
        once to a round, so the next one has another number.
        """
        if outcome.kind != "opened":
            if not inputs and opening.attempt + 1 < study.training.attempts:
                return msgspec.structs.replace(self, attempt=opening.attempt + 1)
            lost = msgspec.structs.replace(
                self,
                round=opening.round + 1,
                attempt=0,
                lost=self.lost + 1,
                charged=self.charged + inputs,
                spent=outcome.spent,
            )
            return msgspec.structs.replace(lost, finished=lost.reason_to_stop(study))
        judged = Validation(outcome.counters)
        known = Validation(self.best_counters) if self.best_counters else None
        better = judged.examples == 0 or judged.better_than(known, study.training.watch)
        best = opening.model if judged.examples else outcome.model
        progress = msgspec.structs.replace(
            self,
            round=opening.round + 1,
            attempt=0,
            model=outcome.model,
            best=best if better else self.best,
            best_counters=outcome.counters if better else self.best_counters,
            opened=self.opened + 1,
            stale=0 if better else self.stale + 1,
            lost=0,
            charged=self.charged + 1,
            spent=outcome.spent,
            recorded=outcome.spent,
        )
        return msgspec.structs.replace(progress, finished=progress.reason_to_stop(study))

    def reason_to_stop(self, study: Study) -> str:
        """Return why the study is over, or the empty string."""
        if self.opened >= study.training.rounds:
            return f"finished: {self.opened} rounds"
        if study.training.patience and self.stale >= study.training.patience:
            return f"finished early: no better {study.training.watch} for {self.stale} rounds"
        if study.privacy is not None and self.charged >= rounds.releases(study):
            return f"finished: the {self.charged} releases that the privacy budget covers are used up"
        return ""
