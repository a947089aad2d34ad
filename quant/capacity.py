"""Capacity: how levels, clients and field width fit together, so that no sum ever leaves its field.

A field of w bits holds totals 0 to 2^w - 1. With n clients that each add at most levels - 1, the total is at most
n * (levels - 1). Noise whose sum stays within [-B, B] (``noise=B``, from ``quant.noise.reach``) makes the totals lie in
[-B, n * (levels - 1) + B], which takes 2 B more; such a field is unpacked with ``lower=-B``. All of it is exact integer
arithmetic; what does not fit is refused with what would.
"""

from quant.checks import whole_number
from quant.errors import CapacityError

MAX_WIDTH = 62
"""Widest field. One bit less than int64 keeps the sign, one more keeps twice a total from overflowing it."""

_MOST = 2**MAX_WIDTH


def field_width(levels: int, clients: int, limit: int = MAX_WIDTH, *, noise: int = 0) -> int:
    """Give the least w with clients * (levels - 1) + 2 * noise <= 2^w - 1; ``noise`` bounds the magnitude of its sum.

    Raises:
        ConfigurationError: a number that is not whole or makes no sense.
        CapacityError: w > limit, with the levels and the cohort that would fit.
    """
    levels = whole_number(levels, "levels", 2, _MOST)
    clients = whole_number(clients, "clients", 1, _MOST)
    limit = whole_number(limit, "the width limit", 1, MAX_WIDTH)
    noise = whole_number(noise, "the reach of the noise", 0, _MOST)
    width = (clients * (levels - 1) + 2 * noise).bit_length()
    if width <= limit:
        return width
    room = (1 << limit) - 1 - 2 * noise
    if room < 1:
        raise CapacityError(
            f"noise within +-{noise} alone needs {(2 * noise + 1).bit_length()} bits, the limit is {limit}"
        )
    fitting_levels = room // clients + 1
    fitting_clients = room // (levels - 1)
    offers = []
    if fitting_levels >= 2:
        bits = fitting_levels.bit_length() - 1
        offers.append(f"{clients} clients can use at most {fitting_levels} levels ({bits} bits)")
    if fitting_clients >= 1:
        offers.append(f"{levels} levels allow at most {fitting_clients} clients")
    raise CapacityError(
        f"{clients} clients with {levels} levels need {width} bits, the limit is {limit}: "
        + ("; ".join(offers) if offers else "neither fits on its own, reduce both")
    )


def max_levels(width: int, clients: int, *, noise: int = 0) -> int:
    """Give the most levels that ``clients`` may use in a field: floor((2^width - 1 - 2 noise) / clients) + 1.

    Any whole number, not only a power of two: with 10 clients, 14 bits hold 1639 levels (10.7 bits) each.

    Raises:
        ConfigurationError: a number that is not whole or makes no sense.
        CapacityError: not even two levels fit.
    """
    width = whole_number(width, "the field width", 1, MAX_WIDTH)
    clients = whole_number(clients, "clients", 1, _MOST)
    noise = whole_number(noise, "the reach of the noise", 0, _MOST)
    levels = ((1 << width) - 1 - 2 * noise) // clients + 1
    if levels < 2:
        least = (clients + 2 * noise).bit_length()
        besides = f" and noise within +-{noise}" if noise else ""
        raise CapacityError(
            f"a field of {width} bits cannot add up {clients} clients{besides}; they need at least {least} bits"
        )
    return levels


def max_clients(width: int, levels: int, *, noise: int = 0) -> int:
    """Give the largest cohort whose sum fits: floor((2^width - 1 - 2 noise) / (levels - 1)).

    Raises:
        ConfigurationError: a number that is not whole or makes no sense.
        CapacityError: not even one client fits.
    """
    width = whole_number(width, "the field width", 1, MAX_WIDTH)
    levels = whole_number(levels, "levels", 2, _MOST)
    noise = whole_number(noise, "the reach of the noise", 0, _MOST)
    clients = ((1 << width) - 1 - 2 * noise) // (levels - 1)
    if clients < 1:
        least = (levels - 1 + 2 * noise).bit_length()
        besides = f" and noise within +-{noise}" if noise else ""
        raise CapacityError(
            f"a field of {width} bits cannot hold {levels} levels{besides}; one client needs {least} bits"
        )
    return clients
