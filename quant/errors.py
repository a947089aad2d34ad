"""What can go wrong while numbers are put on the grid.

Every error is a `QuantError`, which is a `ValueError`: one sentence that says what was wrong and what to do.
The message never holds coordinates of an update, only names, shapes, counts and public settings.
"""


class QuantError(ValueError):
    """Base of every error that this package raises on purpose."""


class ConfigurationError(QuantError):
    """A public setting is wrong: the same for all sites, and known before any data is touched."""


class InputError(QuantError):
    """The data handed in cannot be encoded or decoded: NaN, another shape, a wrong type, out of range."""


class CapacityError(QuantError):
    """Levels, clients and field width do not fit together: a sum could leave its field."""
