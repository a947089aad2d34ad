"""The ``secagg simulate`` command."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Annotated

import typer

from secagg import theme
from secagg.simulate.display import show, show_shards
from secagg.simulate.run import Simulation, shards_to_json, simulate, simulate_shards, to_json


def simulate_command(
    clients: Annotated[int, typer.Option(help="Number of clients.")] = 10,
    dim: Annotated[int, typer.Option(help="Coordinates of the synthetic update.")] = 100_000,
    bits: Annotated[int, typer.Option(help="Quantization bits, 1 to 32.")] = 8,
    protocol: Annotated[
        str, typer.Option(help="Protocol: secagg (complete graph) or secagg+ (few neighbours).")
    ] = "secagg",
    dropout: Annotated[float, typer.Option(help="Clients that drop out: below 1 a fraction, else a count.")] = 0.0,
    phase: Annotated[
        str,
        typer.Option(
            help="Phase they do not complete: advertise-keys, reveal-randomness (secagg+), share-keys, masked-input, "
            "consistency-check (active adversary), unmasking, or mixed."
        ),
    ] = "masked-input",
    corrupt: Annotated[int, typer.Option(help="Clients assumed to collude with the server.")] = 1,
    adversary: Annotated[str, typer.Option(help="The server to withstand: curious or active.")] = "curious",
    threshold: Annotated[
        int | None, typer.Option(help="Least number of clients that must stay; by default floor(2n/3) + 1.")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Threads that take off masks; with --shards, processes that each run a shard.")
    ] = 1,
    shards: Annotated[
        int, typer.Option(help="Cut the cohort into so many rounds of their own, and add their sums.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Fixes data and drop-outs; never masks, keys or rounding.")] = 0,
    view: Annotated[bool, typer.Option("--view", help="Show what the server sees of one client.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Run one round on synthetic vectors through the real protocol, and measure it.

    Example: secagg simulate --clients 50 --dim 1000000 --bits 8 --dropout 0.2 --view
    """
    wanted = Simulation(
        clients=clients,
        dim=dim,
        bits=bits,
        protocol=protocol,  # type: ignore[arg-type]  # Simulation refuses other words
        dropout=dropout,
        phase=phase,
        corrupt=corrupt,
        adversary=adversary,  # type: ignore[arg-type]  # Simulation refuses other words
        threshold=threshold,
        workers=workers,
        seed=seed,
    )
    if shards != 1:
        _simulate_shards(wanted, shards, json=json)
        return
    with theme.progress(shown=not json and sys.stderr.isatty()) as progress:
        tasks = {name: progress.add_task(name, total=clients) for name in wanted.phases}
        done = simulate(wanted, view=view, observe=lambda name, _: progress.advance(tasks[name]))
    if json:
        sys.stdout.write(jsonlib.dumps(to_json(done)) + "\n")
    else:
        console = theme.output()
        show(done, console)
        if not view:
            console.print("next: secagg simulate --view shows what the server sees; secagg demo trains on real data")


def _simulate_shards(wanted: Simulation, shards: int, *, json: bool) -> None:
    started = time.perf_counter()
    with theme.progress(shown=not json and sys.stderr.isatty()) as progress:
        task = progress.add_task("shards", total=shards)
        with ProcessPoolExecutor(wanted.workers, get_context("spawn")) as pool:
            opened = simulate_shards(wanted, shards, pool.map, lambda shard: progress.advance(task))
    figures = shards_to_json(wanted, opened, time.perf_counter() - started)
    if json:
        sys.stdout.write(jsonlib.dumps(figures) + "\n")
    else:
        show_shards(figures, theme.output())
