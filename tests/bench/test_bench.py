"""Benchmarks have the promised shape. No figure is tested: nothing fails because a machine was slow."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from secagg.bench.command import ALONE, BENCHES
from secagg.bench.measure import Effort
from secagg.bench.peers import elsewhere
from secagg.bench.peers.inputs import Inputs
from secagg.cli import main

OWN = {peer: os.environ.get(f"SECAGG_{peer}_PYTHON") for peer in elsewhere.PEERS}

KEYS = {
    "masking": {"case", "gbps", "limit_gbps", "fraction"},
    "quant": {"scheme", "data", "wire_bits", "clients", "dim", "nmse", "overflows"},
    "encode": {"case", "dim", "seconds", "peer", "peer_seconds", "ratio"},
    "shamir": {"case", "seconds", "peer", "peer_seconds", "ratio"},
    "scaling": {"case"},
    "memory": {"case", "peak_bytes", "packed_vector_bytes", "packed_vectors"},
    "peers": {"system", "clients", "dim", "dropped", "client_seconds", "server_seconds", "uplink_bytes", "exact"},
    "engines": {"engine", "versions", "system", "adversary", "nodes", "dim", "dropped", "seconds", "exact"},
    "mechanism": {"mechanism", "clients", "dim", "epsilon", "bits", "mse", "mse_gaussian"},
    "epsilon": {"dataset", "rounds", "dropped", "seeds", "epsilon", "distributed", "trusted", "local", "open", "exact"},
    "consortium": {"case", "seconds", "floor_seconds", "load", "masked-input"},
    "noise": {"law", "sigma", "draws_per_second", "peer", "peer_draws_per_second"},
}


def test_every_bench_has_its_keys_listed() -> None:
    assert set(KEYS) == set(BENCHES | ALONE)


@pytest.fixture(autouse=True)
def _no_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines are run by ``-m stacks``; here their interpreters lack them, whatever is installed."""
    for stack in ("FLOWER", "NVFLARE"):
        monkeypatch.setenv(f"SECAGG_{stack}_PYTHON", shutil.which("false") or "false")
    for peer in ("TENSEAL", "FEDBIOMED"):
        monkeypatch.delenv(f"SECAGG_{peer}_PYTHON", raising=False)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One bench alone; ``test_all`` sees the rows of all of them."""
    assert main(["bench", "encode", "--quick", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    report = json.loads(out)
    assert report.keys() == {"bench", "machine", "commit", "rows"}
    assert report["bench"] == "encode"


def test_a_peer_that_is_missing_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    main(["bench", "masking", "--quick", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    peer = next(row for row in rows if row.get("of") == "flwr pseudo_rand_gen")
    assert (peer["ratio"] is None) == ("missing" in peer)


def test_engines_that_are_missing_are_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    main(["bench", "engines", "--quick", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert all(row["seconds"] is None and "not installed" in row["note"] for row in rows)


def test_figures_and_a_picture_of_the_peers_are_kept(tmp_path: Path) -> None:
    assert main(["bench", "peers", "--quick", "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "peers.json").read_text())
    assert {row["clients"] for row in report["rows"]} == {5, 20}
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("python", "says"),
    [(sys.executable, "No module named 'fedbiomed'"), ("false", "ended with code 1"), ("nowhere", "No such file")],
)
def test_a_peer_is_run_by_the_interpreter_that_is_named_or_said_to_be_missing(
    python: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if python == sys.executable and importlib.util.find_spec("fedbiomed"):
        pytest.skip("Fed-BioMed is installed here")
    monkeypatch.setenv("SECAGG_FEDBIOMED_PYTHON", python)
    (row,) = elsewhere.round_of("FEDBIOMED", Inputs(3, 50, 0), Effort())
    assert says in row["note"]
    assert row["client_seconds"] is None


@pytest.mark.stacks
@pytest.mark.parametrize(("peer", "exact"), [("FEDBIOMED", True), ("TENSEAL", False)])
def test_a_peer_in_its_own_environment_opens_the_same_mean(peer: str, exact: bool) -> None:
    python = OWN.get(peer)
    if not python:
        pytest.skip(f"name an interpreter in SECAGG_{peer}_PYTHON")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"SECAGG_{peer}_PYTHON", python)
        (row,) = elsewhere.round_of(peer, Inputs(5, 20_000, 0), Effort())
    assert row["exact"] is exact, row
    assert row["max_error"] < 1e-3


def test_the_sampler_that_is_missing_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    main(["bench", "noise", "--quick", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["law"] for row in rows} >= {"skellam", "discrete gaussian"}
    compared = [row for row in rows if row["peer"]]
    assert all((row["peer_draws_per_second"] is None) == ("missing" in row) for row in compared)
    assert all(row["draws_per_second"] > 0 and row["fraction"] > 0 for row in compared)


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "shamir", "--quick"]) == 0
    assert "reconstruct" in capsys.readouterr().out


def test_unknown_bench(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "speed"]) == 2
    assert "known are masking" in capsys.readouterr().err
