"""Checks of single numbers, shared by all constructors, so that bad settings cannot exist.

Bounds (clip norms, grid ranges) live in [`MIN_BOUND`, `MAX_BOUND`]. Far inside the range of float32, so that
no proof in this package has to deal with a bound that is itself denormal or overflows when it is multiplied.
"""

import math
import numbers

from quant.errors import ConfigurationError, QuantError

MIN_BOUND = 1e-30
MAX_BOUND = 1e30


def whole_number(
    value: object,
    name: str,
    least: int,
    most: int,
    error: type[QuantError] = ConfigurationError,
) -> int:
    """Give ``value`` as an int in [least, most]; numpy integers count, bool and 3.0 do not.

    Raises:
        QuantError: of the kind ``error``, naming the setting, the value and the allowed range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise error(f"{name} must be a whole number, not {value!r} ({type(value).__name__})")
    whole = int(value)
    if not least <= whole <= most:
        raise error(f"{name} must be between {least} and {most}, not {whole}")
    return whole


def positive_bound(value: object, name: str) -> float:
    """Give ``value`` as a float in [MIN_BOUND, MAX_BOUND].

    Raises:
        ConfigurationError: if it is not a real number, not finite, or outside of that interval.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ConfigurationError(f"{name} must be a positive number, not {value!r} ({type(value).__name__})")
    try:
        bound = float(value)
    except OverflowError:  # an int beyond float64
        bound = math.inf
    if not MIN_BOUND <= bound <= MAX_BOUND:  # also true for NaN
        raise ConfigurationError(f"{name} must be between {MIN_BOUND:g} and {MAX_BOUND:g}, not {bound:g}")
    return bound
