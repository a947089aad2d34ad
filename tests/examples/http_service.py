"""Secure aggregation over an HTTP service that exists already: two more routes. Sites only connect outwards."""

import queue
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from quant import Layout
from secagg import ClientSession, RoundConfig, ServerSession

MODEL = bytes(32)  # SHA-256 of the model that everybody trains
CONFIG = RoundConfig(clients=(1, 2, 3, 4), layout=Layout.of(np.zeros(1000)), quantization={"bits": 16}, threshold=3)
ARRIVED: queue.Queue[tuple[int, bytes]] = queue.Queue()
OUTBOX: dict[int, queue.Queue[bytes]] = {client: queue.Queue() for client in CONFIG.clients}


class Service(BaseHTTPRequestHandler):
    """The service at hand; its own authentication has to tell who is who: here the path does."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # POST /secagg/3: a frame of client 3
        ARRIVED.put((int(self.path.split("/")[-1]), self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(b"")

    def do_GET(self) -> None:  # GET /secagg/3: waits for the next frame for client 3
        self.answer(OUTBOX[int(self.path.split("/")[-1])].get())

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


def site(client: int, address: tuple[str, int]) -> None:
    connection, session = HTTPConnection(*address), ClientSession(CONFIG, client)

    def call(method: str, body: bytes | None = None) -> bytes:
        connection.request(method, f"/secagg/{client}", body)
        return connection.getresponse().read()

    call("POST", session.start())
    while frame := call("GET"):
        answers = session.receive(frame)
        for answer in session.submit(np.full(1000, client / 10), MODEL) if session.wants_input else answers:
            call("POST", answer)


if __name__ == "__main__":
    service = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    for client in CONFIG.clients:
        threading.Thread(target=site, args=(client, service.server_address), daemon=True).start()
    server = ServerSession(CONFIG, MODEL)
    while server.status.phase is not None:
        while server.status.pending:
            server.receive(*ARRIVED.get(timeout=60))
        for client, frame in server.advance():
            OUTBOX[client].put(frame)
    opened = server.result()
    print(f"included {opened.included}, mean {opened.mean.mean():.3f}")
