"""The table of who may import what holds, on paper (the syntax tree) and in a running interpreter."""

import json
import subprocess
import sys

import pytest

from tests.architecture import rules
from tests.architecture.rules import Module

pytestmark = pytest.mark.fast

OPTIONAL = ("torch", "opacus", "sklearn", "matplotlib", "starlette", "uvicorn", "httpx", "flwr", "nvflare")


def test_packages_keep_the_table():
    found = [violation for module in rules.modules() for violation in rules.imports_follow_the_table(module)]
    assert not found, "\n" + "\n".join(map(str, found))


def test_every_package_is_seen():
    assert {module.name for module in rules.modules()} >= set(rules.PACKAGES)


SANS_IO = (
    "asyncio",
    "socket",
    "ssl",
    "http",
    "threading",
    "subprocess",
    "time",
    "datetime",
    "random",
    "logging",
    "os",
)

PLANTED = [
    # (module, source, what the violation says)
    ("quant.clip", "import torch", "may not import torch"),
    ("quant.clip", "import secagg", "may not import secagg"),
    ("quant.clip", "from protocols import wire", "may not import protocols.wire"),
    ("quant.clip", "from cryptography.hazmat import x", "may not import cryptography"),
    ("quant.clip", "def f():\n    import torch", "may not import torch"),
    ("quant.clip", "if TYPE_CHECKING:\n    import torch", "may not import torch"),
    ("quant.clip", "importlib.import_module('torch')", "may not import torch"),
    ("quant.clip", "__import__('torch')", "may not import torch"),
    ("quant.clip", "importlib.import_module(name)", "computed name"),
    ("quant.clip", "import socket", "must never import socket"),
    ("protocols.wire", "import quant", "may not import quant"),
    ("protocols.wire", "from secagg.config import Study", "may not import secagg.config"),
    ("protocols.wire", "import typer", "may not import typer"),
    *(("protocols.pairwise.client", f"import {name}", f"must never import {name}") for name in SANS_IO),
    ("protocols.pairwise.client", "import http.client as c", "must never import http"),
    ("protocols.primitives.prg", "from ..pairwise import graph", "protocols.pairwise.graph"),
    ("protocols.primitives", "from ..pairwise import graph", "protocols.pairwise.graph"),
    *(
        (module, f"import {name}", f"may not import {name}")
        for module in ("secagg", "secagg.session", "secagg.cli", "secagg.audit.log")
        for name in OPTIONAL
    ),
    ("secagg.demo.training", "import starlette", "may not import starlette"),
    ("secagg.coordinator.app", "from secagg import site", "must never import secagg.site"),
    ("secagg.site.client", "import secagg.coordinator", "must never import"),
    ("secagg.audit.log", "from secagg.coordinator import x", "may not import"),
    ("secagg.audit.log", "from ..site import x", "may not import secagg.site"),
    ("secagg.audit.log", "import secagg", "may not import secagg"),
    ("secagg.session", "from secagg import integrations", "must never import"),
    ("secagg.session", "def f():\n    import secagg.integrations.flower", "must never"),
    ("secagg.cli.flower", "from secagg.integrations import flower", "inside a function"),
    ("secagg.integrations.flower.app", "import nvflare", "may not import nvflare"),
    ("secagg.integrations.flower.app", "from .. import nvflare", "must never import"),
]


@pytest.mark.parametrize(("name", "source", "says"), PLANTED)
def test_planted_import_is_seen(name, source, says):
    module = Module(name, source, is_package=name in ("secagg", "protocols.primitives"))
    violations = [str(violation) for violation in rules.imports_follow_the_table(module)]
    assert len(violations) == 1
    assert says in violations[0]


def loaded_by(statement: str, without: tuple[str, ...] = ()) -> set[str]:
    """What a fresh interpreter has loaded after ``statement``, with ``without`` not importable."""
    script = (
        f"import sys, json; sys.modules.update(dict.fromkeys({without!r}))\n{statement}\n"
        "loaded = {name.split('.')[0] for name, module in sys.modules.items() if module}\n"
        "json.dump(sorted(loaded), sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=rules.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr))


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import quant", {*OPTIONAL, "cryptography", "protocols", "secagg", "typer", "rich"}),
        ("import protocols", {*OPTIONAL, "quant", "secagg", "typer", "rich", "asyncio", "ssl"}),
        ("import protocols, quant, secagg", {*OPTIONAL}),
    ],
)
def test_import_loads_no_more_than_it_says(statement, absent):
    assert loaded_by(statement) & absent == set()


def test_command_line_works_without_any_extra():
    loaded_by(
        "import secagg.cli\n"
        "try:\n    sys.argv = ['secagg', '--help']; secagg.cli.main()\n"
        "except SystemExit as end:\n    code = end.code\n    if code: raise",
        without=OPTIONAL,
    )
