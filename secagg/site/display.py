"""What a person at a site sees: one line a round, a bar while training, and every failure once."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from secagg import theme
from secagg.study.definition import Study
from secagg.study.rounds import Validation
from secagg.transport.messages import Finished


class Display:
    """Turns a participant's events into lines and a progress bar on standard error.

    Args:
        study: what the site takes part in.
        quiet: show nothing.
    """

    def __init__(self, study: Study, *, quiet: bool) -> None:
        self._study, self._quiet = study, quiet
        self._progress = theme.progress(shown=not quiet)
        self._bar = self._progress.add_task("training", total=100, visible=False)
        self._said = ""

    def __enter__(self) -> Display:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def observe(self, event: str, facts: dict[str, Any]) -> None:
        """Show one event."""
        if event == "progress":
            self._progress.update(self._bar, completed=round(100 * facts["fraction"]), visible=True)
            return
        if event in ("receipt", "late", "left"):
            self._progress.update(self._bar, visible=False)
        line = _line(event, facts, self._study)
        if line and line != self._said and not self._quiet:
            self._progress.console.print(line)
        self._said = line

    def farewell(self, finished: Finished, folder: Path, again: str) -> None:
        """Show the end of the study on standard output; ``again`` is the command that shows its history."""
        console = theme.output()
        console.print(f"study {self._study.name!r}: {finished.reason}")
        console.print(f"last weights  {folder}/models/last.safetensors  SHA-256 {finished.model.hex()}")
        console.print(f"best weights  {folder}/models/best.safetensors  SHA-256 {finished.best.hex()}")
        console.print(f"next, you: {again}", soft_wrap=True)


def _line(event: str, facts: dict[str, Any], study: Study) -> str:
    if event == "receipt":
        return _receipt(facts)
    number = facts.get("round", 0) + 1
    texts = {
        "welcome": f"connected; {facts.get('members')} of {len(study.site)} sites have signed in",
        "round": f"round {number}: training, {facts.get('sites')} sites",
        "approval": f"round {number} waits for a person here to approve its model: add the line {facts.get('model')} "
        "to approved-models.txt",
        "late": f"round {number}: it went on without this site, which was late; waiting for the next",
        "left": f"left the round: {facts.get('reason')}",
        "raised": f"this privacy ledger is an old copy; it holds epsilon {facts.get('epsilon', 0):.3f} of cohort "
        f"{facts.get('cohort')!r} again",
        "restored": f"round {number} is left out: this state was restored, and cannot know what was said in it",
        "declined": f"round {number} declined: {facts.get('reason')}",
        "waiting": f"waiting: {facts.get('reason')}",
    }
    return texts.get(event, "")


def _receipt(facts: dict[str, Any]) -> str:
    said = facts["receipt"]
    if said.outcome != "opened":
        return f"round {said.round + 1}: ended without a sum ({said.reason})"
    judged = Validation(said.counters)
    text = f"round {said.round + 1}: summed over {len(said.included)} sites"
    if said.spent:
        text += f"; epsilon {said.spent:.3f} of this study is spent"
    if judged.accuracy is not None and judged.loss is not None:
        text += f"; before it, accuracy {judged.accuracy:.3f} and loss {judged.loss:.4f} on {judged.examples} examples"
    return text if facts["included"] else text + "; this site is not in the sum"
