"""Public randomness: what all sites and the server know alike, and nobody knew before the updates were fixed.

Rotations, sparsity patterns and dithers are random, but not secret. The layer above derives them from a joint seed of
the round (committed to by every site before it is revealed, and never used twice); this package only asks for streams
by label. That the seed does not depend on the updates is what makes decoded sums unbiased: for a fixed seed, an update
could be made to fit.
"""

from collections.abc import Sequence
from typing import Protocol

from quant.errors import ConfigurationError, InputError
from quant.streams import RandomStream

ROTATION, PATTERN, DITHER, GROUPS = "rotation", "pattern", "dither", "groups"
"""Labels. All are common to all sites (client None), but for the dither: every site has its own."""


class PublicRandomness(Protocol):
    """The streams of one vector in one round, equal wherever they are asked for."""

    def stream(self, label: str, client: int | None = None) -> RandomStream:
        """Give the stream of this label, and of this client if it is not common, from its first byte."""
        ...


def need_public(public: PublicRandomness | None, labels: Sequence[str]) -> PublicRandomness:
    """Give ``public`` if there is any.

    Raises:
        ConfigurationError: none was handed in, naming what would be drawn from it.
    """
    if public is None:
        raise ConfigurationError(
            f"this codec draws its {' and '.join(labels)} from public randomness: pass public=, the streams of the "
            "round's joint seed"
        )
    return public


def need_clients(clients: Sequence[int], count: int) -> tuple[int, ...]:
    """Give the clients whose dithers are in a sum of ``count`` vectors.

    Raises:
        InputError: another number of clients than vectors, or one named twice.
    """
    named = tuple(clients)
    if len(named) != count or len(set(named)) != count:
        raise InputError(f"a dithered sum of {count} vectors needs the ids of its {count} clients, got {named[:8]}")
    return named
