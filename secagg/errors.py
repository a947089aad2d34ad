"""What the product raises beyond ``protocols`` and ``quant``."""

from __future__ import annotations

from protocols.errors import SecAggError


class UsageError(SecAggError, ValueError):
    """The caller's input or options cannot be used; one sentence says what was wrong and what to do."""


class RoundRefused(SecAggError):
    """The round ended without a sum, as it must: too few clients stayed, or a peer broke a rule."""


class SeedMissing(RoundRefused):
    """An attempt ended before any input was sent, because a part of the joint seed is missing; try again without.

    Attributes:
        missing: the clients that committed to a part and did not reveal it.
    """

    def __init__(self, missing: tuple[int, ...]) -> None:
        shown = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        super().__init__(f"the joint seed cannot be made: client {shown} committed to a part and vanished")
        self.missing = missing
