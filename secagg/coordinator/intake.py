"""Letters that came at the same time: journalled together, then acted on one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from protocols import ProtocolError
from secagg.coordinator.live_round import Contradiction, Delivery, LiveRound
from secagg.errors import UsageError
from secagg.privacy import LedgerError, countersign
from secagg.study.definition import Study
from secagg.study.identity import Identity


def take_in(
    study: Study, coordinator: Identity, live: LiveRound, letters: Sequence[Delivery]
) -> list[Exception | bool]:
    """Take letters of one attempt.

    Returns:
        For each letter whether it is new, or why it was refused.

    Raises:
        StorageError: the disk refuses; no letter was taken.
    """
    told: list[Exception | bool] = []
    new: dict[tuple[int, int], int] = {}
    again: dict[int, int] = {}
    spent: dict[int, bytes] = {}
    for place, letter in enumerate(letters):
        try:
            told.append(live.is_new(letter) and (letter.site, letter.number) not in new)
            if (first := new.get((letter.site, letter.number))) is not None:
                again[place] = first
            if told[-1] is True:
                spent |= _countersigned(study, coordinator, letter)
        except UsageError as error:
            told[place:] = [error]
        if told[-1] is True:
            new[letter.site, letter.number] = place
    entries = live.journal([letters[place] for place in new.values()], spent) if new else []
    for place, entry in zip(new.values(), entries, strict=True):
        try:
            live.act(letters[place], entry)
        except (ProtocolError, UsageError) as error:
            told[place] = error
    for place, first in again.items():
        if letters[place].digest != letters[first].digest:
            told[place] = Contradiction(f"site {letters[place].site} says two things as its letter at the same time")
        elif isinstance(told[first], Exception):
            told[place] = told[first]  # what was not taken is not acknowledged either
    return told


def _countersigned(study: Study, coordinator: Identity, letter: Delivery) -> dict[int, bytes]:
    """Return the countersigned statement of what a site has spent, if the letter brings one.

    Raises:
        UsageError: not a letter, or not the site's own statement.
    """
    if study.privacy is None or letter.letter.spent is None:
        return {}
    said, key = letter.letter.spent, study.roster.key(letter.site) or b""
    try:
        signed = countersign(said.receipt, said.signature, key, coordinator.secret.reveal())
    except LedgerError as error:
        raise UsageError(str(error)) from None
    return {letter.site: msgspec.msgpack.encode(signed)}
