"""Who holds which patients: a data set dealt out to sites, evenly or with a chosen skew.

Label skew and quantity skew by a Dirichlet law are the usual benchmarks of federated learning (Hsu et al.
2019, "Measuring the effects of non-identical data distribution"; Li et al. 2022, "Federated learning on
non-IID data silos"). Small ALPHA: very unequal sites; large ALPHA: nearly even ones.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secagg.errors import UsageError

LEAST_EXAMPLES = 2
# Outside, the Dirichlet draw is one site or all sites to the last digit, and loses its meaning.
ALPHA_RANGE = (0.01, 1000.0)
KINDS = ("iid", "label", "quantity")


@dataclass(frozen=True, slots=True)
class Skew:
    """How unequal the sites are.

    Attributes:
        kind: ``iid`` (even shares of everything), ``label`` (each label dealt out unevenly) or ``quantity``
            (sites of different sizes).
        alpha: Dirichlet concentration; ignored, and 1, for ``iid``.
    """

    kind: str
    alpha: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "Skew":
        """Read ``iid``, ``label:ALPHA`` or ``quantity:ALPHA``; raise `UsageError` for anything else."""
        if text == "iid":
            return cls("iid")
        kind, colon, number = text.partition(":")
        try:
            alpha = float(number)
        except ValueError:
            alpha = math.nan
        low, high = ALPHA_RANGE
        if kind not in KINDS[1:] or not colon or not low <= alpha <= high:
            raise UsageError(
                f"unreadable skew {text!r}: write iid, label:ALPHA or quantity:ALPHA, "
                f"with ALPHA between {low:g} and {high:g} (such as label:0.5)"
            )
        return cls(kind, alpha)

    def __str__(self) -> str:
        return self.kind if self.kind == "iid" else f"{self.kind}:{self.alpha:g}"


def partition(
    labels: NDArray[np.int64], sites: int, skew: Skew, rng: np.random.Generator
) -> tuple[NDArray[np.int64], ...]:
    """Deal the examples out: every example to exactly one site, at least `LEAST_EXAMPLES` to each site.

    Args:
        labels: int64, shape (examples,).
        sites: at least 1.
        skew: how unequal the sites are.
        rng: source of the draw (data only, never masks or keys); the same state gives the same partition.

    Returns:
        For each site the sorted indices of its examples, int64.

    Raises:
        UsageError: fewer than `LEAST_EXAMPLES` examples per site.
    """
    if sites * LEAST_EXAMPLES > len(labels):
        raise UsageError(
            f"{sites} sites are too many for {len(labels)} training examples: "
            f"at most {len(labels) // LEAST_EXAMPLES}, so that each holds {LEAST_EXAMPLES}"
        )
    owner = np.empty(len(labels), np.int64)
    grouping = labels if skew.kind == "label" else np.zeros_like(labels)
    for label in np.unique(grouping):
        shares = np.full(sites, 1 / sites) if skew.kind == "iid" else rng.dirichlet([skew.alpha] * sites)
        members = rng.permutation(np.flatnonzero(grouping == label))
        ends = np.round(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        for site, indices in enumerate(np.split(members, ends)):
            owner[indices] = site
    _lift_poorest(owner, sites)
    return tuple(np.flatnonzero(owner == site) for site in range(sites))


def _lift_poorest(owner: NDArray[np.int64], sites: int) -> None:
    """Move single examples, in place, from the largest site to each site below `LEAST_EXAMPLES`."""
    counts = np.bincount(owner, minlength=sites)
    for site in range(sites):
        while counts[site] < LEAST_EXAMPLES:
            richest = counts.argmax()
            owner[np.flatnonzero(owner == richest)[-1]] = site
            counts[richest] -= 1
            counts[site] += 1
