"""``--tune`` on a real task: it never ends below the planner, it repeats, and it says what it lacks."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import quant
from secagg.cli import main
from secagg.plan.goal import Goal, decide
from secagg.plan.rehearsal import Rehearsal, find_task
from secagg.plan.tuning import TOLERANCE, tune
from tests.plan.fedavg_task import LAYERS, SITES, sample, train

pytest.importorskip("optuna")


def search(trials=12, seed=0, **changed):
    updates = list(sample())
    goal = Goal(clients=SITES, updates=quant.Updates.sampled(updates), **({"wire_bits": 12} | changed))
    return goal, tune(goal, decide(goal).quantization, train, trials, sample=updates, layers=LAYERS, seed=seed)


@pytest.fixture(scope="module")
def tuned():
    return search()


def test_it_keeps_the_accuracy_in_fewer_bytes_than_the_planner_was_given(tuned):
    goal, found = tuned
    assert len(found.trials) == 12
    assert found.plain > 0.9
    assert found.best.accuracy >= found.plain - TOLERANCE
    assert found.best.wire_bytes <= found.trials[0].wire_bytes
    for trial in found.trials:
        codec = quant.from_config(trial.quantization, goal.updates.dim)
        assert codec.facts.field_width(SITES) <= 12
        assert codec.config() == trial.quantization


def test_layers_get_bits_of_their_own(tuned):
    _, found = tuned
    layered = [trial for trial in found.trials if trial.codec.startswith("per layer")]
    assert layered
    assert all(len(trial.wire_bits) == 2 and trial.quantization["layers"] == list(LAYERS) for trial in layered)


def test_the_front_is_what_nothing_beats(tuned):
    _, found = tuned
    front = found.front
    for trial in found.trials:
        assert any(t.accuracy >= trial.accuracy and t.wire_bytes <= trial.wire_bytes for t in front)
    assert [t.wire_bytes for t in front] == sorted({t.wire_bytes for t in front})


def test_the_same_seed_gives_the_same_trials(tuned):
    assert search()[1] == tuned[1]
    assert search(trials=6, seed=1)[1].trials[1:] != tuned[1].trials[1:6]


def test_a_rehearsal_is_the_mean_up_to_the_codecs_error():
    updates = sample()
    assert np.array_equal(Rehearsal(None, 31, 0).mean(updates), updates.mean(axis=0))
    keys = {"levels": 2**12, "range": 4.0, "rotation": True, "rounding": "dither"}
    first, again, other = (Rehearsal(keys, 31, seed) for seed in (0, 0, 1))
    mean = first.mean(updates)
    assert 0 < np.abs(mean - updates.mean(axis=0)).max() < 8 / 2**12 * np.sqrt(32)
    assert np.array_equal(again.mean(updates), mean)
    assert not np.array_equal(other.mean(updates), mean)
    assert not np.array_equal(first.mean(updates), mean)  # a new round, new coins


@pytest.fixture
def here(monkeypatch, tmp_path):
    """A folder with the task in it, as a user would have."""
    (tmp_path / "my_task.py").write_text((Path(__file__).parent / "fedavg_task.py").read_text())
    np.save(tmp_path / "sample.npy", sample())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_task", None)


TUNE = ("plan", "--clients", str(SITES), "--sample", "sample.npy", "--wire-bits", "10", "--tune", "4")


def test_by_command_line(here, capsys):
    arguments = [*TUNE, "--task", "my_task:train", "--layers", "30,1", "--out", "study.toml"]
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert len(found["tuned"]["trials"]) == 4
    assert found["quantization"] == found["tuned"]["best"]["quantization"]
    text = (here / "study.toml").read_text()
    assert "# tuned in 4 trials: accuracy" in text
    assert main(arguments) == 0
    assert "plain float averaging reaches" in capsys.readouterr().out
    assert (here / "study.toml").read_text() == text


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("my_task", "package.module:function"),
        ("my_task:nothing", "cannot load"),
        ("no_such_module:train", "cannot load"),
        ("my_task:NUMBER", "is no function"),
        ("my_task:forgets", "never called rehearsal.mean"),
        ("my_task:says_nothing", "must return one accuracy"),
    ],
)
def test_bad_tasks_are_one_line_and_code_2(here, capsys, task, says):
    assert main([*TUNE, "--task", task]) == 2
    _, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize(("layers", "says"), [("30", "add up to its coordinates (31)"), ("a,b", "lengths with commas")])
def test_bad_layers_are_refused(here, capsys, layers, says):
    assert main([*TUNE, "--task", "my_task:train", "--layers", layers]) == 2
    assert says in capsys.readouterr().err


def test_without_optuna_it_says_what_to_install(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main([*TUNE, "--task", "my_task:train"]) == 2
    assert "pip install 'secagg[tune]'" in capsys.readouterr().err


def test_tasks_are_found_from_the_present_folder(here):
    assert find_task("my_task:train").__name__ == "train"
