"""The planner: from a cohort and a budget to the setting with the least predicted error, and what the others cost.

Pure: no data of a round goes in, only public numbers (clients, dim, clip) or a public sample of updates.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quant.capacity import field_width, max_levels
from quant.checks import positive_bound, whole_number
from quant.errors import ConfigurationError
from quant.grid import MAX_DITHER_LEVELS, MAX_LEVELS, Rounding, UniformGrid
from quant.lanes import MAX_DIM, LaneLayout
from quant.prediction import Prediction, predict
from quant.transforms import HadamardRotation
from quant.vectors import FloatVector, as_vector, magnitude

MAX_PLANNED_WIDTH = 40
LEAST_SIGMAS, MOST_SIGMAS = 0.05, 12.0
"""Bracket of the search for the range. Beyond 12 deviations nothing saturates any more in float64."""

BIAS_MARGIN = 1.04
"""Nearest rounding is chosen if it is predicted to be 4 % better: its errors do not average out over rounds."""

MOST_SPARE_BITS = 10
"""Fields of sparse settings are at most so much wider than the cohort needs: a coordinate more is worth more."""

NORM_GROUPS = 5
"""Norms of a sample are summarised by so many averages."""

GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Updates:
    """What is known of the updates before a round, all of it public.

    Attributes:
        dim: number of coordinates.
        norm: root mean square of their Euclidean norms; the clip, if nothing else is known.
        agreement: correlation of two clients' updates, in [0, 1]; 1, all alike, is the worst case and the default.
        clip: L2 clip, if there is one.
        spread: coordinates of sample updates, in units of their root mean square, sorted by magnitude; needed to
            judge grids without rotation.
        norms: norms that occur, in units of ``norm``.
    """

    dim: int
    norm: float
    agreement: float = 1.0
    clip: float | None = None
    spread: tuple[float, ...] = ()
    norms: tuple[float, ...] = (1.0,)

    @classmethod
    def bounded(cls, dim: int, clip: float) -> "Updates":
        """Know only that norms are at most ``clip``: plan for vectors of that norm that all agree."""
        bound = positive_bound(clip, "the L2 clip bound")
        return cls(whole_number(dim, "dim", 1, MAX_DIM), bound, 1.0, bound)

    @classmethod
    def sampled(cls, updates: Sequence[FloatVector], clip: float | None = None) -> "Updates":
        """Measure a public sample: updates of one round on public data, of as many sites as there are.

        The correlation is (|mean|^2 m / |x|^2 - 1) / (m - 1) over m updates; a single update tells nothing of it.

        Raises:
            ConfigurationError: no update, or only zeros.
            InputError: updates that are not finite vectors of one length.
        """
        if not len(updates):
            raise ConfigurationError("a sample needs at least one update")
        vectors = [as_vector(update, updates[0].size).astype(np.float64) for update in updates]
        if max(magnitude(vector) for vector in vectors) == 0:
            raise ConfigurationError("the sample is all zeros; its scale is unknown")
        stacked = np.stack(vectors)
        square, count = float(np.mean(np.sum(stacked**2, axis=1))), len(vectors)
        agreement = 1.0
        if count > 1:
            shared = float(np.sum(np.mean(stacked, axis=0) ** 2)) / square
            agreement = min(max((shared * count - 1) / (count - 1), 0.0), 1.0)
        groups = np.array_split(np.sort(np.sum(stacked**2, axis=1)), min(count, NORM_GROUPS))
        norms = tuple(math.sqrt(max(float(np.mean(group)) / square, 1e-6)) for group in groups)
        sizes = np.sort(np.abs(stacked), axis=None) / math.sqrt(square / stacked.shape[1])
        kept = sizes[:: max(1, sizes.size // 20_000)]
        norm = math.sqrt(square)
        bound = None if clip is None else positive_bound(clip, "the L2 clip bound")
        if bound is not None and norm > bound:
            norm = bound
        return cls(stacked.shape[1], norm, agreement, bound, tuple(kept.tolist()), norms)


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to encode, and its predicted error.

    Attributes:
        width: bits of one field on the wire, for the sum of the cohort.
        levels: of the grid.
        range: of the grid.
        rounding: how it rounds.
        rotation: whether updates are rotated first.
        kept: coordinates that are sent, if not all.
        error: predicted NMSE of the mean: |error|^2 / mean |x|^2.
        saturated: predicted share of coordinates beyond the range.
        wire_bytes: bytes of one masked vector: lanes without the bits that they do not use.
        clip: L2 clip, if there is one.
    """

    width: int
    levels: int
    range: float
    rounding: Rounding
    rotation: bool
    kept: int | None
    error: float
    saturated: float
    wire_bytes: int
    clip: float | None

    def config(self) -> dict[str, object]:
        """Give the preset keys of this setting, for ``presets.from_config``."""
        keys: dict[str, object] = {"levels": self.levels, "range": self.range, "rounding": self.rounding}
        keys |= {"clip": self.clip} if self.clip is not None else {}
        keys |= {"rotation": True} if self.rotation else {}
        return keys | ({"random_k": self.kept} if self.kept is not None else {})


@dataclass(frozen=True, slots=True)
class Plan:
    """The best setting, or the nearest feasible one.

    Attributes:
        feasible: whether ``best`` meets what was asked for.
        best: the setting of least predicted error that does, or else the nearest.
        alternatives: all settings that were compared, best first.
        reason: why it is infeasible; empty if it is not.
    """

    feasible: bool
    best: Setting
    alternatives: tuple[Setting, ...]
    reason: str = ""

    def table(self) -> str:
        """Give the alternatives as text, one line each."""
        head = f"width {'levels':>11} {'range':>10} {'rounding':<11}{'rotate':<7}{'kept':>9} {'NMSE':>10} {'bytes':>12}"
        rows = [
            f"{s.width:>5} {s.levels:>11} {s.range:>10.4g} {s.rounding:<11}{'yes' if s.rotation else 'no':<7}"
            f"{s.kept or 'all':>9} {s.error:>10.3g} {s.wire_bytes:>12}"
            for s in self.alternatives
        ]
        return "\n".join([head, *rows])


def plan(
    clients: int,
    updates: Updates,
    *,
    width: int | None = None,
    error: float | None = None,
    wire_bytes: int | None = None,
    public: bool = True,
    sparse: bool = False,
) -> Plan:
    """Choose rotation, rounding, levels, range and field width for a cohort and one target.

    For every candidate the range is searched between 0.05 and 12 standard deviations, where rounding error grows and
    saturation error shrinks, by golden section: their sum is convex, so the bracket holds the minimum.

    Args:
        clients: n, the size of the cohort.
        updates: what is known of them.
        width: target: bits of a field on the wire.
        error: target: NMSE at most this, with as few bits as possible.
        wire_bytes: target: bytes of one masked vector at most this.
        public: whether the sites share a seed, which rotation, dither and random_k need.
        sparse: whether coordinates may be left out (SRHT) where bytes are short.

    Raises:
        ConfigurationError: not exactly one target, or a number that makes no sense.
        CapacityError: no field at all could add up the cohort.
    """
    clients = whole_number(clients, "clients", 1, 2**MAX_PLANNED_WIDTH - 1)
    if sum(target is not None for target in (width, error, wire_bytes)) != 1:
        raise ConfigurationError("give exactly one target: width, error or wire_bytes")
    if not public and not updates.spread:
        raise ConfigurationError("without public randomness there is no rotation: give a sample of updates")
    least = max(clients.bit_length(), 1)
    if width is not None:
        width = whole_number(width, "the field width", 1, MAX_PLANNED_WIDTH)
        chosen = max(width, least)
        found = _ranked(_candidates(clients, updates, chosen, public))
        reason = f"{clients} clients need fields of at least {least} bits, not {width}" if width < least else ""
        return Plan(not reason, found[0], found, reason)
    if error is not None:
        return _for_error(clients, updates, positive_bound(error, "the target error"), public, least)
    return _for_bytes(clients, updates, whole_number(wire_bytes, "wire_bytes", 1, 2**50), public, sparse, least)


def assess(clients: int, updates: Updates, grid: UniformGrid, *, rotation: bool) -> Setting:
    """Predict the error of a setting that somebody else chose, as `plan` predicts its own.

    Raises:
        ConfigurationError: without rotation, if no sample says how coordinates are spread.
        CapacityError: the sum of this cohort fits no field.
    """
    if not rotation and not updates.spread:
        raise ConfigurationError("a grid without rotation can be judged only with a sample of updates")
    encoded = HadamardRotation().out_dim(updates.dim) if rotation else updates.dim
    rounding: Rounding = "stochastic" if grid.rounding == "conditional" else grid.rounding
    sigma = updates.norm / math.sqrt(encoded)
    predicted = _judge(clients, updates, grid.levels, rounding, rotation)(grid.bound / sigma)
    width = field_width(grid.levels, clients)
    return Setting(
        width, grid.levels, grid.bound, grid.rounding, rotation, None, predicted.total * updates.dim / encoded,
        predicted.saturated, _wire_bytes(encoded, width), updates.clip,
    )  # fmt: skip


def _for_error(clients: int, updates: Updates, error: float, public: bool, least: int) -> Plan:
    """Take the narrowest fields that reach the error."""
    found: tuple[Setting, ...] = ()
    for width in range(least, MAX_PLANNED_WIDTH + 1):
        found = _ranked(_candidates(clients, updates, width, public))
        if found[0].error <= error:
            return Plan(True, found[0], found)
    best = found[0]
    return Plan(False, best, found, f"no field of at most {MAX_PLANNED_WIDTH} bits gets below {best.error:.3g}")


def _for_bytes(clients: int, updates: Updates, budget: int, public: bool, sparse: bool, least: int) -> Plan:
    """Take the best of all widths that fit, with coordinates left out where they must be."""
    found: list[Setting] = []
    for width in range(least, MAX_PLANNED_WIDTH + 1):
        for setting in _candidates(clients, updates, width, public):
            if setting.wire_bytes <= budget:
                found.append(setting)
            elif (
                sparse
                and setting.rotation
                and width <= least + MOST_SPARE_BITS
                and (kept := 8 * budget // (width * (64 // width)) * (64 // width))
            ):
                found.append(_thinned(setting, updates, clients, kept))
    if found:
        ranked = _ranked(iter(found))
        return Plan(True, ranked[0], ranked)
    nearest = _ranked(_candidates(clients, updates, least, public))
    reason = f"all coordinates in the narrowest fields ({least} bits) take {nearest[0].wire_bytes} bytes, not {budget}"
    return Plan(False, nearest[0], nearest, reason)


def _candidates(clients: int, updates: Updates, width: int, public: bool) -> Iterator[Setting]:
    """Give the best range of every combination of rotation and rounding in fields of one width."""
    levels = min(max_levels(width, clients), MAX_LEVELS)
    roundings: tuple[Rounding, ...] = ("dither", "stochastic", "nearest") if public else ("stochastic", "nearest")
    for rotation in (True, False):
        if (rotation and not public) or (not rotation and not updates.spread):
            continue
        encoded = HadamardRotation().out_dim(updates.dim) if rotation else updates.dim
        sigma = updates.norm / math.sqrt(encoded)
        for rounding in roundings:
            most = min(levels, MAX_DITHER_LEVELS) if rounding == "dither" else levels
            judge = _judge(clients, updates, most, rounding, rotation)
            sigmas = _best_sigmas(judge, updates, rotation)
            predicted = judge(sigmas)
            share = updates.dim / encoded  # errors in the padding are thrown away
            needed = field_width(most, clients)  # less than offered where no grid has so many levels
            yield Setting(
                needed, most, sigmas * sigma, rounding, rotation, None,
                predicted.total * share, predicted.saturated, _wire_bytes(encoded, needed), updates.clip,
            )  # fmt: skip


def _judge(
    clients: int, updates: Updates, levels: int, rounding: Rounding, rotation: bool
) -> Callable[[float], Prediction]:
    """Give the prediction as a function of the range in standard deviations."""
    if rotation:
        return lambda sigmas: _of_norms(sigmas, levels, clients, updates, rounding)
    sizes = np.array(updates.spread)  # from here on an upper bound: errors may agree less than updates do
    weight = 1 / clients + (clients - 1) / clients * updates.agreement

    def judge(sigmas: float) -> Prediction:
        normal = predict(sigmas, levels, clients, updates.agreement, rounding)
        beyond = np.maximum(sizes - sigmas, 0)
        overload = float(np.mean(beyond**2)) * weight
        rounded = normal.rounding
        if rounding in ("stochastic", "nearest"):  # what the normal law says of fractions of a step is not true here
            step = 2 * sigmas / (levels - 1)
            fraction = (np.minimum(sizes, sigmas) / step + (levels - 1) / 2) % 1
            if rounding == "stochastic":
                rounded = float(np.mean(fraction * (1 - fraction))) * step**2 / clients
            else:
                rounded = float(np.mean(np.minimum(fraction, 1 - fraction) ** 2)) * step**2 * weight
        return replace(normal, rounding=rounded, overload=overload, saturated=float(np.mean(beyond > 0)))

    return judge


def _of_norms(sigmas: float, levels: int, clients: int, updates: Updates, rounding: Rounding) -> Prediction:
    """Average the prediction over the norms that occur: long updates saturate more."""
    parts = [(norm**2, predict(sigmas / norm, levels, clients, updates.agreement, rounding)) for norm in updates.norms]
    return Prediction(
        sum(square * part.rounding for square, part in parts) / len(parts),
        sum(square * part.overload for square, part in parts) / len(parts),
        sum(part.saturated for _, part in parts) / len(parts),
    )


def _best_sigmas(judge: Callable[[float], Prediction], updates: Updates, rotation: bool) -> float:
    """Search the range; without rotation up to the largest coordinate of the sample."""
    most = MOST_SIGMAS if rotation else max(updates.spread[-1], 2 * LEAST_SIGMAS)
    return minimum(lambda sigmas: judge(sigmas).total, LEAST_SIGMAS, most)


def _thinned(setting: Setting, updates: Updates, clients: int, kept: int) -> Setting:
    """Predict the same setting with only ``kept`` random coordinates: the error grows by (d / k - 1) |mean|^2.

    The rounding error of a kept coordinate counts (d / k)^2 times, in k of d coordinates.
    """
    encoded = HadamardRotation().out_dim(updates.dim)
    gain = encoded / kept
    lost = (gain - 1) * (1 / clients + (clients - 1) / clients * updates.agreement)
    return replace(setting, kept=kept, error=setting.error * gain + lost, wire_bytes=_wire_bytes(kept, setting.width))


def _wire_bytes(dim: int, width: int) -> int:
    """Give the bytes of a packed vector."""
    layout = LaneLayout(dim, width)
    return -(-layout.lanes * layout.lane_bits // 8)


def _ranked(settings: Iterator[Setting]) -> tuple[Setting, ...]:
    """Give all settings, least error first; biased ones only if they are clearly better."""

    def cost(setting: Setting) -> tuple[float, int]:
        return setting.error * (BIAS_MARGIN if setting.rounding == "nearest" else 1.0), setting.wire_bytes

    return tuple(sorted(settings, key=cost))


def minimum(function: Callable[[float], float], low: float, high: float, relative: float = 2e-3) -> float:
    """Find where a function with one valley is least, between two positive ends; golden section on a log scale."""
    left, right = math.log(low), math.log(high)
    first, second = right - GOLDEN * (right - left), left + GOLDEN * (right - left)
    at_first, at_second = function(math.exp(first)), function(math.exp(second))
    while right - left > relative:
        if at_first <= at_second:
            right, second, at_second = second, first, at_first
            first = right - GOLDEN * (right - left)
            at_first = function(math.exp(first))
        else:
            left, first, at_first = first, second, at_second
            second = left + GOLDEN * (right - left)
            at_second = function(math.exp(second))
    return math.exp((left + right) / 2)
