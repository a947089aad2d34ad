"""Secure aggregation for federated learning: the server sees only the sum.

``aggregate`` adds up updates in one call, in process, through the real protocol. ``ClientSession`` and
``ServerSession`` are the same engine in two halves, for your own transport. ``analytics`` counts before any training.
The command line is ``secagg --help``.
"""

from pathlib import Path

import protocols
import quant

_HOME = Path(__file__).resolve().parent.parent
for _package in (protocols, quant):
    _found = Path(_package.__file__ or "").resolve().parent
    if _found.parent != _HOME:
        raise ImportError(
            f"secagg needs its own package {_package.__name__!r}, but found another one at {_found}: "
            "install secagg in an environment of its own, or remove the other package"
        )

from secagg import analytics  # noqa: E402  # only once the packages are known to be ours
from secagg.adaptive import RoundPlanner  # noqa: E402
from secagg.aggregate import Aggregate, aggregate  # noqa: E402
from secagg.broadcast import Downlink  # noqa: E402
from secagg.config import RoundConfig  # noqa: E402
from secagg.errors import RoundRefused, SeedMissing, UsageError  # noqa: E402
from secagg.feedback import SiteResidual  # noqa: E402
from secagg.monitoring import Monitoring  # noqa: E402
from secagg.record import RoundRecord, View  # noqa: E402
from secagg.session import ClientSession, ServerSession  # noqa: E402

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
