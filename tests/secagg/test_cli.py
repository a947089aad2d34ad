"""The command line as a contract: exit codes, one clear line, and JSON that carries what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from secagg.cli import app, main, whole

ROOT = Path(__file__).parents[2]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


SIMULATE_KEYS = {
    "protocol", "clients", "survivors", "dim", "bits", "modulus_bits", "degree", "threshold", "exact",
    "uplink_bytes_per_client", "downlink_bytes_per_client", "client_seconds", "server_seconds", "peak_rss_bytes",
}  # fmt: skip


@pytest.mark.parametrize("phase", ["advertise-keys", "share-keys", "masked-input", "unmasking", "mixed"])
def test_simulate_json(capsys: pytest.CaptureFixture[str], phase: str) -> None:
    code, out, err = run(
        capsys, "simulate", "--clients", "8", "--dim", "500", "--dropout", "0.2", "--phase", phase, "--json"
    )
    assert (code, err) == (0, "")
    figures = json.loads(out)
    assert figures.keys() >= SIMULATE_KEYS
    assert figures["exact"] is True
    assert figures["survivors"] == {"unmasking": 8, "mixed": 6}.get(phase, 6)
    assert figures["modulus_bits"] == 11


def test_simulate_active(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "simulate", "--clients", "7", "--dim", "100", "--adversary", "active", "--dropout", "1",
        "--phase", "consistency-check", "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["exact"] is True
    assert "consistency-check" in json.loads(out)["uplink_bytes_per_client"]


def test_simulate_secagg_plus(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "simulate", "--protocol", "secagg+", "--clients", "80", "--dim", "100", "--dropout", "0.05", "--json"
    )
    figures = json.loads(out)
    assert code == 0
    assert figures["exact"] is True
    assert figures["degree"] < 79
    assert figures["survivors"] == 76


def test_simulate_view(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "simulate", "--dim", "2000", "--view")
    assert code == 0
    assert "true integer" in out
    assert "what left it" in out
    assert "equals the sum" in out


def test_uplink_is_packed(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(
        capsys, "simulate", "--clients", "50", "--dim", "100000", "--bits", "8", "--dropout", "0.2", "--json"
    )
    figures = json.loads(out)
    assert figures["exact"] is True
    assert figures["uplink_bytes_per_client"]["masked-input"] <= 1.10 * 100_000 * (8 + 6) / 8


BAD = [
    ("simulate", "--clients", "2"),
    ("simulate", "--clients", "5", "--threshold", "6"),
    ("simulate", "--bits", "0"),
    ("simulate", "--bits", "33"),
    ("simulate", "--bits", "60"),
    ("simulate", "--dim", "0"),
    ("simulate", "--dropout", "-1"),
    ("simulate", "--dropout", "1.5"),
    ("simulate", "--dropout", "nan"),
    ("simulate", "--dropout", "11"),
    ("simulate", "--phase", "lunch"),
    ("simulate", "--phase", "consistency-check"),
    ("simulate", "--protocol", "magic"),
    ("simulate", "--adversary", "friendly"),
    ("simulate", "--workers", "0"),
    ("simulate", "--corrupt", "-1"),
    ("simulate", "--corrupt", "9"),
    ("simulate", "--clients", "many"),
    ("simulate", "--no-such-option"),
    ("no-such-command",),
    ("demo", "--dataset", "mnist"),
    ("demo", "--sites", "2"),
    ("demo", "--skew", "diagonal"),
    ("demo", "--out", "/proc/nowhere/at/all"),
]


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_bad_input_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("secagg: ")


def test_a_refused_round_is_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "simulate", "--clients", "5", "--dim", "10", "--dropout", "3")
    assert (code, out) == (1, "")
    assert "needs 4" in err
    assert err.count("\n") == 1


def test_a_threshold_that_the_clients_refuse_is_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "simulate", "--clients", "5", "--threshold", "2")
    assert (code, out) == (1, "")
    assert "[C3]" in err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("simulate", "demo"):
        code, out, _ = run(capsys, command, "--help")
        assert code == 0
        assert f"secagg {command} --" in " ".join(out.split())


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    entries = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert len(entries) == 12
    for name, entry in entries.items():
        assert " ".join(whole(entry).help.split("\n\n")[0].split()) == entry.help, name


def parts(command: Any) -> list[Any]:
    """A command, or all commands of a group."""
    inner = getattr(command, "commands", None)
    return [command] if inner is None else [part for one in inner.values() for part in parts(one)]


def test_every_argument_and_option_is_explained() -> None:
    entries = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for command in (part for entry in entries.values() for part in parts(whole(entry))):
        assert command.params
        assert all(parameter.help for parameter in command.params), command.name


def test_a_list_of_commands_and_a_wrong_name_say_no_more_than_they_should(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("study",)):
        code, out, err = run(capsys, *arguments)
        assert (code, err) == (2, "")
        assert "Commands" in out
    code, _, err = run(capsys, "simulat")
    assert (code, err.count("'simulate'")) == (2, 1)
    assert err.endswith(" --help)\n")


def test_the_installed_program_and_module_agree() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "secagg", "simulate", "--clients", "1", "--json"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.startswith("secagg: ")


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], ["numpy", "cryptography", "msgspec", "quant", "protocols"]),
        (["simulat"], ["secagg.library", "torch", "sklearn", "matplotlib"]),
        (["audit", "--help"], ["secagg.session", "secagg.coordinator", "secagg.site", "torch", "matplotlib"]),
        (["demo", "--help"], ["torch", "sklearn", "matplotlib", "starlette"]),
    ],
)
def test_a_command_loads_its_own_code_only(arguments: list[str], absent: list[str]) -> None:
    probe = (
        f"import sys, secagg.cli; secagg.cli.main({arguments!r})\n"
        f"sys.stderr.write('loaded: ' + ' '.join(name for name in {absent!r} if name in sys.modules))"
    )
    finished = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True)
    assert finished.stderr.endswith("loaded: ")


def test_a_public_name_is_the_call_and_not_a_module_of_its_name() -> None:
    probe = "import secagg.attack.canaries, secagg; print(callable(secagg.aggregate), secagg.analytics.Query.__name__)"
    finished = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True)
    assert finished.stdout.split() == ["True", "Query"]


def test_a_foreign_quant_is_refused_at_import(tmp_path: Path) -> None:
    (tmp_path / "quant").mkdir()
    (tmp_path / "quant" / "__init__.py").write_text("")
    probe = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.path.append({str(ROOT)!r}); import secagg"
    finished = subprocess.run([sys.executable, "-I", "-c", probe], capture_output=True, text=True, check=False)
    assert finished.returncode != 0
    assert str(tmp_path / "quant") in finished.stderr
