"""Secure aggregation in Flower's current API: a mod for the ``ClientApp``, a wrapper around the ``Strategy``.

    app = ClientApp(mods=[secagg_mod])
    strategy = SecAgg(FedAvg(), max_examples=500)

The mod sends updates, example counts and metrics only as masked parts of a sum, and the wrapper hands the strategy that
sum's mean. ``secagg/integrations/README.md`` says what it withstands, and what a mod cannot do.
"""

from secagg.integrations.flower.mod import SecAggMod, secagg_mod
from secagg.integrations.flower.strategy import SecAgg
from secagg.integrations.flower.sums_only import SUMS_ONLY

__all__ = ["SUMS_ONLY", "SecAgg", "SecAggMod", "secagg_mod"]
