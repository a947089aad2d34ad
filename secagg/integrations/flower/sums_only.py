"""Which strategies need the sum of the updates and nothing else."""

from __future__ import annotations

from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy.strategy_utils import aggregate_metricrecords

from secagg.errors import UsageError

SUMS_ONLY = ("FedAvg", "FedAvgM", "FedProx", "FedAdagrad", "FedAdam", "FedYogi")
"""Strategies of ``flwr.serverapp.strategy`` whose next model is a function of the weighted mean alone."""

REFUSED = {
    "Bulyan": "it compares single updates",
    "FedMedian": "it takes medians over single updates; clip updates instead (quantization clip)",
    "FedTrimmedAvg": "it trims single updates; clip updates instead (quantization clip)",
    "FedXgbBagging": "it collects single trees, which do not add up",
    "FedXgbCyclic": "it hands the model of one site to the next",
    "Krum": "it picks one of the updates",
    "MultiKrum": "it picks some of the updates",
    "QFedAvg": "it weighs each update by that site's own loss",
    "DifferentialPrivacyServerSideFixedClipping": "the server would clip single updates; clip at the sites",
    "DifferentialPrivacyServerSideAdaptiveClipping": "the server would clip single updates; clip at the sites",
    "DifferentialPrivacyClientSideFixedClipping": "put it around SecAgg: it counts the replies",
    "DifferentialPrivacyClientSideAdaptiveClipping": "it reads from every single site whether it was clipped",
}


def check_sums_only(strategy: flower.Strategy) -> flower.FedAvg:
    """Return the strategy, or refuse it if it looks at single updates, or may.

    A subclass is taken if it leaves ``aggregate_train`` alone, or says ``secagg_sums_only = True``: then it gets one
    reply that carries the mean.

    Raises:
        UsageError: naming the strategy and the reason.
    """
    kinds = [kind.__name__ for kind in type(strategy).__mro__ if kind.__module__.startswith("flwr.serverapp.strategy")]
    name = kinds[0] if kinds else type(strategy).__name__
    if name in REFUSED:
        raise UsageError(f"{name} cannot run on a secure sum: {REFUSED[name]}")
    if name not in SUMS_ONLY or not isinstance(strategy, flower.FedAvg):
        raise UsageError(f"{name} is not known to need only the sum; those that do are {', '.join(SUMS_ONLY)}")
    own = next(kind for kind in type(strategy).__mro__ if "aggregate_train" in vars(kind))
    if not own.__module__.startswith("flwr.") and not getattr(strategy, "secagg_sums_only", False):
        raise UsageError(
            f"{type(strategy).__name__} aggregates in its own way: if it needs only the mean, set "
            "secagg_sums_only = True on the class; it then gets one reply that carries the mean"
        )
    for which in ("train_metrics_aggr_fn", "evaluate_metrics_aggr_fn"):
        if getattr(strategy, which) is not aggregate_metricrecords:
            raise UsageError(f"{which} would see single sites' metrics: leave it out, and name bounds in metrics")
    return strategy
