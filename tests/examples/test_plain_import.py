"""The sessions carried by something else than our own coordinator: each example runs, and stays an example."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXAMPLES = {"pipes": "included (1, 2, 3), mean 0.200", "files": "mean 0.250", "http_service": "mean 0.250"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_gives_the_mean(name: str, tmp_path: Path) -> None:
    command = [sys.executable, HERE / f"{name}.py", *([tmp_path] if name == "files" else [])]
    where = {"cwd": HERE.parents[1], "env": {"PYTHONPATH": "."}}
    run = subprocess.run(command, **where, check=False, capture_output=True, timeout=120)
    assert run.returncode == 0, run.stderr.decode()
    assert EXAMPLES[name] in run.stdout.decode()


@pytest.mark.fast
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_short(name: str) -> None:
    lines = (HERE / f"{name}.py").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.startswith(("import ", "from ", '"""'))]
    assert len(code) <= 42
