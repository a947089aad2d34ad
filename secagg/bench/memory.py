"""Peak memory of a server process at 1,000 clients, above what it holds when idle, in packed vectors.

Inputs under way and sealed shares wait on disk; the totals are counted wherever they are, and so is the decoded sum.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import quant
from protocols.pairwise import LocalPolicy, Roster
from protocols.pairwise.params import NO_ROSTER, Adversary
from secagg.bench.measure import Effort, Row
from secagg.config import RoundConfig
from secagg.inprocess import simulated_identities
from secagg.session import ClientSession, ServerSession
from secagg.spool import SpoolAccumulator, SpoolRelay

MODEL = hashlib.sha256(b"secagg bench memory").digest()


def bench(effort: Effort) -> list[Row]:
    """Rows with ``case, peak_bytes, packed_vector_bytes, packed_vectors``; if brief, for an active server only."""
    clients, dim = (70, 20_000) if effort.quick else (1000, 1_000_000)
    adversaries: tuple[Adversary, ...] = ("active",) if effort.brief and not effort.quick else ("curious", "active")
    return [_measure(clients, dim, adversary, effort) for adversary in adversaries]


def _config(clients: int, dim: int, adversary: Adversary, roster: Roster | None) -> RoundConfig:
    return RoundConfig(
        clients=tuple(range(1, clients + 1)),
        layout=quant.Layout.of(np.zeros(dim, dtype=np.float32)),
        quantization={"bits": 8, "range": 4.0},
        study="bench",
        adversary=adversary,
        roster=NO_ROSTER if roster is None else roster.hash(),
        colluders=clients // 20,
        protocol="secagg+",
    )


def _measure(clients: int, dim: int, adversary: Adversary, effort: Effort) -> Row:
    case = f"server, secagg+, {adversary}, {clients:,} clients, dim {dim:,}"
    effort.tick(case)
    identities, roster = simulated_identities(range(1, clients + 1)) if adversary == "active" else ({}, None)
    config = _config(clients, dim, adversary, roster)
    here, there = multiprocessing.get_context("spawn").Pipe()
    members = None if roster is None else roster.members
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(there, clients, dim, adversary, members)
    )
    process.start()
    policy = LocalPolicy(colluders=config.colluders, adversary=adversary, roster=roster)
    sites = {c: ClientSession(config, c, policy=policy, identity=identities.get(c)) for c in config.clients}
    for client, site in sites.items():
        here.send((client, site.start()))
    update = np.zeros(dim, dtype=np.float32)
    while told := _requests(here):
        for client, request in told:
            frames: Iterator[bytes] | tuple[bytes, ...] = sites[client].receive(request)
            if sites[client].wants_input:
                frames = sites[client].submit(update, MODEL)
            for frame in frames:
                here.send((client, frame))
    peak = here.recv()
    process.join()
    packed = config.params.vectors[0].packed_bytes
    return {"case": case, "peak_bytes": peak, "packed_vector_bytes": packed, "packed_vectors": peak / packed}


def _requests(here: Connection) -> list[tuple[int, bytes]]:
    """End a phase and read all of the server's requests (none when the sum is open) before anybody answers."""
    here.send(None)
    return list(iter(here.recv, None))


def _serve(
    there: Connection, clients: int, dim: int, adversary: Adversary, members: tuple[tuple[int, bytes], ...]
) -> None:
    """Be the server: take frames until told to go on, send requests, and in the end say the peak above idle."""
    roster = Roster(members) if members else None
    config = _config(clients, dim, adversary, roster)
    idle = _resident("VmRSS")
    with TemporaryDirectory() as folder:
        spool, relay = SpoolAccumulator(Path(folder), config.params.vectors), SpoolRelay(Path(folder))
        session = ServerSession(config, MODEL, roster=roster, accumulator=spool, relay=relay)
        while session.status.phase is not None:
            while (told := there.recv()) is not None:
                session.receive(*told)
            for request in session.advance():
                there.send(request)
            there.send(None)
        session.result()
    there.send(_resident("VmHWM") - idle)


def _resident(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024
