"""Secure aggregation for federated learning: the server sees only the sum.

``aggregate`` adds up updates in one call, in process, through the real protocol. ``ClientSession`` and
``ServerSession`` are the same engine in two halves, for your own transport. ``analytics`` counts before any training.
The command line is ``secagg --help``.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secagg.library import *  # exactly the names of __all__: a test sees to it

__all__ = [
    "Aggregate",
    "ClientSession",
    "Downlink",
    "Monitoring",
    "RoundConfig",
    "RoundPlanner",
    "RoundRecord",
    "RoundRefused",
    "SeedMissing",
    "ServerSession",
    "SiteResidual",
    "UsageError",
    "View",
    "aggregate",
    "analytics",
]

_HOME = Path(__file__).resolve().parent
for _name in ("protocols", "quant"):
    _spec = find_spec(_name)
    _found = Path(_spec.origin if _spec and _spec.origin else ".").resolve().parent
    if _found != _HOME.with_name(_name):
        raise ImportError(
            f"secagg needs its own package {_name!r}, but found another one at {_found}: "
            "install secagg in an environment of its own, or remove the other package"
        )


def __getattr__(name: str) -> object:
    """Load the library at the first use of a public name: commands start, and auditors read, without it."""
    if name not in __all__:
        raise AttributeError(f"module 'secagg' has no attribute {name!r}")
    from secagg import library

    globals().update({public: getattr(library, public) for public in __all__})
    return globals()[name]
