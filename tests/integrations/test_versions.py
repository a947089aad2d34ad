"""The README's table of versions says against what the adapters were run: the pins, and whatever is under test now."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.support.stacks import ROOT

README = (ROOT / "secagg/integrations/README.md").read_text(encoding="utf-8")
DISTRIBUTIONS = {"Flower": "flwr", "NVIDIA FLARE": "nvflare", "Ray": "ray"}


def listed(framework: str) -> set[str]:
    return set(re.findall(rf"^\| {framework} \| ([0-9.]+) \|", README, re.MULTILINE))


@pytest.mark.fast
@pytest.mark.parametrize("framework", ["Flower", "Ray"])
def test_what_the_constraints_pin_was_run(framework: str) -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = re.search(rf"^{DISTRIBUTIONS[framework]}==([0-9.]+)$", pins, re.MULTILINE)
    assert pinned
    assert pinned[1] in listed(framework)


@pytest.mark.stacks
@pytest.mark.parametrize(("stack", "framework"), [("flower", "Flower"), ("flower", "Ray"), ("nvflare", "NVIDIA FLARE")])
def test_what_is_run_is_listed(stack: str, framework: str) -> None:
    python = os.environ.get(f"SECAGG_{stack.upper()}_PYTHON", sys.executable)
    program = f"import importlib.metadata as m; print(m.version({DISTRIBUTIONS[framework]!r}))"
    told = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.skip(f"{framework} is not installed for {python}")
    assert told.stdout.strip() in listed(framework), "a version that the README does not list: add it once it passed"
