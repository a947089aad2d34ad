"""Accuracy over a range of settings: bits by scheme, skew, cohort size, mixed precision.

Every point is trained from the same seeds through quantization and in plain floats; what differs is what quantization
costs. To be quick, integers are added without masks, which changes no bit of the result: one point is run through the
protocol too, round by round, and compared. Rows say which they are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import Any

from secagg.demo.config import DemoConfig
from secagg.demo.federation import Plain, Secure
from secagg.demo.models import one_torch_thread
from secagg.demo.training import Consortium
from secagg.demo.unmasked import included_by
from secagg.errors import UsageError

BITS = (2, 3, 4, 5, 6, 8)
SCHEMES = ("stochastic", "nearest", "dither", "rotation-dither", "nearest+feedback")
SKEWS = ("iid", "label:1", "label:0.5", "label:0.2", "label:0.05", "quantity:0.5")
SITES = (3, 5, 10, 20, 35, 50)
COARSER = (0, 1, 2, 3, 4, 5)
AXES = ("bits", "skew", "sites", "mixed")
TOLERATED = 0.01
"""One point of accuracy."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of a sweep.

    Attributes:
        scheme: name of the line that the point belongs to.
        value: place on the axis.
        config: what is run there, by seed.
    """

    scheme: str
    value: str
    config: DemoConfig


@dataclass(frozen=True, slots=True)
class Row:
    """What a point gave, over all seeds.

    Attributes:
        scheme, value: see `Setting`.
        bits: of the finest site's grid.
        runs: seeds.
        accuracy, accuracy_plain: mean final accuracy, 0 .. 1.
        loss: accuracy_plain - accuracy.
        error: standard error of the loss over the seeds; 0 with one seed.
        masked: whether the protocol ran.
    """

    scheme: str
    value: str
    bits: int
    runs: int
    accuracy: float
    accuracy_plain: float
    loss: float
    error: float
    masked: bool


@dataclass(frozen=True, slots=True)
class Sweep:
    """A finished sweep.

    Attributes:
        axis: one of `AXES`.
        config: what all points share.
        rows: the points, without masks.
        masked: the one point that was also run through the protocol.
        equal: whether every sum of it equalled the sum in the clear, bit for bit.
    """

    axis: str
    config: DemoConfig
    rows: tuple[Row, ...]
    masked: Row
    equal: bool

    @property
    def least_bits(self) -> dict[str, int | None]:
        """For each scheme the fewest bits from which on it loses at most one point; ``None`` if it always loses more.

        Empty unless the axis is ``bits``.
        """
        if self.axis != "bits":
            return {}
        found: dict[str, int | None] = {}
        for scheme in dict.fromkeys(row.scheme for row in self.rows):
            found[scheme] = None
            for row in sorted((r for r in self.rows if r.scheme == scheme), key=lambda r: -r.bits):
                if row.loss > TOLERATED:
                    break
                found[scheme] = row.bits
        return found

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON types."""
        return {
            "sweep": self.axis,
            "dataset": self.config.dataset,
            "sites": self.config.sites,
            "rounds": self.config.rounds,
            "bits": self.config.bits,
            "skew": self.config.skew,
            "masked": False,
            "masked_point": asdict(self.masked),
            "masked_point_equal_bit_for_bit": self.equal,
            "bits_within_one_point": self.least_bits,
            "rows": [asdict(row) for row in self.rows],
        }


def settings(axis: str, config: DemoConfig) -> tuple[Setting, ...]:
    """Give the points of a sweep.

    Raises:
        UsageError: an unknown axis.
    """
    if axis == "bits":
        return tuple(
            Setting(scheme, str(bits), replace(_schemed(config, scheme), bits=bits))
            for scheme in SCHEMES
            for bits in BITS
        )
    if axis == "skew":
        return tuple(Setting(config.scheme, skew, replace(config, skew=skew)) for skew in SKEWS)
    if axis == "sites":
        return tuple(Setting(config.scheme, str(sites), replace(config, sites=sites, dropout=None)) for sites in SITES)
    if axis == "mixed":
        coarser = [shift for shift in COARSER if shift < config.bits]
        return tuple(Setting(config.scheme, str(shift), replace(config, coarser=shift)) for shift in coarser)
    raise UsageError(f"unknown sweep {axis!r}: choose one of {', '.join(AXES)}")


def _schemed(config: DemoConfig, scheme: str) -> DemoConfig:
    name, _, feedback = scheme.partition("+")
    return replace(config, scheme=name, error_feedback=bool(feedback))


def run_sweep(
    axis: str, config: DemoConfig, seeds: Sequence[int], progress: Callable[[str], object] = lambda _: None
) -> Sweep:
    """Run all points for all seeds, and one of them through the protocol.

    Args:
        axis: one of `AXES`.
        config: what all points share; its ``seed`` is not used.
        seeds: of data, training and drop-outs.
        progress: called after every run with what was run; `count_runs` says how often.

    Raises:
        UsageError: an unknown axis, no seeds, or a point that the data set cannot serve.
    """
    if not seeds:
        raise UsageError("a sweep needs at least one seed: give --repeats 1 or more")
    runner = _Runner(progress)
    with one_torch_thread():
        points = settings(axis, config)
        rows = tuple(runner.row(point, seeds) for point in points)
        middle = points[len(points) // 2]
        masked, equal = runner.masked_row(middle, seeds[0])
    return Sweep(axis, config, rows, masked, equal)


def count_runs(axis: str, config: DemoConfig, seeds: Sequence[int]) -> int:
    """How many trainings a sweep takes: one a point and seed, one in plain floats where data differ, one masked."""
    points = settings(axis, config)
    return len(points) * len(seeds) + len({_plain_key(point.config) for point in points}) * len(seeds) + 1


def _plain_key(config: DemoConfig) -> DemoConfig:
    """Give the setting with all that plain float averaging does not know of left out."""
    plain = DemoConfig()
    return replace(
        config,
        bits=plain.bits,
        scheme=plain.scheme,
        error_feedback=False,
        coarser=0,
        downlink_bits=None,
        range=None,
        adaptive_clip=None,
        adaptive_bits=None,
        monitor=True,
    )


class _Runner:
    """Runs single trainings and remembers those in plain floats."""

    def __init__(self, progress: Callable[[str], object]) -> None:
        self._progress = progress
        self._plain: dict[DemoConfig, float] = {}

    def row(self, point: Setting, seeds: Sequence[int]) -> Row:
        """Run one point for all seeds, without masks."""
        pairs = []
        for seed in seeds:
            config = replace(point.config, seed=seed)
            accuracy, _ = self._secure(config, masked=False)
            self._progress(f"{point.scheme}, {point.value}")
            pairs.append((accuracy, self.plain(config)))
        return _row(point, pairs, masked=False)

    def masked_row(self, point: Setting, seed: int) -> tuple[Row, bool]:
        """Run one point for one seed through the protocol, comparing every sum with that in the clear."""
        config = replace(point.config, seed=seed)
        accuracy, equal = self._secure(config, masked=True)
        self._progress("through the protocol")
        return _row(point, [(accuracy, self.plain(config))], masked=True), equal

    def plain(self, config: DemoConfig) -> float:
        """Give the final accuracy of plain float averaging."""
        key = _plain_key(config)
        if key not in self._plain:
            consortium = Consortium(key)
            plain = Plain(key, consortium, together=True)
            for round_index in range(key.rounds):
                plain.advance(round_index, included_by(key.sites, key.dropouts(round_index)))
            self._plain[key] = consortium.accuracy(plain.model)
            self._progress("plain floats")
        return self._plain[key]

    @staticmethod
    def _secure(config: DemoConfig, *, masked: bool) -> tuple[float, bool]:
        consortium = Consortium(config)
        secure = Secure(config, consortium, masked=masked, compare=masked, together=True)
        rounds = [secure.advance(round_index) for round_index in range(config.rounds)]
        return consortium.accuracy(secure.shown), all(advanced.equal for advanced in rounds)


def _row(point: Setting, pairs: Sequence[tuple[float, float]], *, masked: bool) -> Row:
    losses = [plain - accuracy for accuracy, plain in pairs]
    return Row(
        point.scheme,
        point.value,
        point.config.bits,
        len(pairs),
        fmean(accuracy for accuracy, _ in pairs),
        fmean(plain for _, plain in pairs),
        fmean(losses),
        stdev(losses) / len(losses) ** 0.5 if len(losses) > 1 else 0.0,
        masked,
    )


def lines(sweep: Sweep) -> Iterator[tuple[str, list[Row]]]:
    """Give the rows scheme by scheme, in the order of the axis."""
    for scheme in dict.fromkeys(row.scheme for row in sweep.rows):
        yield scheme, [row for row in sweep.rows if row.scheme == scheme]
