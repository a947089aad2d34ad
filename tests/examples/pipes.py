"""Secure aggregation over multiprocessing pipes: a server and four sites, each a process; one site vanishes."""

from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection, wait

import numpy as np

from quant import Layout
from secagg import ClientSession, RoundConfig, ServerSession

MODEL = bytes(32)  # SHA-256 of the model that everybody trains
CONFIG = RoundConfig(clients=(1, 2, 3, 4), layout=Layout.of(np.zeros(1000)), quantization={"bits": 16}, threshold=3)


def site(client: int, pipe: Connection) -> None:
    session, update = ClientSession(CONFIG, client), np.full(1000, client / 10)
    pipe.send_bytes(session.start())
    while True:
        answers = session.receive(pipe.recv_bytes())
        if session.wants_input and client == 4:
            return  # vanishes after it shared its keys: the others will help to take its masks off
        for frame in session.submit(update, MODEL) if session.wants_input else answers:
            pipe.send_bytes(frame)


if __name__ == "__main__":
    pipes: dict[int, Connection] = {}
    for number in CONFIG.clients:
        pipes[number], far_end = Pipe()
        Process(target=site, args=(number, far_end), daemon=True).start()
        far_end.close()
    server = ServerSession(CONFIG, MODEL)
    while server.status.phase is not None:
        while awaited := {pipes[number]: number for number in server.status.pending if number in pipes}:
            for pipe in wait(list(awaited), timeout=60):
                try:
                    server.receive(awaited[pipe], pipe.recv_bytes())
                except EOFError:
                    del pipes[awaited[pipe]]
        for number, frame in server.advance():
            pipes[number].send_bytes(frame)
    opened = server.result()
    print(f"included {opened.included}, mean {opened.mean.mean():.3f}")
