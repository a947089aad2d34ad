"""What the product raises beyond ``protocols`` and ``quant``."""

from __future__ import annotations

from protocols.errors import SecAggError


class UsageError(SecAggError, ValueError):
    """The caller's input or options cannot be used; one sentence says what was wrong and what to do."""


class RoundRefused(SecAggError):
    """The round ended without a sum, as it must: too few clients stayed, or a peer broke a rule."""
