"""``secagg demo --sweep epsilon``: what privacy costs at which epsilon and with how many drop-outs, over many seeds.

Every distributed run goes through the real protocol, masks, noise and ledgers included. Arms are paired: they learn
from the same patients, from the same start, and lose the same sites in the same rounds. Noise is nobody's to fix, so it
differs between any two runs; the baselines, which cost little, are run `REDRAWN` times a seed and averaged, so that
their luck does not blur the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from time import perf_counter
from typing import Any

from secagg.demo.private.baselines import Baseline, NoiseBy
from secagg.demo.private.federation import Distributed
from secagg.demo.private.hospitals import Hospitals
from secagg.demo.private.learner import accuracy
from secagg.demo.private.setting import PrivateConfig
from secagg.errors import UsageError

EPSILONS = (0.5, 1.0, 3.0, 8.0)
DROPOUTS = (0, 2, 4)
REDRAWN = 4
TOLERATED = 0.01
"""One point of accuracy."""


@dataclass(frozen=True, slots=True)
class Paired:
    """A mean difference of two arms over the seeds, in shares of 1.

    Attributes:
        mean: of the differences.
        error: its standard error; 0 with one seed.
    """

    mean: float
    error: float

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Paired:
        """Compare seed by seed."""
        differences = [a - b for a, b in zip(ours, theirs, strict=True)]
        spread = stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
        return cls(fmean(differences), spread)


@dataclass(frozen=True, slots=True)
class Cell:
    """One epsilon with one number of drop-outs, over all seeds.

    Attributes:
        epsilon: promised to every patient.
        dropouts: sites that vanish in every round, half of them before their input is in, half after.
        runs: seeds.
        accuracy: arm to mean final accuracy, 0 .. 1.
        against_trusted, against_local: the distributed arm less the other.
        noise: standard deviation of the noise in the sum, over the trusted server's, mean over rounds.
        wire_bits: of one field.
        exact: whether every opened sum was exact.
        claimed: epsilon that the accountant claims.
    """

    epsilon: float
    dropouts: int
    runs: int
    accuracy: dict[str, float]
    against_trusted: Paired
    against_local: Paired
    noise: float
    wire_bits: int
    exact: bool
    claimed: float

    @property
    def within(self) -> bool:
        """Whether at most one point is lost to the trusted server, on the mean."""
        return self.against_trusted.mean >= -TOLERATED


@dataclass(frozen=True, slots=True)
class Study:
    """A finished study.

    Attributes:
        config: what all cells share.
        cells: by drop-outs, then by epsilon.
        seconds: wall-clock time.
    """

    config: PrivateConfig
    cells: tuple[Cell, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON types."""
        config = self.config
        return {
            "sweep": "epsilon",
            "dataset": config.dataset,
            "sites": config.sites,
            "rounds": config.rounds,
            "bits": config.bits,
            "skew": config.skew,
            "delta": config.delta,
            "unit": "patient",
            "relation": "add or remove",
            "threshold": config.threshold,
            "colluders": config.colluders,
            "learning_rate": config.rate,
            "masked": True,
            "baselines_redrawn": REDRAWN,
            "rows": [asdict(cell) | {"within_one_point": cell.within} for cell in self.cells],
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class _Run:
    accuracy: dict[str, float]
    noise: float
    wire_bits: int
    exact: bool
    claimed: float


def run_study(
    config: PrivateConfig,
    seeds: Sequence[int],
    progress: Callable[[str], object] = lambda _: None,
    epsilons: Sequence[float] = EPSILONS,
    dropouts: Sequence[int] = DROPOUTS,
) -> Study:
    """Run all cells for all seeds.

    Args:
        config: what all cells share; its epsilon, dropout and seed are not used.
        seeds: of data and drop-outs.
        progress: called after every run with what was run; `count_runs` says how often.
        epsilons: promises.
        dropouts: sites that vanish in every round.

    Raises:
        UsageError: no seeds, or a cell that cannot be run.
    """
    if not seeds:
        raise UsageError("a study needs at least one seed: give --repeats 1 or more")
    started = perf_counter()
    cells = []
    for dropped in dropouts:
        for epsilon in epsilons:
            cell = replace(config, epsilon=epsilon, dropout=float(dropped))
            runs = []
            for seed in seeds:
                runs.append(_run(replace(cell, seed=seed)))
                progress(f"epsilon {epsilon:g}, {dropped} dropping")
            cells.append(_cell(cell, runs))
    return Study(config, tuple(cells), perf_counter() - started)


def count_runs(config: PrivateConfig, seeds: Sequence[int]) -> int:
    """How many runs through the protocol a study takes."""
    return len(EPSILONS) * len(possible(config)) * len(seeds)


def possible(config: PrivateConfig) -> tuple[int, ...]:
    """Give the drop-outs of `DROPOUTS` that the cohort survives."""
    return tuple(dropped for dropped in DROPOUTS if dropped <= config.sites - config.threshold)


def _run(config: PrivateConfig) -> _Run:
    hospitals = Hospitals.deal(config.dataset, config.sites, config.skew, config.seed)
    secure, noise, exact = Distributed(config, hospitals), [], True
    arms: dict[str, tuple[NoiseBy, int]] = {"trusted": ("server", REDRAWN), "local": ("local", REDRAWN)}
    arms["open"] = ("none", 1)
    others = {arm: [Baseline(config, hospitals, noise=by) for _ in range(count)] for arm, (by, count) in arms.items()}
    for round_index in range(config.rounds):
        advanced = secure.advance(round_index)
        exact = exact and advanced.record.exact
        noise.append(advanced.noise / config.central_sigma)
        for other in (one for several in others.values() for one in several):
            other.advance(advanced.opened.included)
    found = {arm: fmean(accuracy(one.weights, hospitals.test) for one in several) for arm, several in others.items()}
    found["distributed"] = accuracy(secure.weights, hospitals.test)
    return _Run(found, fmean(noise), secure.fitted.width, exact, secure.fitted.claim.epsilon)


def _cell(config: PrivateConfig, runs: Sequence[_Run]) -> Cell:
    by_arm = {arm: [run.accuracy[arm] for run in runs] for arm in runs[0].accuracy}
    return Cell(
        epsilon=config.epsilon,
        dropouts=config.dropouts_per_round,
        runs=len(runs),
        accuracy={arm: fmean(found) for arm, found in by_arm.items()},
        against_trusted=Paired.of(by_arm["distributed"], by_arm["trusted"]),
        against_local=Paired.of(by_arm["distributed"], by_arm["local"]),
        noise=fmean(run.noise for run in runs),
        wire_bits=runs[0].wire_bits,
        exact=all(run.exact for run in runs),
        claimed=runs[0].claimed,
    )
