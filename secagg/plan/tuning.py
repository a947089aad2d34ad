"""``secagg plan --tune``: search codec, bits and bits per layer for accuracy on held-out data, with Optuna.

Two aims, accuracy and bytes. The first trial is the planner's own choice, so the search cannot end below it. What is
taken in the end is the setting of fewest bytes within `TOLERANCE` of plain float averaging, or if there is none the
most accurate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import quant
from secagg.errors import UsageError
from secagg.extras import require
from secagg.plan.goal import Goal, masked_bytes
from secagg.plan.rehearsal import Rehearsal, Task, accuracy_of

TOLERANCE = 0.005
"""Half a point of accuracy."""

MOST_BITS_MORE = 12
"""Fields of up to so many bits more than the cohort needs are searched."""

LEAST_STRETCH, MOST_STRETCH = 0.6, 1.8
"""The range is searched around the planner's, by these factors."""


@dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        quantization: its keys.
        codec: its name.
        wire_bits: of every layer, or one for all.
        accuracy: what the task returned.
        wire_bytes: bytes of one client's masked update, as a session sends it.
    """

    quantization: dict[str, Any]
    codec: str
    wire_bits: tuple[int, ...]
    accuracy: float
    wire_bytes: int


@dataclass(frozen=True)
class Tuned:
    """What the search found.

    Attributes:
        plain: accuracy of plain float averaging.
        best: the setting that is taken.
        trials: all that were tried, in order; the first is the planner's.
    """

    plain: float
    best: Trial
    trials: tuple[Trial, ...]

    @property
    def front(self) -> tuple[Trial, ...]:
        """The trials that no other beats in both accuracy and bytes, fewest bytes first."""
        ranked = sorted(self.trials, key=lambda trial: (trial.wire_bytes, -trial.accuracy))
        kept: list[Trial] = []
        for trial in ranked:
            if not kept or trial.accuracy > kept[-1].accuracy:
                kept.append(trial)
        return tuple(kept)


def tune(
    goal: Goal,
    first: dict[str, Any],
    task: Task,
    trials: int,
    *,
    sample: list[Any],
    layers: tuple[int, ...] = (),
    seed: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> Tuned:
    """Try ``trials`` settings, the first being ``first``; the same arguments give the same result.

    Args:
        goal: cohort and knowledge of updates; its target in bits or bytes caps what is tried.
        first: keys of the planner's choice.
        task: see `rehearsal`.
        trials: how many settings are tried.
        sample: sample updates, or none; needed for grids without rotation, and per layer.
        layers: lengths of the layers, if each may get bits of its own.
        seed: of the search and of the task.
        tick: called after every run of the task.

    Raises:
        UsageError: Optuna is missing, or the task does not do what it should.
    """
    require("--tune", "tune", "optuna")
    import optuna

    if trials < 1:
        raise UsageError(f"--tune {trials} tries nothing: give at least 1")
    if layers and (sum(layers) != goal.updates.dim or not sample):
        raise UsageError(
            "bits per layer need a --sample, and --layers whose lengths add up to its coordinates "
            f"({goal.updates.dim}), not {sum(layers)}"
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.TPESampler(seed=seed))
    space = _Space(goal, sample, layers)
    plain = accuracy_of(task, Rehearsal(None, goal.updates.dim, seed))
    tick()

    def run(quantization: dict[str, Any], codec: str, bits: tuple[int, ...]) -> Trial:
        accuracy = accuracy_of(task, Rehearsal(quantization, goal.updates.dim, seed))
        tick()
        return Trial(quantization, codec, bits, accuracy, masked_bytes(goal.clients, goal.updates.dim, quantization))

    width = quant.from_config(first, goal.updates.dim).facts.field_width(goal.clients)
    done = [run(first, "the planner's", (width,))]
    for _ in range(trials - 1):
        asked = search.ask()
        quantization, codec, bits = space.draw(asked)
        done.append(run(quantization, codec, bits))
        search.tell(asked, [done[-1].accuracy, float(done[-1].wire_bytes)])
    return Tuned(plain, _choose(done, plain), tuple(done))


def _choose(done: list[Trial], plain: float) -> Trial:
    """Take the fewest bytes that are accurate enough; of equal ones the most accurate, then the first."""
    good = [trial for trial in done if trial.accuracy >= plain - TOLERANCE]
    if good:
        return min(good, key=lambda trial: (trial.wire_bytes, -trial.accuracy))
    return max(done, key=lambda trial: trial.accuracy)


@dataclass(frozen=True)
class _Space:
    """What can be drawn: codec, field widths, and the range as a factor on the planner's."""

    goal: Goal
    sample: list[Any]
    layers: tuple[int, ...]

    @property
    def codecs(self) -> list[str]:
        rotated = ["rotation + dither", "rotation + stochastic"] if self.goal.joint_seed else []
        roundings = ["dither", "stochastic", "nearest"] if self.goal.joint_seed else ["stochastic", "nearest"]
        plain = roundings if self.sample else []
        return rotated + plain + [f"per layer, {rounding}" for rounding in plain if len(self.layers) > 1]

    @property
    def widths(self) -> tuple[int, int]:
        """Least and most bits of a field; the goal's target in bits or bytes is the cap."""
        least = self.goal.clients.bit_length()
        most = least + MOST_BITS_MORE
        if self.goal.wire_bits is not None:
            most = min(most, self.goal.wire_bits)
        if self.goal.wire_bytes is not None:
            most = min(most, 8 * self.goal.wire_bytes // self.goal.updates.dim)
        return least, max(least, most)

    def draw(self, trial: Any) -> tuple[dict[str, Any], str, tuple[int, ...]]:
        """Let the search choose one setting: its keys, its name, its bits."""
        codec = trial.suggest_categorical("codec", self.codecs)
        stretch = trial.suggest_float("stretch", LEAST_STRETCH, MOST_STRETCH, log=True)
        least, most = self.widths
        if codec.startswith("per layer"):
            widths = tuple(trial.suggest_int(f"bits {i}", least, most) for i in range(len(self.layers)))
            return self._layered(codec.removeprefix("per layer, "), widths, stretch), codec, widths
        width = trial.suggest_int("bits", least, most)
        setting = _best(self.goal, self.goal.updates, width, codec)
        keys = setting.config() | {"range": setting.range * stretch}
        return quant.from_config(keys, self.goal.updates.dim).config(), codec, (width,)

    def _layered(self, rounding: str, widths: tuple[int, ...], stretch: float) -> dict[str, Any]:
        stops = np.cumsum(self.layers).tolist()
        levels, ranges = [], []
        for stop, length, width in zip(stops, self.layers, widths, strict=True):
            part = [update[stop - length : stop] for update in self.sample]
            if not any(np.any(x) for x in part):  # a layer that never moves takes any grid
                part = [np.full(length, self.goal.updates.norm / self.goal.updates.dim)]
            setting = _best(self.goal, quant.Updates.sampled(part), width, rounding)
            levels.append(setting.levels)
            ranges.append(setting.range * stretch)
        keys: dict[str, Any] = {"layers": list(self.layers), "layer_levels": levels, "layer_ranges": ranges}
        keys |= {"rounding": rounding} | ({} if self.goal.updates.clip is None else {"clip": self.goal.updates.clip})
        return quant.from_config(keys, self.goal.updates.dim).config()


def _best(goal: Goal, updates: quant.Updates, width: int, codec: str) -> quant.Setting:
    """Give the planner's setting of one codec in one field width."""
    found = quant.plan(goal.clients, updates, width=width, public=goal.joint_seed).alternatives
    rotation, rounding = codec.startswith("rotation"), codec.removeprefix("rotation + ")
    return next(setting for setting in found if (setting.rotation, setting.rounding) == (rotation, rounding))
