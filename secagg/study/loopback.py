"""A whole study on this machine: one hand does the ceremony, then every party is a process, over TLS on loopback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from protocols import SystemEntropy
from secagg.errors import RoundRefused
from secagg.study import approval, definition, folder, identity, weights
from secagg.study.definition import Study
from secagg.study.receipt import Receipt, SignedReceipt

LONGEST_SECONDS_PER_ROUND = 60
START_SECONDS = 300
LOOK_SECONDS = 0.02
_PROXIES = {"https_proxy", "http_proxy", "all_proxy", "no_proxy"}


@dataclass
class Loopback:
    """The folder of a study whose parties all run here; every site shares the lead's folder.

    Attributes:
        home: the folder.
        sites: how many.
        task: what sites train, as ``package.module:function``.
        processes: of the parties, by name, once they run.
    """

    home: Path
    sites: int
    task: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        home: Path,
        name: str,
        *,
        sites: int,
        task: str,
        initial: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        options: str = "",
        settings: Mapping[str, str | int | float | None],
    ) -> Loopback:
        """Do the ceremony: study, keys, roster and signatures.

        Args:
            home: an empty folder.
            name: of the study.
            sites: how many.
            task: what sites train, as ``package.module:function``.
            initial: makes the initial weights from the options.
            options: text of the study's ``[task]`` table.
            settings: values of keys of the study file; ``None`` takes a line out.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        folder.create(home, name, f"https://localhost:{port}", SystemEntropy())
        path = home / "study.toml"
        text = re.sub(r"(?m)^\[task\]\n(?:#.*\n|\w+ = .*\n)*", f"[task]\n{options}", path.read_text(encoding="utf-8"))
        for key, value in settings.items():
            line = "" if value is None else f"{key} = {msgspec.json.encode(value).decode()}\n"
            text = re.sub(rf"(?m)^{key} = .*\n", line, text, count=1)
        path.write_text(text, encoding="utf-8")
        folder.set_model(path, weights.encode(initial(definition.load(path).task)))
        for site in range(1, sites + 1):
            folder.add_site(path, identity.create(home / f"site{site}.key", f"hospital {site}", SystemEntropy()))
        study = definition.load(path)
        for site in range(1, sites + 1):
            signed = approval.sign(study, identity.load(home / f"site{site}.key"))
            weights.write(approval.path_beside(path, site), msgspec.json.encode(signed))
        return cls(home, sites, task)

    @property
    def study(self) -> Study:
        """The study as it was signed."""
        return definition.load(self.home / "study.toml")

    @property
    def state(self) -> Path:
        """The coordinator's state."""
        return self.home / "coordinator-state"

    def run(self, progress: Callable[[int], object] = lambda _: None) -> tuple[float, ...]:
        """Run the study to its end and return when each round ended (seconds of a clock that only grows).

        Args:
            progress: called with the number of finished rounds.

        Raises:
            RoundRefused: a process failed, or the study took too long.
        """
        self._spawn("coordinator", "serve", "--host", "127.0.0.1", "--until-finished")
        for site in range(1, self.sites + 1):
            self._spawn(f"site {site}", "join", *self._join(site))
        try:
            return self._wait(progress)
        finally:
            for process in self.processes.values():
                process.kill()
                process.wait()

    def _join(self, site: int) -> tuple[str, ...]:
        return ("--key", f"site{site}.key", "--task", self.task, "--give-up-after", str(START_SECONDS), "--json")

    def _spawn(self, name: str, verb: str, *arguments: str) -> None:
        command = [sys.executable, "-m", "secagg", verb, "study.toml", *arguments]
        environment = {key: value for key, value in os.environ.items() if key.lower() not in _PROXIES}
        with self.log(name).open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=self.home, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
            )

    def cpu_seconds(self) -> float:
        """Return the processor time that the parties have used so far, on Linux."""
        ticks = 0
        for process in self.processes.values():
            try:
                fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def log(self, name: str) -> Path:
        """Where a party's output goes."""
        return self.home / f"{name}.log"

    def _wait(self, progress: Callable[[int], object]) -> tuple[float, ...]:
        lines = self.state / "receipts.jsonl"
        until = time.monotonic() + START_SECONDS + LONGEST_SECONDS_PER_ROUND * self.study.training.rounds
        ends: list[float] = []
        while any(process.poll() is None for process in self.processes.values()):
            for name, process in self.processes.items():
                if process.poll():
                    raise RoundRefused(f"the {name} failed: {_last_line(self.log(name))}")
            if time.monotonic() > until:
                raise RoundRefused("the processes took too long; this machine may be busy")
            there = lines.read_bytes().count(b"\n") if lines.exists() else 0
            while len(ends) < there:
                ends.append(time.monotonic())
                progress(len(ends))
            time.sleep(LOOK_SECONDS)
        return tuple(ends)

    def receipts(self) -> tuple[Receipt, ...]:
        """Return the coordinator's signed word on every attempt at a round, in order."""
        lines = (self.state / "receipts.jsonl").read_bytes().splitlines()
        return tuple(msgspec.convert(msgspec.json.decode(line)["round"], SignedReceipt).receipt for line in lines)

    def last_weights(self) -> weights.Weights:
        """Return the weights after the last round."""
        return weights.decode((self.state / "models" / "last.safetensors").read_bytes())


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")[:300]
