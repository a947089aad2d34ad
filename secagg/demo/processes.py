"""``secagg demo --processes``: the demo's training in a real consortium, every party a process, over TLS on loopback.

The whole ceremony runs as on real machines: keys, roster, signatures, ``secagg serve`` and one ``secagg join`` a site.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec

from protocols import SystemEntropy
from secagg.demo.config import DemoConfig, update_limit
from secagg.errors import RoundRefused
from secagg.study import approval, definition, folder, identity, weights
from secagg.study.receipt import Receipt, SignedReceipt

TASK = "secagg.demo.site_task:train"
LONGEST_SECONDS_PER_ROUND = 60
START_SECONDS = 300


@dataclass(frozen=True)
class ProcessesResult:
    """What the processes did.

    Attributes:
        config: what was run.
        receipts: the coordinator's signed word on every round, in order.
        accuracy: of the last weights on all test examples.
        accuracy_plain: of plain federated averaging in floats, from the same start.
        seconds: from the start of the coordinator to the end of the last site.
        round_seconds: of every round after the first, which waits for processes to load.
    """

    config: DemoConfig
    receipts: tuple[Receipt, ...]
    accuracy: float
    accuracy_plain: float
    seconds: float
    round_seconds: tuple[float, ...]


def run_processes(config: DemoConfig, progress: Callable[[int], object] = lambda _: None) -> ProcessesResult:
    """Run the demo's study with one process a party.

    Args:
        config: what to run; drop-outs are left to chance here, nobody is made to vanish.
        progress: called with the number of finished rounds.

    Raises:
        RoundRefused: a process failed, or the study took too long.
    """
    with tempfile.TemporaryDirectory(prefix="secagg-demo-") as made:
        home = Path(made)
        _write_study(home, config)
        started = time.perf_counter()
        processes = {"coordinator": _spawn(home, "coordinator", "serve", "--host", "127.0.0.1", "--until-finished")}
        for site in range(1, config.sites + 1):
            processes[f"site {site}"] = _spawn(home, f"site {site}", *_join(site))
        try:
            ends = _wait(home, config, processes, progress)
        finally:
            for process in processes.values():
                process.kill()
                process.wait()
        seconds = time.perf_counter() - started
        return _judge(home, config, seconds, ends)


def _write_study(home: Path, config: DemoConfig) -> None:
    """Do the ceremony; on one machine, every site shares the lead's folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.create(home, f"demo {config.dataset}", f"https://localhost:{port}", SystemEntropy())
    path = home / "study.toml"
    options = (
        f'dataset = "{config.dataset}"\nsites = {config.sites}\nrounds = {config.rounds}\nskew = "{config.skew}"\n'
        f"seed = {config.seed}\n"
    )
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^steps = .*\nlearning_rate = .*\n", options, text)
    limit = config.range or update_limit(0, config.rounds)
    for key, value in (("rounds", config.rounds), ("bits", config.bits), ("range", limit), ("max_examples", 100_000)):
        text = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", text, count=1)
    path.write_text(text, encoding="utf-8")
    from secagg.demo import site_task

    folder.set_model(path, weights.encode(site_task.initial(definition.load(path).task)))
    for site in range(1, config.sites + 1):
        folder.add_site(path, identity.create(home / f"site{site}.key", f"hospital {site}", SystemEntropy()))
    study = definition.load(path)
    for site in range(1, config.sites + 1):
        signed = approval.sign(study, identity.load(home / f"site{site}.key"))
        weights.write(approval.path_beside(path, site), msgspec.json.encode(signed))


def _join(site: int) -> tuple[str, ...]:
    return ("join", "--key", f"site{site}.key", "--task", TASK, "--give-up-after", str(START_SECONDS), "--json")


def _spawn(home: Path, name: str, verb: str, *arguments: str) -> subprocess.Popen[bytes]:
    with (home / f"{name}.log").open("wb") as log:
        command = [sys.executable, "-m", "secagg", verb, "study.toml", *arguments]
        return subprocess.Popen(command, cwd=home, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def _wait(
    home: Path,
    config: DemoConfig,
    processes: dict[str, subprocess.Popen[bytes]],
    progress: Callable[[int], object],
) -> list[float]:
    """Wait for all processes; return when each round ended."""
    transcript = home / "coordinator-state" / "receipts.jsonl"
    until = time.monotonic() + START_SECONDS + LONGEST_SECONDS_PER_ROUND * config.rounds
    ends: list[float] = []
    while any(process.poll() is None for process in processes.values()):
        for name, process in processes.items():
            if process.poll():
                raise RoundRefused(f"the {name} failed: {_last_line(home / f'{name}.log')}")
        if time.monotonic() > until:
            raise RoundRefused("the processes took too long; this machine may be busy")
        lines = transcript.read_bytes().count(b"\n") if transcript.exists() else 0
        while len(ends) < lines:
            ends.append(time.monotonic())
            progress(len(ends))
        time.sleep(0.02)
    return ends


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")[:300]


def _judge(home: Path, config: DemoConfig, seconds: float, ends: list[float]) -> ProcessesResult:
    """Read the receipts, measure the weights, and train the plain federation beside them."""
    import torch

    from secagg.demo import site_task
    from secagg.demo.training import moved, plain_mean

    state = home / "coordinator-state"
    lines = (state / "receipts.jsonl").read_bytes().splitlines()
    receipts = tuple(msgspec.convert(msgspec.json.decode(line)["round"], SignedReceipt).receipt for line in lines)
    here = site_task.consortium(definition.load(home / "study.toml").task)
    data = weights.decode((state / "models" / "last.safetensors").read_bytes())
    accuracy = here.accuracy({name: torch.from_numpy(array) for name, array in data.items()})
    plain = here.start
    for said in receipts:
        updates = {site: here.local_update(site, said.round, plain) for site in said.included}
        plain = moved(plain, plain_mean(updates, here.weights)) if updates else plain
    gaps = tuple(later - earlier for earlier, later in pairwise(ends))
    return ProcessesResult(config, receipts, accuracy, here.accuracy(plain), seconds, gaps)
