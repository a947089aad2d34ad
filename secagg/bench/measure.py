"""Timing that holds on a noisy machine: two things are run in turn, and the ratio is taken pair by pair."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]

Tick = Callable[[str], None]
"""Called with what is measured next, for a progress bar."""


@dataclass(frozen=True)
class Effort:
    """How thoroughly to measure.

    Attributes:
        quick: small sizes and few repetitions: a look at the shape, not at the figures.
        tick: told what comes next.
        brief: as one bench among others: fewer rounds where it averages over many, and not what takes minutes.
    """

    quick: bool = False
    tick: Tick = lambda what: None
    brief: bool = False

    def repeats(self, count: int) -> int:
        """Return ``count``, or 1 in a hurry."""
        return 1 if self.quick else count

    def rounds(self, count: int) -> int:
        """Return over how many rounds to average: ``count``, an eighth of it if brief, or 2 in a hurry."""
        if self.quick:
            return 2
        return max(2, count // 8) if self.brief else count


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median time of ``repeats`` calls."""
    return statistics.median(seconds(work) for _ in range(repeats))


def paired(work: Callable[[], object], limit: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """Run both in turn and return (median seconds of work, of limit, median of the ratios limit / work)."""
    pairs = [(seconds(limit), seconds(work)) for _ in range(repeats)]
    return (
        statistics.median(pair[1] for pair in pairs),
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[0] / pair[1] for pair in pairs),
    )


def machine() -> dict[str, Any]:
    """Return facts about the machine that figures depend on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def commit() -> str | None:
    """Return the commit of the checkout that runs, or ``None`` outside of one."""
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
