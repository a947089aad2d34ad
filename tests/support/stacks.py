"""Runs programs in the environment of another framework, whose pins may clash with ours.

``SECAGG_FLOWER_PYTHON`` and ``SECAGG_NVFLARE_PYTHON`` name the interpreters of environments where the framework and
this project are installed; without them, this environment has to do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

ROOT = Path(__file__).parents[2]
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}


def run_in_stack(stack: str, module: str, *arguments: str, seconds: int = 300) -> str:
    """Run the interpreter of ``stack`` and return what it printed; skip if ``module`` is not installed there."""
    variable = f"SECAGG_{stack.upper()}_PYTHON"
    python = os.environ.get(variable, sys.executable)
    probe = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"{module} is not installed for {python}: name an environment that has it in {variable}")
    mark = f"SECAGG_STACK_RUN={uuid4().hex}"
    environment = {**os.environ, **QUIET, **dict([mark.split("=")])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([python, *arguments], cwd=ROOT, env=environment, **pipes) as run:
        try:
            printed, told = run.communicate(timeout=seconds)
        finally:
            _end_all(mark)
    assert run.returncode == 0, told.decode()[-3000:]
    return printed.decode()


def _end_all(mark: str) -> None:
    """End whatever the run started and left, also in sessions of its own: processes inherit their environment."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone, or not ours
            if mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
