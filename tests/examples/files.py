"""Secure aggregation over a shared folder (a synchronised drive, or a stick that is carried): nobody opens a port.

Whoever can write in the folder can speak for the server and for every site: as it stands, for a folder in which each
writes its own files only. Among members that do not trust each other: adversary="active", with a roster.
"""

import sys
import tempfile
import time
from multiprocessing import Process
from pathlib import Path

import numpy as np

from quant import Layout
from secagg import ClientSession, RoundConfig, ServerSession

MODEL = bytes(32)  # SHA-256 of the model that everybody trains
CONFIG = RoundConfig(clients=(1, 2, 3, 4), layout=Layout.of(np.zeros(1000)), quantization={"bits": 16}, threshold=3)


def put(folder: Path, sender: int, receiver: int, number: int, frame: bytes) -> None:
    name = f"{sender}-{receiver}-{number:04}"
    (folder / f"{name}.part").write_bytes(frame)
    (folder / f"{name}.part").rename(folder / f"{name}.frame")  # appears whole, or not at all


def take(folder: Path, sender: str, receiver: int) -> list[tuple[int, bytes]]:
    found = [(path, path.read_bytes()) for path in sorted(folder.glob(f"{sender}-{receiver}-*.frame"))]
    for path, _ in found:
        path.unlink()
    return [(int(path.name.split("-")[0]), frame) for path, frame in found]


def site(client: int, folder: Path) -> None:
    session, sent, frames = ClientSession(CONFIG, client), 0, []
    put(folder, client, 0, 0, session.start())
    while True:
        for _, request in take(folder, "0", client):
            frames = session.receive(request)
            for frame in session.submit(np.full(1000, client / 10), MODEL) if session.wants_input else frames:
                sent += 1
                put(folder, client, 0, sent, frame)
        time.sleep(0.02)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    for client in CONFIG.clients:
        Process(target=site, args=(client, folder), daemon=True).start()
    server, phase = ServerSession(CONFIG, MODEL), 0
    while server.status.phase is not None:
        while server.status.pending:
            for sender, frame in take(folder, "*", 0):
                server.receive(sender, frame)
            time.sleep(0.02)
        phase += 1
        for client, frame in server.advance():
            put(folder, 0, client, phase, frame)
    opened = server.result()
    print(f"included {opened.included}, mean {opened.mean.mean():.3f}")
