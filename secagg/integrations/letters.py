"""Parcels as plain lists, for stacks that send Python values."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from secagg.errors import UsageError
from secagg.integrations.parcel import Parcel

LOG = logging.getLogger("secagg.integrations")


class _Letter(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    round: str
    client: int
    frames: tuple[bytes, ...]
    proposal: str


def write_letters(parcels: Sequence[Parcel]) -> list[list[Any]]:
    """Return lists of texts, numbers and byte strings."""
    return [[parcel.round, parcel.client, list(parcel.frames), parcel.proposal] for parcel in parcels]


def read_answer(client: int, letters: object) -> list[Parcel]:
    """Read what a site answered; a site that answers something else, such as an error, has dropped out."""
    try:
        return read_letters(letters)
    except UsageError as error:
        LOG.warning("client %d dropped out: %s", client, error)
        return []


def read_letters(letters: object) -> list[Parcel]:
    """Read what ``write_letters`` gave.

    Raises:
        UsageError: anything else.
    """
    try:
        found = msgspec.convert(letters, list[_Letter])
    except msgspec.ValidationError as error:
        raise UsageError(f"these are not parcels: {error}") from error
    return [Parcel(letter.round, letter.client, letter.frames, letter.proposal) for letter in found]
