import json
import os
import subprocess
import sys

import pytest

from secagg.cli import main
from secagg.demo import command

QUICK = ["demo", "--sites", "3", "--rounds", "2", "--skew", "iid"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_report_and_result_are_written_and_the_next_step_is_named(here, capfd):
    assert main([*QUICK, "--out", "study/one"]) == 0
    out, err = capfd.readouterr()
    assert sorted(path.name for path in (here / "study/one").iterdir()) == [
        "report.html",
        "result.json",
        "transcript.jsonl",
    ]
    assert json.loads((here / "study/one/result.json").read_text())["exact"] is True
    assert "next: open study/one/report.html" in out
    assert "round 2 of 2" in err
    assert "\x1b" not in out + err


def test_an_auditor_checks_the_study_with_no_more_arguments(here, capfd):
    assert main([*QUICK, "--out", "run"]) == 0
    assert "secagg audit run/transcript.jsonl" in capfd.readouterr().out
    assert main(["audit", "run/transcript.jsonl"]) == 0
    assert "no claim is broken" in capfd.readouterr().out


def test_json_prints_one_object_and_nothing_else(here, capfd):
    assert main([*QUICK, "--json"]) == 0
    out, err = capfd.readouterr()
    assert out.count("\n") == 1
    assert json.loads(out)["sites"] == 3
    assert err == ""
    assert list(here.iterdir()) == []


def test_json_with_a_folder_writes_the_same_figures(here, capfd):
    assert main([*QUICK, "--json", "--out", "."]) == 0
    assert json.loads(capfd.readouterr().out) == json.loads((here / "result.json").read_text())


def test_default_folder(here, capfd):
    assert main(QUICK) == 0
    assert (here / command.DEFAULT_FOLDER / "report.html").is_file()


REFUSED = [
    (["--dataset", "mnist"], "breast-cancer, digits"),
    (["--dropout", "5"], "at most 3"),
    (["--bits", "40"], "1 to 24"),
    (["--sites", "300"], "at most 227"),
    (["--out", "taken"], "cannot write to 'taken'"),
    (["--out", "taken/below"], "cannot write to 'taken/below'"),
    (["--quick", "--rounds", "4"], "give one of them"),
    (["--scheme", "qsgd"], "qsgd cannot be summed"),
    (["--scheme", "topk"], "SharedRandomK"),
    (["--scenario", "factory"], "hospitals, smart-home, vehicles"),
    (["--adaptive-clip", "1.5"], "between 0 and 1"),
    (["--downlink-bits", "64"], "1 to 24"),
    (["--sweep", "weather"], "bits, skew, sites, mixed"),
]


@pytest.mark.parametrize(
    ("options", "says"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input_gets_one_line_and_leaves_nothing(here, capfd, options, says):
    (here / "taken").write_text("a file")
    assert main(["demo", *options]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err
    assert [path.name for path in here.iterdir()] == ["taken"]


def test_unwritable_folder_is_refused_before_any_training(here, capfd, monkeypatch):
    monkeypatch.setattr(command, "_run", lambda *_, **__: pytest.fail("trained"))
    (here / "secagg-demo").write_text("a file")
    assert main(["demo"]) == 2
    assert "--out" in capfd.readouterr().err


def test_missing_extra_is_named(here, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(QUICK) == 2
    says = "secagg: secagg demo needs torch: pip install 'secagg[demo]' ('.[demo]' in a checkout)\n"
    assert capfd.readouterr().err == says


def test_options_are_checked_without_loading_torch():
    script = (
        "import sys\nfrom secagg.cli import main\ncode = main(['demo', '--sites', '2'])\n"
        "sys.exit(code if not {'torch', 'sklearn', 'matplotlib'} & set(sys.modules) else 99)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "80"}
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
