"""What is wanted, and the decision: the chosen setting, its rivals in the same field, and other field widths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import quant
from quant.planning import MAX_PLANNED_WIDTH
from secagg.config import UPDATE, RoundConfig
from secagg.errors import UsageError

DEFAULT_ERROR = 1e-3
"""Target where none is given: a mean that is off by 3 % of an update's length."""

NEARBY_WIDTHS = 4
"""Field widths shown on either side of the chosen one."""


@dataclass(frozen=True)
class Goal:
    """A cohort, its updates, and exactly one target.

    Attributes:
        clients: size of the cohort.
        updates: what is known of the updates, all of it public.
        wire_bits: target: bits of one field on the wire.
        error: target: NMSE of the mean, |error|^2 / mean |x|^2.
        wire_bytes: target: bytes of one masked vector.
        joint_seed: whether the sites make a random seed together, as rotation and dither need.
        sparse: whether coordinates may be left out where bytes are short.

    Raises:
        UsageError: fewer than three clients, or more than one target.
    """

    clients: int
    updates: quant.Updates
    wire_bits: int | None = None
    error: float | None = None
    wire_bytes: int | None = None
    joint_seed: bool = True
    sparse: bool = False

    def __post_init__(self) -> None:
        """Take the default target if there is none."""
        if self.clients < 3:
            raise UsageError(f"{self.clients} clients are too few: a sum of fewer than 3 hides nobody")
        targets = [self.wire_bits, self.error, self.wire_bytes]
        if sum(target is not None for target in targets) > 1:
            raise UsageError("give one target: --wire-bits, --error or --bytes")
        if all(target is None for target in targets):
            object.__setattr__(self, "error", DEFAULT_ERROR)

    @property
    def target(self) -> str:
        """The target in words."""
        if self.wire_bits is not None:
            return f"least error in fields of {self.wire_bits} bits"
        if self.wire_bytes is not None:
            return f"least error in {self.wire_bytes:,} bytes per masked vector"
        return f"fewest bits for an error of at most {self.error:g}"


@dataclass(frozen=True)
class Decision:
    """What `decide` found.

    Attributes:
        goal: what was wanted.
        plan: the chosen setting (the nearest feasible one if ``plan.feasible`` is false) and its rivals.
        widths: the best setting of each field width around the chosen one, narrowest first.
    """

    goal: Goal
    plan: quant.Plan
    widths: tuple[quant.Setting, ...]

    @property
    def quantization(self) -> dict[str, object]:
        """The keys of the best setting, as a study's ``[quantization]`` table writes them."""
        return quant.from_config(self.plan.best.config(), self.goal.updates.dim).config()


def decide(goal: Goal) -> Decision:
    """Choose rotation, rounding, levels, range and field width.

    Raises:
        quant.QuantError: numbers that make no round.
    """
    found = quant.plan(
        goal.clients,
        goal.updates,
        width=goal.wire_bits,
        error=goal.error,
        wire_bytes=goal.wire_bytes,
        public=goal.joint_seed,
        sparse=goal.sparse,
    )
    least, middle = goal.clients.bit_length(), found.best.width
    around = range(max(least, middle - NEARBY_WIDTHS), min(middle + NEARBY_WIDTHS, MAX_PLANNED_WIDTH) + 1)
    near = [quant.plan(goal.clients, goal.updates, width=width, public=goal.joint_seed).best for width in around]
    return Decision(goal, found, tuple(near))


def judge(goal: Goal, quantization: dict[str, Any]) -> quant.Setting | None:
    """Predict what the present settings of a study would do; ``None`` where there is no prediction.

    Raises:
        quant.QuantError: settings that make no codec, or that this cohort overflows.
    """
    codec = quant.from_config(quantization, goal.updates.dim)
    plain = all(isinstance(stage, quant.HadamardRotation) for stage in codec.transforms)
    if not isinstance(codec.grid, quant.UniformGrid) or not plain:
        return None
    if not codec.transforms and not goal.updates.spread:
        return None
    return quant.assess(goal.clients, goal.updates, codec.grid, rotation=bool(codec.transforms))


def masked_bytes(clients: int, dim: int, quantization: dict[str, Any]) -> int:
    """Give the bytes of one client's masked update, as a session of these settings sends it.

    Raises:
        quant.QuantError: settings that make no codec, or that this cohort overflows.
    """
    layout = quant.Layout.of(np.zeros(dim, np.float32))
    config = RoundConfig(tuple(range(1, clients + 1)), layout, quantization)
    return next(vector.packed_bytes for vector in config.params.vectors if vector.name == UPDATE)
