"""The site's own launcher without an engine around it: a hostile app in its child process, and what it gets."""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.cli.build import build_fab_from_disk
from flwr.supercore.task_identity import TaskIdentity

from protocols.pairwise import LocalPolicy
from secagg import UsageError
from secagg.integrations.flower import launcher, records
from secagg.integrations.flower.launcher import Launcher, OnlySecureSums, SitePolicy
from secagg.integrations.flower.superlink import PROJECT

# Flower 1.41 packs apps with an interface of pathspec that is going away.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

APP = """
import os
import sys
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

app = ClientApp()
server = ServerApp()


@app.train()
def train(message, context):
    print("what an app prints is no answer")
    folder = os.getcwd()
    others = oct(os.stat(os.path.dirname(folder)).st_mode)
    where = {"folder": folder, "others": others, "modules": sys.path}
    seen = where | {"state": sorted(context.state), "variables": sorted(os.environ), "words": sys.argv}
    return Message(RecordDict({"loot": ConfigRecord(seen), "arrays": message.content["arrays"]}), reply_to=message)
"""


def context() -> Context:
    secrets = ConfigRecord({"r/state": b"the keys of an open round"})
    return Context(7, 101, {"partition-id": 0}, RecordDict({records.STATE: secrets, "mine": ConfigRecord()}), {})


def message(kind: str = "train") -> Message:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 7, 1
    arrays = ArrayRecord({"w": Array(np.ones(3, np.float32))})
    made = Message(RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 1})}), 101, kind)
    made.metadata.__dict__["_message_id"] = "1"
    return made


def fab(tmp_path: Path, app: str = APP) -> list[Any]:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "app.py").write_text(app)
    content = build_fab_from_disk(tmp_path)
    return ["trial/trial", "0.0.1", hashlib.sha256(content).hexdigest(), content]


def test_an_app_sees_neither_open_rounds_nor_what_the_launcher_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_PASSWORD", "of the site")
    runs = Launcher(
        "127.0.0.1:1", b"runtime secret", SitePolicy(LocalPolicy(), tmp_path), sandbox=["env", "WRAPPED=yes"]
    )
    reply = runs._run_app(fab(tmp_path), message(), context())
    loot = reply.content["loot"]
    assert loot["state"] == ["mine"]
    assert "WRAPPED" in loot["variables"]
    assert loot["others"].endswith("711")  # nobody lists it, to put modules into the app's own
    assert not {"", loot["folder"]} & set(loot["modules"])
    assert not {"SITE_PASSWORD", "OUT"} & set(loot["variables"])
    assert not any("secret" in word or "token" in word for word in loot["words"])
    np.testing.assert_array_equal(reply.content["arrays"]["w"].numpy(), np.ones(3, np.float32))


def test_an_app_that_has_the_mod_answers_as_one_without(tmp_path: Path) -> None:
    """It gets no parcels, for the site has taken them: its mod must not refuse what the site masks."""
    declared = "from secagg.integrations.flower import secagg_mod\n" + APP.replace("App()", "App(mods=[secagg_mod])", 1)
    runs = Launcher("127.0.0.1:1", b"runtime secret", SitePolicy(LocalPolicy(), tmp_path))
    reply = runs._run_app(fab(tmp_path, declared), message(), context())
    np.testing.assert_array_equal(reply.content["arrays"]["w"].numpy(), np.ones(3, np.float32))


def test_an_app_that_fails_says_nothing_but_that(tmp_path: Path) -> None:
    app = fab(tmp_path)
    runs = Launcher("127.0.0.1:1", b"runtime secret", SitePolicy(LocalPolicy(), tmp_path))
    with pytest.raises(UsageError, match="ended with code"):
        runs._run_app([*app[:3], b"no app"], message(), context())


def child(tmp_path: Path, program: str, seconds: float = 60.0, asked: bytes = b"asked") -> bytes:
    """What the launcher gets of a program in the place of the app's process."""
    sandbox = [sys.executable, "-c", program]
    runs = Launcher("127.0.0.1:1", b"runtime secret", SitePolicy(LocalPolicy(), tmp_path), sandbox, seconds)
    return runs._child(asked, str(tmp_path))


def test_an_app_neither_fills_the_memory_nor_outlives_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "SMALL_ANSWER", 1000)
    assert child(tmp_path, "import sys; sys.stdout.write(sys.stdin.read() * 9)") == b"asked" * 9
    with pytest.raises(UsageError, match="more than"):
        child(tmp_path, "import sys\nwhile True: sys.stdout.write('x' * 100)")
    assert child(tmp_path, "pass", asked=bytes(1 << 20)) == b""  # and it need not listen
    with pytest.raises(UsageError, match="ended with code"):
        child(tmp_path, "import time; time.sleep(600)", seconds=0.5)


def test_nothing_that_an_app_started_is_left_behind(tmp_path: Path) -> None:
    later = tmp_path / "later"
    stays = f"import time; time.sleep(1); open({str(later)!r}, 'w')"
    start = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {stays!r}], stdout=subprocess.DEVNULL)"
    assert child(tmp_path, start) == b""
    time.sleep(2.0)
    assert not later.exists()


@pytest.mark.parametrize("kind", ["train", "evaluate", "query"])
def test_nothing_is_answered_outside_of_secure_sums(kind: str) -> None:
    def leaks(asked: Message, told: Context) -> Message:
        raise AssertionError("the app was run")

    with pytest.raises(UsageError, match="only inside secure sums"):
        OnlySecureSums(LocalPolicy())(message(kind), context(), leaks)


def test_a_policy_file_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    (tmp_path / "site.key").write_bytes(bytes(32))
    bundle = hashlib.sha256(b"bundle").hexdigest()
    head = f'min_clients = 5\nadversary = "active"\nidentity = "site.key"\napps = ["{bundle}"]'
    path.write_text(f'{head}\n[roster]\n3 = "{"ab" * 32}"\n')
    policy = SitePolicy.read(path)
    assert policy.local.min_clients == 5
    assert policy.local.roster is not None
    assert policy.local.roster.members == ((3, bytes.fromhex("ab" * 32)),)
    assert policy.identity is not None
    assert policy.folder == tmp_path / "policy-state"
    policy.check_app(b"bundle")
    with pytest.raises(UsageError, match="not among the apps"):
        policy.check_app(b"another")
    for wrong in ("min_sites = 5", "min_clients = 0", 'roster = "none"', 'identity = "missing"', "["):
        path.write_text(wrong)
        with pytest.raises(UsageError, match="no policy"):
            SitePolicy.read(path)
    assert launcher.CHILD.endswith("app_process")
