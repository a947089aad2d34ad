"""A consortium for tests: real files, keys, TLS and HTTP on loopback; sites as threads, or everything as processes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from protocols import ProtocolError, SystemEntropy
from secagg.coordinator.engine import Engine, LateFrame
from secagg.coordinator.gate import Gate
from secagg.coordinator.live_round import Contradiction, Delivery
from secagg.coordinator.server import make_server
from secagg.coordinator.store import Store
from secagg.coordinator.web import Web
from secagg.site.link import HttpLink, Refusal
from secagg.site.participant import Participant
from secagg.site.site_round import Member
from secagg.site.store import SiteStore
from secagg.study import approval, definition, folder, identity, weights
from secagg.study.durable import StorageError
from secagg.study.policy import SitePolicy
from secagg.study.task import Context, Task
from secagg.transport import messages

DIM = 300
MODEL = {"a": np.zeros(DIM - 7, np.float32), "b": np.zeros((1, 7), np.float32)}

QUICK = {"rounds = 10": "rounds = 3", "join = 60": "join = 5", "phase = 60": "phase = 20", "train = 3600": "train = 20"}

TASK = """
import time
import numpy as np
def train(weights, context):
    time.sleep(context.options.get("seconds", 0.0))
    scale = (context.site + 10 * (context.round % 7)) / 1000
    return {name: np.full(array.shape, scale, np.float32) for name, array in weights.items()}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def known_update(site: int, round_index: int) -> dict[str, np.ndarray]:
    """What every test task returns: constant over the coordinates, different for every site and round."""
    scale = (site + 10 * (round_index % 7)) / 1000
    return {name: np.full(array.shape, scale, np.float32) for name, array in MODEL.items()}


@dataclass
class Lab:
    """One study on disk: the lead's folder, and one folder a site."""

    home: Path
    sites: tuple[int, ...]
    port: int
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def create(cls, home: Path, sites: int = 3, changes: dict[str, str] | None = None, path: str = "") -> Lab:
        port = free_port()
        lead = home / "lead"
        folder.create(lead, "trial", f"https://localhost:{port}{path}", SystemEntropy())
        text = (lead / "study.toml").read_text()
        nearest = 'range = 0.25\nrounding = "nearest"'
        wanted = {**QUICK, "max_examples = 1000\n": "", "range = 0.25": nearest, **(changes or {})}
        for old, new in wanted.items():
            assert old in text, old
            text = text if old == "[task]" else text.replace(old, new)
        text = re.sub(r"\[task\]\n(#.*\n|\w+ = .*\n)*", "[task]\n" + (changes or {}).get("[task]", ""), text)
        (lead / "study.toml").write_text(text)
        (lead / "task.py").write_text(TASK)
        folder.set_model(lead / "study.toml", weights.encode(MODEL))
        ids = tuple(range(1, sites + 1))
        for site in ids:
            (home / f"site{site}").mkdir()
            public = identity.create(home / f"site{site}" / "site.key", f"hospital {site}", SystemEntropy())
            folder.add_site(lead / "study.toml", public)
        lab = cls(home, ids, port)
        lab.distribute()
        return lab

    def distribute(self) -> None:
        """Give every site the lead's files, and let it sign."""
        study = self.study
        for site in self.sites:
            place = self.home / f"site{site}"
            for name in ("study.toml", "task.py", "policy.toml"):
                (place / name).write_bytes((self.home / "lead" / name).read_bytes())
            if study.member(site):
                signed = approval.sign(study, self.key(site))
                (place / f"approval-{site}.json").write_bytes(msgspec.json.encode(signed))

    @property
    def study(self) -> definition.Study:
        return definition.load(self.home / "lead" / "study.toml")

    def key(self, site: int) -> identity.Identity:
        return identity.load(self.home / f"site{site}" / "site.key")

    @property
    def coordinator_key(self) -> identity.Identity:
        return identity.load(self.home / "lead" / "coordinator.key")

    @property
    def state(self) -> Path:
        return self.home / "lead" / "coordinator-state"

    def site_state(self, site: int) -> Path:
        return self.home / f"site{site}" / f"site-{site}-state"

    def engine(self, **options: Any) -> Engine:
        self.state.mkdir(exist_ok=True)
        study = self.study
        initial = (self.home / "lead" / study.model.initial).read_bytes()
        return Engine(study, self.coordinator_key, Store(self.state), initial, **options)

    # -- in threads ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def coordinator(
        self,
        *,
        until_finished: bool = False,
        poll_seconds: float = 5.0,
        listen: int | None = None,
        tls: bool = True,
        **options: Any,
    ) -> Iterator[Web]:
        """Serve over TLS from a thread of this process."""
        engine = self.engine(**options)
        lead = self.home / "lead"
        web = Web(engine, Gate(engine.study, engine.store.sequences()), poll_seconds=poll_seconds)
        server = make_server(
            web,
            host="127.0.0.1",
            port=listen or self.port,
            certificate=lead / "tls.crt" if tls else None,
            key=lead / "tls.key" if tls else None,
            until_finished=until_finished,
        )
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve()))
        thread.start()
        try:
            self.wait_until_up(port=listen)
            yield web
            if until_finished:
                thread.join(60)
        finally:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(server.stop)
            thread.join(20)
            loop.run_until_complete(asyncio.sleep(0.05))  # let closed transports say goodbye
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            engine.store.close()

    def wait_until_up(self, seconds: float = 30.0, port: int | None = None) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port or self.port), timeout=1):
                return
            time.sleep(0.05)
        raise TimeoutError("the coordinator did not come up")

    @contextlib.contextmanager
    def participant(
        self,
        site: int,
        *,
        train: Any = None,
        evaluate: Any = None,
        policy: SitePolicy | None = None,
        link_to: Engine | None = None,
        carrier: Any = HttpLink,
        state: Path | None = None,
        **options: Any,
    ) -> Iterator[Participant]:
        study = definition.load(self.home / f"site{site}" / "study.toml")
        rules = policy or SitePolicy()
        state = state or self.site_state(site)
        state.mkdir(exist_ok=True)
        store = SiteStore(state)
        link: Any = carrier(study, site, self.key(site), store.next_sequence)
        if link_to is not None:
            link.close()
            link = DirectLink(link_to, site, store.next_sequence)
        code = Task(train or _train, evaluate, None)
        privacy = rules.site_privacy(self.home / f"site{site}", study)
        member = Member(study, site, self.key(site), rules.for_rounds(study), code, store, privacy)
        given = approval.sign(study, self.key(site))
        try:
            yield Participant(member, given, rules, self.home / f"site{site}", link, **options)
        finally:
            link.close()
            store.close()

    # -- as processes ----------------------------------------------------------------------------------------------

    def spawn_coordinator(self) -> subprocess.Popen[bytes]:
        return self._spawn("lead", "serve", "study.toml", "--host", "127.0.0.1", "--until-finished")

    def spawn_site(self, site: int) -> subprocess.Popen[bytes]:
        return self._spawn(f"site{site}", "join", "study.toml", "--json", "--give-up-after", "120")

    def _spawn(self, where: str, *arguments: str) -> subprocess.Popen[bytes]:
        root = Path(__file__).parents[2]
        proxies = {"https_proxy", "http_proxy", "all_proxy", "no_proxy"}
        environment = {k: v for k, v in os.environ.items() if k.lower() not in proxies} | {"PYTHONPATH": str(root)}
        with (self.home / where / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "secagg", *arguments], cwd=self.home / where, stdout=log, stderr=log,
                env=environment, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def end_processes(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(10)

    def log(self, where: str) -> str:
        return (self.home / where / "log").read_text()


def _train(model: weights.Weights, context: Context) -> dict[str, np.ndarray]:
    del model
    return known_update(context.site, context.round)


class DirectLink:
    """The way to a coordinator's engine without a network, for tests that turn the clock themselves."""

    def __init__(self, engine: Engine, site: int, sequence: Any) -> None:
        self.engine, self._site, self._sequence = engine, site, sequence
        self.sent: list[tuple[int, int, int, bytes]] = []

    def close(self) -> None:
        pass

    def hello(self, hello: messages.Hello) -> messages.Welcome:
        return self.engine.hello(self._site, self._sequence(), hello)

    def next(self, cursor: messages.Cursor) -> messages.Instruction | None:
        self.engine.touch(self._site)
        return self.engine.instruction(self._site, cursor)

    def model(self, model: bytes) -> bytes:
        return self.engine.models.path(model).read_bytes()

    def send(self, cursor: messages.Cursor, number: int, letter: bytes, *, then: bool) -> messages.Instruction | None:
        self.sent.append((cursor.round, cursor.attempt, number, letter))
        digest = hashlib.sha256(letter).digest()
        try:
            (told,) = self.engine.accept(cursor, [Delivery(self._site, number, self._sequence(), letter, digest)])
            if isinstance(told, Exception):
                raise told
        except LateFrame as error:
            raise Refusal(410, str(error)) from None
        except Contradiction as error:
            raise Refusal(409, str(error)) from None
        except ProtocolError as error:
            raise Refusal(422, str(error)) from None
        except StorageError as error:
            raise Refusal(507, str(error)) from None
        return None  # nothing is heard before the test makes the next step

    def progress(self, fraction: float) -> None:
        pass

    def goodbye(self) -> None:
        pass
