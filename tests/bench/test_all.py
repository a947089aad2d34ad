"""``secagg bench all``: one run of every bench, its page, and the comparison with an earlier run."""

from __future__ import annotations

import contextlib
import io
import json
import re
from copy import deepcopy
from pathlib import Path

import pytest

from secagg.bench.command import BENCHES
from secagg.bench.whole import COMPARED, REFERENCE, Run, compare, read_run, run_all
from secagg.cli import main
from secagg.errors import UsageError
from tests.bench.test_bench import KEYS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command leaves behind, and in ``stdout.json`` what it printed."""
    out = tmp_path_factory.mktemp("bench")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["bench", "all", "--quick", "--json", "--out", str(out)]) == 0
    (out / "stdout.json").write_text(printed.getvalue())
    return out


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return read_run(folder / "bench.json")


def test_one_json_object_with_every_bench(folder: Path, run: Run) -> None:
    assert json.loads((folder / "stdout.json").read_text()) == run
    assert run["machine"]["cores"] >= 1
    assert run["quick"] is True
    assert set(run["benches"]) == set(BENCHES)


@pytest.mark.parametrize("name", BENCHES)
def test_rows_have_the_promised_keys(name: str, run: Run) -> None:
    rows = run["benches"][name]["rows"]
    assert rows
    assert all(row.keys() >= KEYS[name] for row in rows)


def test_page_is_whole_and_alone(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert page.count("<svg") >= 9
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert "quick run" in page


def test_progress_goes_from_nothing_to_all() -> None:
    seen: list[float] = []
    benches = {"noise": lambda effort: [effort.tick(str(i)) or {} for i in range(50)], "masking": lambda effort: []}
    run_all(benches, lambda what, done: seen.append(done))  # type: ignore[arg-type]
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[-1] == pytest.approx(1)


def test_every_bench_can_be_compared(run: Run) -> None:
    assert set(COMPARED) == set(BENCHES)
    same = compare(run, run)
    assert {row.bench for row in same} == set(BENCHES)
    assert all(row.better == 1 for row in same)


def test_what_became_worse_is_below_one(run: Run) -> None:
    worse = deepcopy(run)
    for row in worse["benches"]["quant"]["rows"]:
        row["nmse"] *= 2
    for row in worse["benches"]["noise"]["rows"]:
        row["draws_per_second"] /= 4
    by_bench = {row.bench: row.better for row in compare(run, worse)}
    assert by_bench["quant"] == pytest.approx(0.5)
    assert by_bench["noise"] == pytest.approx(0.25)
    assert by_bench["peers"] == 1


def test_other_sizes_are_not_compared(run: Run) -> None:
    with pytest.raises(UsageError, match="quick"):
        compare(run, run | {"quick": False})


def test_reference_is_a_full_run_of_everything() -> None:
    if not REFERENCE.exists():
        pytest.skip("no reference is stored yet: secagg bench all --out DIR, then copy bench.json")
    reference = read_run(REFERENCE)
    assert reference["quick"] is False
    assert set(reference["benches"]) == set(BENCHES)
    assert re.fullmatch("[0-9a-f]{40}", reference["commit"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["all", "--compare", "missing.json"], "cannot read 'missing.json'"),
        (["noise", "--compare", "reference"], "goes with secagg bench all"),
    ],
)
def test_refused_before_anything_is_measured(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"bench": "masking", "rows": []}')
    assert main(["bench", "all", "--compare", str(other)]) == 2
    assert "is not what secagg bench all --json writes" in capsys.readouterr().err
