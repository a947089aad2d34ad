"""The site's own launcher: it runs the apps of a SuperNode, so that masking is the site's doing and not the app's.

A mod rides in the researcher's app, which may leave it out. Here the site takes the tasks of its SuperNode itself. It
answers every phase of a secure sum in this process; only where a round waits for an update is the app run, in a child
process that gets the model and gives what it trained. The app never has the task's token, the masks or the keys, so
nothing but masked parts of sums leaves by Flower.

    flower-supernode --isolation process --superexec-auth-secret-file runtime.secret ...
    python -m secagg.integrations.flower.launcher --runtime 127.0.0.1:9094 --secret runtime.secret \
        --policy policy.toml --sandbox "unshare --net setpriv --reuid nobody --clear-groups"

What the app may do beside answering is the operating system's business: ``--sandbox`` is a command in front of its
own. It should run the app as another user, who cannot read ``runtime.secret`` or this process's memory, and without a
network. Without one the app could take tasks itself, or send what it likes to where it likes.

Flower has no public interface for this: the modules used below are those of its own ``flwr-clientapp`` (1.41).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from flwr.app import Context, Error, Message, RecordDict
from flwr.common.serde import context_to_proto, message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from protocols import SecAggError, Secret, SystemEntropy
from protocols.pairwise import LocalPolicy, Roster
from secagg.errors import UsageError
from secagg.integrations.flower import records
from secagg.integrations.flower.mod import SecAggMod

LOG = logging.getLogger("secagg.flower")

CHILD = "secagg.integrations.flower.app_process"
POLL_SECONDS = 0.25

SMALL_ANSWER = 1 << 26
"""Bytes that an app may answer beside four times what it was sent: more fills the memory of the site."""


class OnlySecureSums(SecAggMod):
    """The mod of a launcher: it lets no query through either, since what a query sends is the app's own choice."""

    @staticmethod
    def _outside(message: Message, context: Context, call_next: Callable[[Message, Context], Message]) -> Message:
        raise UsageError("this site answers only inside secure sums, and no queries")


@dataclass(frozen=True)
class SitePolicy:
    """What stands in the site's ``policy.toml``.

    Attributes:
        local: what the protocol machine insists on.
        folder: where this site remembers what it said, whatever the SuperNode forgets.
        identity: this site's key on the roster, if there is one.
        apps: SHA-256 (hex) of the app bundles that this site runs, or ``None`` for any. A server that sends other sites
            an app that trains nothing sees this site's update in the sum: members compare them like their keys.
    """

    local: LocalPolicy
    folder: Path
    identity: Secret | None = None
    apps: frozenset[str] | None = None

    def check_app(self, bundle: bytes) -> None:
        """Refuse an app that is not on the list.

        Raises:
            UsageError: naming its hash.
        """
        found = hashlib.sha256(bundle).hexdigest()
        if self.apps is not None and found not in self.apps:
            raise UsageError(f"this site does not run the app {found}: it is not among the apps of its policy")

    @classmethod
    def read(cls, path: Path) -> SitePolicy:
        """Read keys of ``LocalPolicy``, and those of this class.

        ``roster`` is a table of ids and public keys (hex), ``identity`` a 32-byte file, ``apps`` a list, and ``folder``
        by default one beside the file.

        Raises:
            UsageError: not such a file.
        """
        try:
            given: dict[str, Any] = tomllib.loads(path.read_text())
            roster, identity = given.pop("roster", None), given.pop("identity", None)
            apps, folder = given.pop("apps", None), path.parent / given.pop("folder", f"{path.stem}-state")
            if roster is not None:
                given["roster"] = Roster(tuple(sorted((int(member), bytes.fromhex(k)) for member, k in roster.items())))
            secret = None if identity is None else Secret((path.parent / identity).read_bytes())
            return cls(LocalPolicy(**given), folder, secret, None if apps is None else frozenset(apps))
        except (OSError, TypeError, ValueError, AttributeError, SecAggError) as error:
            raise UsageError(f"{path} is no policy: {error}") from error


@dataclass
class Launcher:
    """Takes and answers the tasks of one SuperNode.

    Args:
        runtime: host and port of the SuperNode's Runtime API.
        secret: of the Runtime API, the content of the file of ``--superexec-auth-secret-file``.
        policy: the site's.
        sandbox: command before the app's own.
        seconds: most time that an app may take to answer.
    """

    runtime: str
    secret: bytes
    policy: SitePolicy
    sandbox: Sequence[str] = ()
    seconds: float = 3600.0
    _mod: SecAggMod = field(init=False)

    def __post_init__(self) -> None:
        """Build the mod once."""
        identity, folder = self.policy.identity, self.policy.folder
        self._mod = OnlySecureSums(
            self.policy.local, None if identity is None else lambda context: identity, folder=lambda context: folder
        )

    def serve(self) -> None:
        """Take tasks until the process ends."""
        tasks = self._client(
            SuperExecAuthHttpInterceptor(
                master_secret=self.secret, protected_methods=frozenset({"/flwr.proto.Runtime/AcquireTask"})
            )
        )
        while True:
            found = tasks.AcquireTask(AcquireTaskRequest(supported_task_types=["flwr-clientapp"]))
            if not (found.HasField("task") and found.token):
                time.sleep(POLL_SECONDS)
                continue
            try:
                self._handle(found.token)
            except Exception:
                # The SuperNode gave the task up, or went away; the next one is taken all the same.
                LOG.exception("a task was lost")

    def _client(self, *interceptors: Any) -> Any:
        return RuntimeHttpClient.from_server_address(
            server_address=self.runtime,
            insecure=True,  # the SuperNode's own loopback
            root_certificates=None,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"), *interceptors],
            retry_invoker=make_simple_http_retry_invoker(),
        )

    def _handle(self, token: str) -> None:
        client = self._client(RuntimeTokenHttpInterceptor(token))
        beats = HeartbeatSender(lambda: bool(client.SendTaskHeartbeat(SendTaskHeartbeatRequest()).success))
        beats.start()
        try:
            message, context, run, fab = pull_task_input(client)
            app = [run.fab_id, run.fab_version, fab.hash_str, fab.content]
            try:
                self.policy.check_app(fab.content)
                reply = self._mod(message, context, lambda asked, told: self._run_app(app, asked, told))
            except SecAggError as error:
                LOG.warning("refused: %s", error)
                reply = Message(Error(code=2, reason=str(error)), reply_to=message)
            except Exception as error:
                # What went wrong may tell of data: it stays here.
                LOG.exception("a task failed")
                reply = Message(Error(code=2, reason=type(error).__name__), reply_to=message)
            push_message(client, reply, context)
            push_task_output(client, context, "completed", "")
        finally:
            beats.stop()
            client.close()

    def _run_app(self, app: list[Any], message: Message, context: Context) -> Message:
        """Run the researcher's app in a child process and return what it answered; it may be anything."""
        known = {name: record for name, record in context.state.items() if name != records.STATE}
        shown = Context(context.run_id, context.node_id, context.node_config, RecordDict(known), context.run_config)
        asked = [*app, message_to_proto(message).SerializeToString(), context_to_proto(shown).SerializeToString()]
        with _home() as home:
            answer = self._child(msgspec.msgpack.encode(asked), home)
        return message_from_proto(ProtoMessage.FromString(msgspec.msgpack.decode(answer, type=bytes)))

    def _child(self, asked: bytes, home: str) -> bytes:
        """Run the child process and return what it wrote; its time, its answer and its life are bounded.

        Raises:
            UsageError: it failed, took too long, or wrote much more than it was given.
        """
        most = 4 * len(asked) + SMALL_ANSWER
        with subprocess.Popen(
            [*self.sandbox, sys.executable, "-m", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_bare_environment(home),
            cwd=home,
            start_new_session=True,
        ) as child:
            watch = threading.Timer(self.seconds, _end, [child])
            feed = threading.Thread(target=_feed, args=(child, asked), daemon=True)
            watch.start()
            feed.start()
            try:
                answer = child.stdout.read(most + 1) if child.stdout else b""
                if len(answer) <= most:
                    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # its number is its own until it is reaped
            finally:
                watch.cancel()
                _end(child)
                feed.join()
        if len(answer) > most:
            raise UsageError(f"the app answered with more than {most} bytes")
        if child.returncode:
            raise UsageError(f"the app ended with code {child.returncode}")
        return answer


def _feed(child: subprocess.Popen[bytes], asked: bytes) -> None:
    if child.stdin:  # a child that does not listen has ended, and its code says how
        with contextlib.suppress(OSError):
            child.stdin.write(asked)
        with contextlib.suppress(OSError):
            child.stdin.close()


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it started that is still in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


@contextlib.contextmanager
def _home() -> Iterator[str]:
    """Make a folder in which an app may write, also as another user, and that nobody else of the machine finds."""
    with tempfile.TemporaryDirectory() as outer:
        home = Path(outer) / SystemEntropy().take(16, "home").hex()
        home.mkdir()
        home.chmod(0o777)
        os.chmod(outer, 0o711)
        yield str(home)


def _bare_environment(home: str) -> dict[str, str]:
    """Return what an app may know: where programs and modules lie, and a home that is removed afterwards."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "SECAGG_TRIAL") if name in os.environ}
    own = {"HOME": home, "FLWR_HOME": home, "FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    return {**kept, **own, "PYTHONSAFEPATH": "1"}  # no modules from the folder in which the app may write


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="Run the apps of a SuperNode, masked by the site's own hand.")
    parser.add_argument("--runtime", required=True, help="host:port of the SuperNode's Runtime API")
    parser.add_argument("--secret", required=True, type=Path, help="the file of --superexec-auth-secret-file")
    parser.add_argument("--policy", required=True, type=Path, help="policy.toml of this site")
    parser.add_argument("--sandbox", default="", help="command before the app's own, such as 'unshare --net'")
    parser.add_argument("--seconds", type=float, default=3600.0, help="most time that an app may take")
    given = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    policy = SitePolicy.read(given.policy)
    Launcher(given.runtime, given.secret.read_bytes(), policy, shlex.split(given.sandbox), given.seconds).serve()


if __name__ == "__main__":
    main()
