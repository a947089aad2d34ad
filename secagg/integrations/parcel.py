"""What one message of a stack carries about one round."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parcel:
    """Frames of one round between the server and one client.

    Attributes:
        round: the server's name for the round, unique in a run.
        client: the client's id in the round.
        frames: frames of the protocol, in order; opaque to whoever carries them.
        proposal: the round's configuration (see ``proposal``), in the first parcel of a round only.
    """

    round: str
    client: int
    frames: tuple[bytes, ...] = ()
    proposal: str = ""


Mail = dict[int, list[Parcel]]
"""Parcels by client id."""


def merge(*mails: Mail) -> Mail:
    """Put parcels for the same client together."""
    merged: Mail = {}
    for mail in mails:
        for client, parcels in mail.items():
            merged.setdefault(client, []).extend(parcels)
    return dict(sorted(merged.items()))
