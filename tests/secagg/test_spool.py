"""Streaming: long vectors are masked, sent, summed and unmasked in chunks, in bounded memory on both sides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protocols.pairwise import Client, LocalPolicy, RoundParams, Server, VectorSpec
from secagg.spool import SpoolAccumulator, SpoolRelay

ROOT = Path(__file__).parents[2]

ROUND = """
import resource, sys
from pathlib import Path
import numpy as np
from protocols.pairwise import Client, LocalPolicy, RoundParams, Server, VectorSpec
from secagg.spool import SpoolAccumulator

folder, length = Path(sys.argv[1]), int(sys.argv[2])
params = RoundParams(study="long", round_index=0, clients=(1, 2, 3, 4), threshold=3,
                     vectors=(VectorSpec("x", length, 1 << 16), VectorSpec("w", 3, 251)))
server = Server(params, bytes(32), accumulator=SpoolAccumulator(folder, params.vectors))
clients = {i: Client(params, LocalPolicy(), i) for i in params.clients}

def values(client):
    return lambda start, stop: (np.arange(start, stop, dtype=np.uint64) * np.uint64(client)) % np.uint64(1 << 14)

def pages():
    # Mapped totals are the page cache's, not the process's: count what the process itself holds.
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) // 1024

idle, most = pages(), 0
for i, client in clients.items():
    server.receive(i, client.start())
for i, request in server.advance():
    (frame,) = clients[i].receive(request)
    server.receive(i, frame)
for i, request in server.advance():
    clients[i].receive(request)
    if i == 4:
        continue
    for frame in clients[i].submit({"x": values(i), "w": np.full(3, i, dtype=np.uint64)}, bytes(32)):
        server.receive(i, frame)
        most = max(most, pages())
for i, request in server.advance():
    (frame,) = clients[i].receive(request)
    server.receive(i, frame)
server.advance()
pieces = 1 + length // (1 << 20)
sums = server.result(pieces=pieces)
most = max(most, pages())
for start in range(0, length, 1 << 20):
    stop = min(start + (1 << 20), length)
    expected = sum(values(i)(start, stop) for i in (1, 2, 3)) % np.uint64(1 << 16)
    assert (sums["x"][start:stop] == expected).all(), start
assert sums["w"].tolist() == [6, 6, 6]
assert not list(folder.glob("input-*"))
print(most - idle)
"""


def megabytes(folder: Path, length: int) -> int:
    finished = subprocess.run(
        [sys.executable, "-c", ROUND, str(folder), str(length)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(finished.stdout)


def test_ten_million_elements_take_the_memory_of_a_few_chunks(tmp_path: Path) -> None:
    """A chunk has 2^20 elements of 8 bytes; the vector has 76 MiB, the bound is eight chunks."""
    assert megabytes(tmp_path, 10_000_000) <= 64


@pytest.mark.slow
def test_a_hundred_million_elements_take_no_more(tmp_path: Path) -> None:
    assert megabytes(tmp_path, 100_000_000) <= 64


def test_the_spool_adds_like_memory(tmp_path: Path, rng: np.random.Generator) -> None:
    vectors = (VectorSpec("x", 1000, 1 << 60), VectorSpec("y", 77, 997))
    params = RoundParams(study="s", round_index=0, clients=(1, 2, 3, 4), threshold=3, vectors=vectors)
    inputs = {
        c: {s.name: rng.integers(0, min(s.modulus, 1 << 58), s.length, dtype=np.uint64) for s in vectors}
        for c in params.clients
    }
    server = Server(params, bytes(32), accumulator=SpoolAccumulator(tmp_path, vectors))
    clients = {c: Client(params, LocalPolicy(), c) for c in params.clients}
    for c, client in clients.items():
        server.receive(c, client.start())
    for c, request in server.advance():
        (frame,) = clients[c].receive(request)
        server.receive(c, frame)
    for c, request in server.advance():
        clients[c].receive(request)
        frames = list(clients[c].submit(inputs[c], bytes(32)))
        for frame in frames[:1] if c == 2 else frames:  # client 2 vanishes between its vectors
            server.receive(c, frame)
    for c, request in server.advance():
        (frame,) = clients[c].receive(request)
        server.receive(c, frame)
    server.advance()
    sums = server.result()
    for spec in vectors:
        expected = [sum(int(inputs[c][spec.name][i]) for c in (1, 3, 4)) % spec.modulus for i in range(spec.length)]
        assert sums[spec.name].tolist() == expected


@pytest.mark.fast
def test_sealed_shares_come_back_by_place_and_are_erased(tmp_path: Path) -> None:
    relay = SpoolRelay(tmp_path)
    dealt = {1: [b"", b"one", b"three more"], 7: [b"x" * 300, b"", b"y"]}
    for dealer, entries in dealt.items():
        relay.store(dealer, entries)
    assert {dealer: [relay.entry(dealer, place) for place in range(3)] for dealer in dealt} == dealt
    relay.close()
    assert not list(tmp_path.iterdir())
