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
    environment = {**os.environ, **QUIET}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen([python, *arguments], cwd=ROOT, env=environment, **pipes) as run:
        try:
            printed, told = run.communicate(timeout=seconds)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)  # whatever it started
    assert run.returncode == 0, told.decode()[-3000:]
    return printed.decode()
