"""The adapter inside Flower's own engine (Ray workers), in a process of its own: engine and Ray print and warn."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="flwr[simulation] is not installed")
def test_a_cnn_trained_in_the_simulation_is_as_good_as_without_masks() -> None:
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.integrations.flower.digits_simulation", "6", "6"]
    run = subprocess.run(command, cwd=ROOT, env={**os.environ, **quiet}, capture_output=True, timeout=550, check=False)
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    report = json.loads(next(line for line in run.stdout.decode().splitlines() if line.startswith('{"plain"')))
    assert report["secure"]["rounds"] == report["plain"]["rounds"] == [1, 2, 3, 4, 5, 6]
    assert report["plain"]["accuracy"] > 0.85
    assert abs(report["secure"]["accuracy"] - report["plain"]["accuracy"]) <= 0.01
