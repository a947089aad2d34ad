"""``secagg bench all``: every bench in one run, kept as one JSON object, and compared with an earlier run."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secagg.bench.measure import Effort, Row, commit, machine
from secagg.errors import UsageError

REFERENCE = Path(__file__).parent / "reference.json"
"""A run on a quiet machine, kept with its commit; ``--compare reference`` reads it."""

STEPS = 20
"""Ticks that a bench is taken to have where no reference tells."""

Run = dict[str, Any]
Bench = Callable[[Effort], list[Row]]
Watch = Callable[[str, float], None]
"""Called with what is measured next, and how much of the whole run is done (0 to 1)."""


@dataclass(frozen=True)
class Figure:
    """A figure of a bench that two runs can be compared by.

    Attributes:
        name: key in the rows.
        more: whether more of it is better.
        ours: whether it depends on this code alone, not on the machine.
    """

    name: str
    more: bool = False
    ours: bool = False


COMPARED: dict[str, tuple[tuple[str, ...], tuple[Figure, ...]]] = {
    "masking": (("case",), (Figure("fraction", more=True), Figure("ratio", more=True))),
    "noise": (("law", "sigma"), (Figure("draws_per_second", more=True),)),
    "shamir": (("case",), (Figure("seconds"),)),
    "encode": (("case", "dim"), (Figure("seconds"),)),
    "scaling": (("case",), (Figure("ratio", ours=True), Figure("ns_per_byte"), Figure("client_seconds"))),
    "consortium": (("case",), (Figure("seconds"),)),
    "memory": (("case",), (Figure("packed_vectors", ours=True),)),
    "mechanism": (("clients", "epsilon"), (Figure("ratio", ours=True),)),
    "epsilon": (("epsilon",), (Figure("distributed", more=True, ours=True),)),
    "quant": (("scheme", "data", "wire_bits"), (Figure("nmse", ours=True),)),
    "peers": (
        ("system", "clients", "dim"),
        (Figure("client_seconds"), Figure("server_seconds"), Figure("uplink_bytes", ours=True)),
    ),
}
"""Bench -> what tells its rows apart, and what is compared of them."""


def run_all(benches: Mapping[str, Bench], watch: Watch, *, quick: bool = False) -> Run:
    """Run all benches in turn.

    Args:
        benches: by name.
        watch: told what is measured, and how far the run is.
        quick: small sizes: the shape, not the figures.
    """
    expected = _shares(benches)
    done, found = 0.0, {}
    started = time.perf_counter()
    for name, bench in benches.items():
        meter = _Meter(watch, name, done, expected[name]["share"], expected[name]["steps"])
        begun = time.perf_counter()
        rows = bench(Effort(quick, meter.tick, brief=True))
        found[name] = {"seconds": time.perf_counter() - begun, "steps": meter.count, "rows": rows}
        done += expected[name]["share"]
        watch(name, done)
    return {
        "bench": "all",
        "quick": quick,
        "machine": machine(),
        "commit": commit(),
        "seconds": time.perf_counter() - started,
        "benches": found,
    }


class _Meter:
    """Turns the ticks of one bench into the share of the whole run that is done."""

    def __init__(self, watch: Watch, name: str, done: float, share: float, steps: int) -> None:
        self._watch, self._name, self._done, self._share, self._steps = watch, name, done, share, steps
        self.count = 0

    def tick(self, what: str) -> None:
        """Note that ``what`` comes next."""
        within = min(self.count / max(self._steps, 1), 1.0)
        self.count += 1
        self._watch(f"{self._name}: {what}", self._done + self._share * within)


def _shares(benches: Mapping[str, Bench]) -> dict[str, Run]:
    """Give the share of the whole run that each bench takes, and its ticks, as the reference has them."""
    known = read_run(REFERENCE)["benches"] if REFERENCE.exists() else {}
    typical = sum(part["seconds"] for part in known.values()) / len(known) if known else 1.0
    seconds = {name: known[name]["seconds"] if name in known else typical for name in benches}
    whole = sum(seconds.values())
    return {
        name: {"share": spent / whole, "steps": known[name]["steps"] if name in known else STEPS}
        for name, spent in seconds.items()
    }


def read_run(path: Path) -> Run:
    """Read a run that ``secagg bench all`` wrote.

    Raises:
        UsageError: no such file, or something else.
    """
    try:
        run: Run = json.loads(path.read_text(encoding="utf-8"))
        if run["bench"] != "all" or not isinstance(run["benches"], dict):
            raise ValueError("not a run of all benches")
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{str(path)!r} is not what secagg bench all --json writes") from None
    return run


@dataclass(frozen=True)
class Compared:
    """One figure of two runs.

    Attributes:
        bench, case, figure: which.
        before, after: its values.
        ours: whether it depends on this code alone, not on the machine.
        better: factor by which it became better; below 1, worse.
    """

    bench: str
    case: str
    figure: str
    before: float
    after: float
    ours: bool
    better: float


def compare(before: Run, after: Run) -> list[Compared]:
    """Compare what both runs have, in the order of the benches.

    Raises:
        UsageError: a quick run and a full one, whose sizes differ.
    """
    if before["quick"] != after["quick"]:
        raise UsageError("one of the two runs is a quick one: their sizes differ, so nothing can be compared")
    return [row for name in COMPARED for row in _compared(name, before, after)]


def _compared(name: str, before: Run, after: Run) -> Iterator[Compared]:
    keys, figures = COMPARED[name]
    old = {_case(row, keys): row for row in before["benches"].get(name, {"rows": []})["rows"]}
    for row in after["benches"].get(name, {"rows": []})["rows"]:
        case = _case(row, keys)
        for figure in figures:
            a, b = old.get(case, {}).get(figure.name), row.get(figure.name)
            if _positive(a) and _positive(b):
                better = b / a if figure.more else a / b
                yield Compared(name, case, figure.name, a, b, figure.ours, better)


def _case(row: Row, keys: tuple[str, ...]) -> str:
    return ", ".join(
        str(row[key]) if isinstance(row[key], str) else f"{key} {row[key]:g}" for key in keys if key in row
    )


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
