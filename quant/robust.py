"""Robust averaging under secure sums: bound every norm, add up in groups, combine the groups by median or trimmed mean.

The server sees sums only, so it cannot drop one bad update. It can see one bad *group*. Norm bounding (`ClipL2`) limits
what a bad site does to the mean, but it is done by the site itself: it holds for honest sites with bad data,
not for ones that lie, unless norms are proved. Groups work against both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from quant.checks import whole_number
from quant.errors import ConfigurationError, InputError
from quant.public import GROUPS, PublicRandomness
from quant.sparse import random_subset

LEAST_GROUP = 3
"""Sites in a group, at least: the server learns the sum of so many, instead of all."""

Method = Literal["median", "trimmed"]


@dataclass(frozen=True, slots=True)
class GroupCost:
    """What groups cost in privacy, and what they buy.

    Attributes:
        smallest_sum: sites in the smallest sum that the server sees, instead of the whole cohort.
        noise_share_growth: factor on the noise of every site, if each group's sum must be as private as the sum of all
            was: sqrt(cohort / smallest group).
        tolerated: groups, hence sites at least, that may be arbitrarily bad.
    """

    smallest_sum: int
    noise_share_growth: float
    tolerated: int


@dataclass(frozen=True, slots=True)
class GroupedMean:
    """A mean of group means that a few bad groups cannot move far, coordinate by coordinate.

    ``median``: the coordinate-wise median, safe while fewer than half of the groups hold a bad site. ``trimmed``: drop
    the ``trim`` smallest and largest values of every coordinate; safe up to ``trim`` bad groups, and closer to the
    mean. Exact: each combined coordinate lies between the least and the largest value of the good groups, as long as
    no more groups are bad than ``tolerated``. Source: Yin et al. 2018 ("Byzantine-robust distributed learning:
    towards optimal statistical rates"), applied to sums of groups instead of single sites.
    """

    groups: int
    method: Method = "median"
    trim: int = 1
    least: int = LEAST_GROUP

    def __post_init__(self) -> None:
        """Refuse what tolerates nobody, or hides nobody."""
        whole_number(self.groups, "groups", 3, 2**20)
        whole_number(self.least, "the least group size", 2, 2**20)
        if self.method not in get_args(Method):
            raise ConfigurationError(f"groups are combined by median or trimmed, not {self.method!r}")
        if self.method == "trimmed":
            whole_number(self.trim, "trim", 1, (self.groups - 1) // 2)

    @property
    def tolerated(self) -> int:
        """Groups that may be arbitrarily bad."""
        return self.trim if self.method == "trimmed" else (self.groups - 1) // 2

    def cost(self, clients: int) -> GroupCost:
        """State what grouping this cohort costs.

        Raises:
            ConfigurationError: groups would be smaller than ``least``.
        """
        smallest = whole_number(clients, "clients", 1, 2**40) // self.groups
        if smallest < self.least:
            raise ConfigurationError(
                f"{clients} sites in {self.groups} groups leave groups of {smallest}, but {self.least} is the least: "
                f"use at most {clients // self.least} groups"
            )
        return GroupCost(smallest, math.sqrt(clients / smallest), self.tolerated)

    def assign(self, clients: Sequence[int], public: PublicRandomness) -> tuple[tuple[int, ...], ...]:
        """Deal the sites into groups of equal size (up to one), by public randomness that no site could foresee.

        Raises:
            ConfigurationError: groups would be smaller than ``least``.
            InputError: a site named twice.
        """
        if len(set(clients)) != len(clients):
            raise InputError("a client is named twice")
        self.cost(len(clients))
        stream = public.stream(GROUPS)
        left = sorted(clients)
        dealt = []
        for number in range(self.groups):
            size = -(-len(left) // (self.groups - number))
            chosen = {left[place] for place in random_subset(stream, len(left), size).tolist()}
            dealt.append(tuple(sorted(chosen)))
            left = [client for client in left if client not in chosen]
        return tuple(dealt)

    def combine(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """Combine the decoded means of the groups, shape (groups, dim), to shape (dim,).

        Raises:
            InputError: another number of groups, or values that are not finite.
        """
        if means.ndim != 2 or means.shape[0] != self.groups:
            raise InputError(f"expected means of shape ({self.groups}, dim), one per group, not {means.shape}")
        if not np.all(np.isfinite(means)):
            raise InputError("the mean of a group is not finite")
        if self.method == "median":
            return np.asarray(np.median(means, axis=0))
        ordered = np.sort(means, axis=0)
        return np.asarray(np.mean(ordered[self.trim : self.groups - self.trim], axis=0))
