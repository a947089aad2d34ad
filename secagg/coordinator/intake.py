"""Letters that came at the same time: journalled together, then acted on one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from protocols import ProtocolError
from secagg.coordinator.live_round import Delivery, LiveRound
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
    spent: dict[int, bytes] = {}
    for place, letter in enumerate(letters):
        try:
            told.append(live.is_new(letter) and (letter.site, letter.number) not in new)
            if told[-1] is True:
                spent |= _countersigned(study, coordinator, letter)
        except (UsageError, LedgerError) as error:
            told[place:] = [error]
        if told[-1] is True:
            new[letter.site, letter.number] = place
    entries = live.journal([letters[place] for place in new.values()], spent) if new else []
    for place, entry in zip(new.values(), entries, strict=True):
        try:
            live.act(letters[place], entry)
        except (ProtocolError, UsageError) as error:
            told[place] = error
    return told


def _countersigned(study: Study, coordinator: Identity, letter: Delivery) -> dict[int, bytes]:
    """Return the countersigned statement of what a site has spent, if the letter brings one.

    Raises:
        UsageError: not a letter.
        LedgerError: not the site's own statement.
    """
    if study.privacy is None or letter.letter.spent is None:
        return {}
    said, key = letter.letter.spent, study.roster.key(letter.site) or b""
    signed = countersign(said.receipt, said.signature, key, coordinator.secret.reveal())
    return {letter.site: msgspec.msgpack.encode(signed)}
