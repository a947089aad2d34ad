"""The tables of the README that are made: *The commands* from the program, *Measured* from a run of all benches.

``python -m tests.examples.readme_tables`` writes both; with the path of a ``bench.json`` it takes that run as the new
reference first. Tests compare.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import typer.main

from secagg.bench.whole import REFERENCE, Run, read_run
from secagg.cli import app

README = Path(__file__).parents[2] / "README.md"
BEGIN = "<!-- measured: from secagg/bench/reference.json, by python -m tests.examples.readme_tables -->\n"
END = "<!-- end of measured -->"
BEGIN_COMMANDS = "<!-- commands: from the program, by python -m tests.examples.readme_tables -->\n"
END_COMMANDS = "<!-- end of commands -->"
ALL = (
    "`secagg bench all` measures all of it on your machine, with plots, in a quarter of an hour, and with\n"
    "`--compare reference` says what moved since this run.\n"
)

Row = dict[str, Any]
Line = tuple[str, str, str, str]
"""What is measured, ours, what stands beside it, and the command that prints it."""


def rows(run: Run, bench: str, **wanted: object) -> Iterator[Row]:
    """The rows of a bench that have these values; of a text, what begins like it."""
    for row in run["benches"][bench]["rows"]:
        if all(
            str(row.get(key)).startswith(value) if isinstance(value, str) else row.get(key) == value
            for key, value in wanted.items()
        ):
            yield row


def whole_rounds(run: Run) -> Iterator[Line]:
    """Rounds against peers."""
    ours = next(rows(run, "peers", system="secagg, 8 bits"))
    size = f"{ours['clients']} clients, {ours['dim']:,} numbers, {ours['dropped']} vanish"
    for peer in rows(run, "peers", clients=ours["clients"], dim=ours["dim"], system="Flower"):
        if peer["client_seconds"] is None:
            continue
        name = peer["system"]
        for key, what in (("client_seconds", "one client"), ("server_seconds", "the server")):
            yield (
                f"a round ({size}): {what}",
                seconds(ours[key]),
                f"{name}: {seconds(peer[key])}, {times(peer[key] / ours[key])}",
                "secagg bench peers",
            )
        yield (
            "everything that a client sends in it",
            f"{ours['uplink_bytes'] / 1e6:.2f} MB",
            f"{name}: {peer['uplink_bytes'] / 1e6:.2f} MB, {times(peer['uplink_bytes'] / ours['uplink_bytes'])}",
            "secagg bench peers",
        )
    few = next(rows(run, "peers", clients=5, system="secagg"))
    for peer in rows(run, "peers", clients=5):
        if not peer["system"].startswith("secagg") and peer["client_seconds"] is not None:
            yield (
                f"{few['clients']} clients, {few['dim']:,} numbers, nobody vanishes: one client",
                f"{seconds(few['client_seconds'])}, {few['uplink_bytes'] / 1e6:.2f} MB",
                f"{peer['system']}: {seconds(peer['client_seconds'])}, {peer['uplink_bytes'] / 1e6:.2f} MB",
                "secagg bench peers",
            )
    for row in rows(run, "consortium"):
        yield (
            f"a round of a study without training, {row['case']}: every site a process, TLS, signatures, journals",
            seconds(row["seconds"]),
            f"the same in memory: {seconds(row['floor_seconds'])}",
            "secagg bench consortium",
        )


def parts(run: Run) -> Iterator[Line]:
    """The parts of a round."""
    for row in rows(run, "shamir", case="reconstruct"):
        if row["peer_seconds"]:
            yield (
                row["case"],
                seconds(row["seconds"]),
                f"Flower: {seconds(row['peer_seconds'])} ({row['scaled']})",
                "secagg bench shamir",
            )
    for row in rows(run, "masking", case="client"):
        yield (
            "masks, one thread",
            f"{row['gbps']:.2f} GiB/s",
            f"AES-256-CTR alone: {row['limit_gbps']:.2f} GiB/s",
            "secagg bench masking",
        )
    for row in rows(run, "noise", law="skellam", sigma=10):
        if row["peer_draws_per_second"]:
            yield (
                "exact noise, standard deviation 10",
                f"{row['draws_per_second'] / 1e6:.0f} million a second",
                f"OpenDP: {row['peer_draws_per_second'] / 1e6:.2g} million a second",
                "secagg bench noise",
            )
    for row in rows(run, "quant", scheme="planned rotation + dither", data="lognormal", wire_bits=8):
        eden = next(rows(run, "quant", scheme="EDEN", data="lognormal", wire_bits=4))
        yield (
            "squared error of a mean of 10, 8 bits each on the wire",
            f"{row['nmse']:.2g}",
            f"EDEN at 4 bits, which cannot be summed: {eden['nmse']:.2g}",
            "secagg bench quant",
        )
    for row in rows(run, "mechanism", clients=1000, epsilon=1.0):
        yield (
            "squared error of a private mean, 1,000 sites, epsilon 1",
            f"{row['ratio']:.2f}",
            "a trusted server with Gaussian noise: 1",
            "secagg bench mechanism",
        )
    for row in rows(run, "memory"):
        yield (
            f"memory: {row['case']}",
            f"{row['packed_vectors']:.2f} packed vectors",
            "the sum alone: 1",
            "secagg bench memory",
        )


def seconds(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f} s"
    return f"{value:.2f} s" if value >= 0.1 else f"{1000 * value:.1f} ms"


def times(ratio: float) -> str:
    return f"{ratio:.0f} times as much" if ratio >= 10 else f"{ratio:.1f} times as much"


def table(run: Run) -> str:
    machine, commit = run["machine"], (run["commit"] or "unknown")[:12]
    head = f"On {machine['processor']}, {machine['cores']} cores, Python {machine['python']}; commit {commit}.\n\n"
    body = "".join(
        f"| {what} | {ours} | {theirs} | `{command}` |\n"
        for what, ours, theirs, command in chain(whole_rounds(run), parts(run))
    )
    return f"{head}| | secagg | beside it | printed by |\n|---|---|---|---|\n{body}\n{ALL}"


def commands() -> str:
    found = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    said = "".join(f"| `secagg {name}` | {command.get_short_help_str(200)} |\n" for name, command in found.items())
    return f"| command | what it does |\n|---|---|\n{said}"


def section(text: str, begin: str = BEGIN, end: str = END) -> str:
    return text[text.index(begin) + len(begin) : text.index(end)]


if __name__ == "__main__":
    if sys.argv[1:]:
        REFERENCE.write_text(json.dumps(read_run(Path(sys.argv[1]))) + "\n", encoding="utf-8")
    readme = README.read_text(encoding="utf-8")
    readme = readme.replace(section(readme, BEGIN_COMMANDS, END_COMMANDS), commands())
    if REFERENCE.exists():
        readme = readme.replace(section(readme), table(read_run(REFERENCE)))
    README.write_text(readme, encoding="utf-8")
