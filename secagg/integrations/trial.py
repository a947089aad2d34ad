"""A trial round inside a stack: made-up updates that lie on the grid, so that the sum can be checked to the last unit.

``python -m secagg.integrations.flower.trial`` and ``python -m secagg.integrations.nvflare.trial`` run it: they tell
whether the adapter works in this installation, and what a round costs in it.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocols import Secret
from protocols.pairwise import Roster
from secagg.inprocess import simulated_identities

SETTINGS = "SECAGG_TRIAL"
"""Environment variable that names the file of settings, for the processes that a stack starts."""

NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
"""Environment variable that the processes of a stack must not inherit: with it, each of them compiles its sources anew
(measured: 2 of the 4 CPU seconds that an app of Flower takes to start)."""

QUANTIZATION = {"bits": 16, "range": 65535 / 65536}
"""A grid of odd multiples of 2^-16: exact in float32."""


@dataclass(frozen=True)
class Trial:
    """What is tried.

    Attributes:
        nodes: sites; their places count from 0.
        dim: coordinates of the one array.
        rounds: rounds.
        dropped: so many sites fail while they train, in every round but the first.
        system: ``"secagg"``, the stack's ``"plain"`` mean, ``"peer"``: the stack's own secure aggregation, or
            ``"hostile"``: an app that does not mask.
        adversary: ``"curious"`` or ``"active"``; the latter with a roster, whose keys lie in ``folder``.
        folder: for settings, keys and the report.
    """

    nodes: int
    dim: int
    rounds: int
    dropped: int = 0
    system: str = "secagg"
    adversary: str = "curious"
    folder: str = ""

    def save(self) -> Path:
        """Write the settings, and fresh keys of the members, into ``folder``; returns the path of the settings."""
        folder = Path(self.folder)
        secrets, roster = simulated_identities(range(1, self.nodes + 1))
        for member, secret in secrets.items():
            (folder / f"{member}.key").write_bytes(secret.reveal())
        (folder / "roster").write_bytes(msgspec.msgpack.encode(roster.members))
        path = folder / "trial.json"
        path.write_text(json.dumps(asdict(self)))
        return path

    @classmethod
    def load(cls) -> Trial:
        """Read the settings that ``SECAGG_TRIAL`` names."""
        return cls(**json.loads(Path(os.environ[SETTINGS]).read_text()))

    @property
    def threshold(self) -> int:
        """Least number of sites that must stay."""
        return min(2 * self.nodes // 3 + 1, self.nodes - self.dropped)

    @property
    def report(self) -> Path:
        """Where the server writes what it saw."""
        return Path(self.folder) / "report.json"

    @property
    def finished(self) -> bool:
        """Whether the report has all rounds."""
        return self.report.exists() and len(json.loads(self.report.read_text())) == self.rounds

    def present(self, turn: int) -> list[int]:
        """Return the places whose updates are in the sum of round ``turn``, from 0."""
        return list(range(self.dropped if turn else 0, self.nodes))

    def fails(self, place: int, turn: int) -> bool:
        """Whether the site fails in training."""
        return place not in self.present(turn)

    def roster(self) -> Roster | None:
        """Return the members' public keys, against an active server."""
        if self.adversary == "curious":
            return None
        members = msgspec.msgpack.decode((Path(self.folder) / "roster").read_bytes(), type=list[tuple[int, bytes]])
        return Roster(tuple(members))

    def identity(self, place: int) -> Secret:
        """Read the key of the site at ``place``."""
        return Secret((Path(self.folder) / f"{place + 1}.key").read_bytes())

    def update(self, place: int) -> NDArray[np.float32]:
        """Return the difference that training makes at ``place``: odd multiples of 2^-16 in (-1/8, 1/8)."""
        units = (7 * np.arange(self.dim, dtype=np.int64) + 1000 * place) % 8192
        return ((2 * units - 8191) / 65536).astype(np.float32)

    def mean(self, turn: int) -> NDArray[np.float64]:
        """Return the plain mean of round ``turn``."""
        places = self.present(turn)
        total = np.zeros(self.dim)
        for place in places:
            total += self.update(place)
        return total / len(places)


def inherited() -> dict[str, str]:
    """Return the environment for the processes of a stack: this one's, without ``NO_BYTECODE``."""
    return {name: value for name, value in os.environ.items() if name != NO_BYTECODE}


def settled(w: NDArray[Any]) -> NDArray[np.float32]:
    """Return the model on multiples of 2^-22, so that in the next round, too, float32 adds updates to it exactly."""
    return (np.round(w.astype(np.float64) * 2**22) / 2**22).astype(np.float32)


@dataclass
class Watch:
    """What the server of a trial saw: seconds, exchanges and the error of every round."""

    trial: Trial
    rows: list[dict[str, Any]] = field(default_factory=list)
    _before: NDArray[Any] | None = None
    _since: float = 0.0

    def start(self, w: NDArray[Any]) -> None:
        """Begin to count, with the first model."""
        self._before, self._since = np.array(w), time.perf_counter()

    def round_done(
        self,
        w: NDArray[Any],
        exchanges: int | None = None,
        included: int | None = None,
        seen: list[str] | None = None,
    ) -> None:
        """Take the model after a round.

        A sum is exact if its mean is off by less than half a unit of the sum; a peer's, by less than a step of its own.
        """
        seconds = time.perf_counter() - self._since
        turn, places = len(self.rows), len(self.trial.present(len(self.rows)))
        before = np.zeros(self.trial.dim) if self._before is None else self._before
        bound = 2**-18 if self.trial.system == "peer" else 2**-16 / places  # Flower's grid: 2^22 levels in [-8, 8]
        error = float(np.abs(w.astype(np.float64) - before - self.trial.mean(turn)).max())
        self.rows.append(
            {
                "round": turn + 1, "seconds": seconds, "exchanges": exchanges, "seen": seen, "included": included,
                "max_error": error,
                "exact": included in (None, places) and error < bound,
            }
        )  # fmt: skip
        half = self.trial.report.with_suffix(".half")
        half.write_text(json.dumps(self.rows))
        half.replace(self.trial.report)
        self.start(w)


def summary(trial: Trial, engine: str, versions: str) -> dict[str, Any]:
    """Return the report of a finished trial, steady state first: the median over the rounds after the second."""
    rows = json.loads(trial.report.read_text()) if trial.report.exists() else []
    steady = [row["seconds"] for row in rows[2:]] or [row["seconds"] for row in rows[-1:]]
    return {
        "engine": engine,
        "versions": versions,
        **{name: getattr(trial, name) for name in ("system", "adversary", "nodes", "dim", "dropped")},
        "seconds": statistics.median(steady) if steady else None,
        "exact": all(row["exact"] for row in rows) if len(rows) == trial.rounds else None,
        "rounds": rows,
    }


def write(report: dict[str, Any]) -> None:
    """Print the report as the last line of standard output; stacks write lines of their own before."""
    sys.stdout.write("\nREPORT " + json.dumps(report) + "\n")


def read(text: str) -> dict[str, Any]:
    """Find the report in what a trial printed."""
    line: str = [line for line in text.splitlines() if line.startswith("REPORT ")][-1]
    report: dict[str, Any] = json.loads(line[7:])
    return report


def arguments(words: Sequence[str], **defaults: str | int) -> dict[str, Any]:
    """Read ``name=value`` words over defaults."""
    given = dict(word.split("=", 1) for word in words)
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise SystemExit(
            f"unknown: {', '.join(unknown)}; known are {', '.join(f'{k}={v}' for k, v in defaults.items())}"
        )
    return {name: type(value)(given.get(name, value)) for name, value in defaults.items()}
