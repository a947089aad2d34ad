"""The first hour of four people: a lead and three sites, who know nothing but what ``secagg`` prints.

The people of this test read the lines that begin with "next, ", run the commands in them that are theirs, and hand over
the files that they are told to send. Each works in a folder of their own, with a ``secagg`` that pip installed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.consortium import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SITES = ("anna", "berg", "caro")
START = "secagg study new pilot --name Pilot --coordinator https://localhost:{port}"
STEP = re.compile(r"^next, (?P<who>[^:]+): (?P<what>.+)$")
COMMAND = re.compile(r"secagg (?:[^,\"]|\"[^\"]*\")+")
SENT = re.compile(r"send ((?:[\w./-]+(?:, | and )?)+) to (every site|the lead)")
LASTING = ("serve", "join")


@pytest.fixture(scope="module")
def secagg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package with pip into a clean environment; what it depends on is taken from this one."""
    home = tmp_path_factory.mktemp("environment")
    venv.EnvBuilder(with_pip=True).create(home)
    packages = next((home / "lib").glob("python*")) / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    source = home / "source"
    wanted = ("protocols", "quant", "secagg", "pyproject.toml", "README.md", "LICENSE")
    for name in wanted:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, (source / name) if (ROOT / name).is_dir() else source)
    python = home / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", source]
    subprocess.run(command, check=True, env={**environment(home), "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return home / "bin" / "secagg"


def environment(home: Path) -> dict[str, str]:
    """Nothing of this process leads to the source tree."""
    kept = {key: value for key, value in os.environ.items() if key in ("LANG", "OMP_NUM_THREADS")}
    return kept | {"PATH": f"{home / 'bin'}:/usr/bin:/bin", "HOME": str(home), "COLUMNS": "200"}


@dataclass
class People:
    """Who is there, what each is still to do, and what runs."""

    secagg: Path
    home: Path
    todo: deque[tuple[str, str]] = field(default_factory=deque)
    done: set[tuple[str, str]] = field(default_factory=set)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    at: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("lead", *SITES):
            (self.home / name).mkdir()
            self.at[name] = self.home / name

    def work(self) -> None:
        """Do what was printed until nothing is left to do."""
        while self.todo:
            who, line = self.todo.popleft()
            if (who, line) not in self.done or "add-site" in line:  # the lead does that for every site
                self.done.add((who, line))
                self.act(who, line)

    def act(self, who: str, line: str) -> None:
        if line.startswith("cd "):
            self.at[who] = self.at[who] / line.removeprefix("cd ")
        elif line.startswith("send "):
            found = SENT.search(line)
            assert found is not None, line
            for to in SITES if found[2] == "every site" else ("lead",):
                for name in re.split(r", | and ", found[1]):
                    shutil.copy(self.at[who] / name, self.at[to])
        else:
            self.run(who, line)

    def run(self, who: str, line: str) -> None:
        arguments = shlex.split(line.replace("St. Anna Hospital", f"Hospital {who}"))[1:]
        command = [self.secagg, *arguments]
        if arguments[0] in LASTING:
            with (self.at[who] / f"{arguments[0]}.log").open("wb") as log:
                self.running[f"{who} {arguments[0]}"] = subprocess.Popen(
                    command, cwd=self.at[who], stdout=log, stderr=log, env=environment(self.secagg.parents[1])
                )
            return
        # "secagg study sign" asks a person whether the fingerprints are the same.
        answered = [*command, "--yes"] if "sign" in arguments else command
        clean = environment(self.secagg.parents[1])
        for _ in range(30):
            result = subprocess.run(answered, cwd=self.at[who], capture_output=True, text=True, check=False, env=clean)
            if result.returncode == 0 or "cannot reach" not in result.stdout:
                break
            time.sleep(1)  # the lead has just started the coordinator
        assert result.returncode == 0, (who, line, result.stdout, result.stderr)
        self.read(who, result.stdout)

    def read(self, who: str, said: str) -> None:
        """Take note of the printed next steps, for whom they are."""
        for found in filter(None, map(STEP.match, said.splitlines())):
            people = SITES if "every site" in found["who"] else ("lead",) if "lead" in found["who"] else (who,)
            for step in steps(found["what"]):
                self.todo += [(person, step) for person in people]

    def end(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait(10)


def steps(what: str) -> Iterator[str]:
    """Give commands and deliveries of one printed line, in order."""
    found = [(match.start(), match[0].strip()) for pattern in (COMMAND, SENT) for match in pattern.finditer(what)]
    if what.startswith("cd "):
        found.append((0, what.split(",", maxsplit=1)[0]))
    yield from (text for _, text in sorted(found))


def test_from_install_to_a_finished_study(secagg: Path, tmp_path: Path) -> None:
    people = People(secagg, tmp_path)
    try:
        people.todo.append(("lead", START.format(port=free_port())))
        people.work()
        joined = [people.running.pop(f"{site} join") for site in SITES]
        assert [process.wait(180) for process in joined] == [0, 0, 0]
        coordinator = people.running["lead serve"]
        coordinator.send_signal(signal.SIGTERM)
        assert coordinator.wait(30) == 0, "a graceful stop"
        log = (people.at["lead"] / "serve.log").read_text()
        assert "finished: 10 rounds" in log
        for site in SITES:
            said = (people.at[site] / "join.log").read_text()
            assert "summed over 3 sites" in said
            people.read(site, said)
        people.read("lead", log)
        people.work()
        ran = [line for _, line in people.done]
        assert {line.split()[1] for line in ran if line.startswith("secagg")} == {
            "study", "keygen", "serve", "check", "join", "status", "audit",
        }  # fmt: skip
    finally:
        people.end()


def test_the_installed_package_is_whole(secagg: Path, tmp_path: Path) -> None:
    """Templates and pages come with it, and nothing is taken from the source tree."""
    code = "import json, secagg, quant, protocols; print(json.dumps([m.__file__ for m in (secagg, quant, protocols)]))"
    python = secagg.with_name("python")
    ran = subprocess.run(
        [python, "-c", code], capture_output=True, check=True, cwd=tmp_path, env=environment(secagg.parents[1])
    )
    for place in json.loads(ran.stdout):
        assert Path(place).is_relative_to(secagg.parents[1])
    package = Path(json.loads(ran.stdout)[0]).parent
    for name in ("coordinator/templates/page.html", "coordinator/grafana.json", "study/templates/study.toml.txt"):
        assert (package / name).exists()
    assert sys.version_info >= (3, 11)
