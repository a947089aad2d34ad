"""A SuperLink and its SuperNodes as processes on this machine, over loopback and without TLS: for trials only."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from protocols import SystemEntropy
from secagg.errors import UsageError
from secagg.integrations.trial import inherited

PROJECT = """
[project]
name = "trial"
version = "0.0.1"
description = "a trial"
license = "Apache-2.0"
[tool.flwr.app]
publisher = "trial"
[tool.flwr.app.components]
serverapp = "app:server"
clientapp = "app:app"
"""


class SuperLink:
    """The processes of one federation; leave its block to end them all.

    Args:
        folder: for Flower's files and the log.
        nodes: number of SuperNodes; they get ``partition-id`` from 0 and ``num-partitions``.
        environment: variables of all processes.
        launcher: the site's own launcher runs the apps (see ``launcher``), instead of Flower's.
    """

    def __init__(self, folder: Path, nodes: int, environment: Mapping[str, str], *, launcher: bool = False) -> None:
        self._folder, self._log = folder, folder / "engine.log"
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        quiet = {"FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1", "FLWR_HOME": str(folder / "flwr")}
        self._environment = {**inherited(), **environment, **quiet, "PATH": path}
        self._running: list[subprocess.Popen[bytes]] = []
        self._ports = _free_ports(nodes + 1)
        self._nodes, self._launcher = nodes, launcher

    def __enter__(self) -> SuperLink:
        address = f"127.0.0.1:{self._ports[0]}"
        home = self._folder / "flwr"
        home.mkdir()
        (home / "config.toml").write_text(f'[superlink.trial]\naddress = "{address}"\ninsecure = true\n')
        try:
            self.start(
                "flower-superlink", "--insecure", "--host=127.0.0.1", f"--port={self._ports[0]}",
                "--disable-runtime-dependency-installation",
            )  # fmt: skip
            _await_port(self._ports[0], 60.0)
            for place, port in enumerate(self._ports[1:]):
                self._start_node(place, port, address)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        """End every process that was started; what those started ends with them."""
        for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
            for process in self._running:
                end(process)
            self._running = [process for process in self._running if not _ended(process)]

    def _start_node(self, place: int, port: int, superlink: str) -> None:
        whose = f"--node-config=partition-id={place} num-partitions={self._nodes}"
        node = ["flower-supernode", "--insecure", f"--superlink={superlink}", f"--port={port}", whose]
        if not self._launcher:
            self.start(*node)
            return
        secret, policy = self._folder / f"runtime-{place}.secret", self._folder / f"policy-{place}.toml"
        secret.write_bytes(SystemEntropy().take(32, "runtime"))
        policy.write_text("min_clients = 3\n")
        self.start(*node, "--isolation=process", f"--superexec-auth-secret-file={secret}")
        program = "secagg.integrations.flower.launcher"
        self.start(
            sys.executable, "-m", program, f"--runtime=127.0.0.1:{port}", f"--secret={secret}", f"--policy={policy}"
        )

    def start(self, *command: str) -> None:
        """Start one more process of the federation."""
        with self._log.open("ab") as log:
            self._running.append(subprocess.Popen(command, env=self._environment, stdout=log, stderr=log))

    def run(self, app: str, done: Callable[[], bool], seconds: float) -> None:
        """Submit an app, given as the text of its module, and wait until ``done``.

        Raises:
            UsageError: it was not done in time, or could not be submitted; with the end of the log.
        """
        project = self._folder / "project"
        project.mkdir()
        (project / "pyproject.toml").write_text(PROJECT)
        (project / "app.py").write_text(app)
        end = time.monotonic() + seconds
        told = subprocess.run(
            ["flwr", "run", str(project), "trial"],
            env=self._environment,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        if told.returncode:
            raise UsageError(f"Flower does not take the app: {told.stdout.decode()} {told.stderr.decode()}")
        while not done():
            if time.monotonic() > end:
                raise UsageError(f"no end after {seconds:g} s: ...{self._log.read_text()[-3000:]}")
            time.sleep(0.25)


@contextmanager
def _reserved() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        yield listening


def _free_ports(count: int) -> list[int]:
    with _reserved() as first:
        if count == 1:
            return [first.getsockname()[1]]
        return [first.getsockname()[1], *_free_ports(count - 1)]


def _await_port(port: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > end:
            raise UsageError(f"nothing listens on port {port} after {seconds:g} s")
        time.sleep(0.1)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        return False
    return True
