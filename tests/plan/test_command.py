"""``secagg plan`` by hand: what it chooses, what it writes, what it refuses."""

import json
import tomllib

import numpy as np
import pytest

import quant
from secagg import theme
from secagg.cli import main


def run(capsys, *arguments):
    code = main(["plan", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def run_json(capsys, *arguments):
    code, out, err = run(capsys, *arguments, "--json")
    assert err == ""
    return code, json.loads(out)


BOUNDED = ("--clients", 10, "--dim", 4096, "--clip", 1.0)


def test_a_narrow_terminal_cuts_no_figure_off(capsys, monkeypatch):
    monkeypatch.setattr(theme, "PIPE_WIDTH", 80)
    _, out, _ = run(capsys, *BOUNDED, "--wire-bits", 8)
    assert "\N{HORIZONTAL ELLIPSIS}" not in out
    assert "│" not in out


def test_json_carries_the_choice_and_what_the_others_cost(capsys):
    code, found = run_json(capsys, *BOUNDED, "--wire-bits", 8)
    assert code == 0
    assert found["feasible"] is True
    assert found["chosen"]["levels"] == 26
    assert found["chosen"] == found["alternatives"][0]
    assert [row["wire_bits"] for row in found["widths"]] == list(range(4, 13))
    codec = quant.from_config(found["quantization"], 4096)
    assert codec.facts.field_width(10) == 8
    errors = [row["error"] for row in found["alternatives"]]
    assert errors == sorted(errors)


def test_the_table_marks_the_chosen(capsys):
    code, out, _ = run(capsys, *BOUNDED, "--error", 1e-3)
    assert code == 0
    marked = [line for line in out.splitlines() if "│ > │" in line]
    assert len(marked) == 2
    assert all("rotation + dither" in line for line in marked)
    assert "next: " in out


def test_without_a_target_the_default_is_said(capsys):
    _, out, _ = run(capsys, *BOUNDED)
    assert "an error of at most 0.001" in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--clients", 100, "--dim", 4096, "--clip", 1, "--wire-bits", 5), "need fields of at least 7 bits"),
        ((*BOUNDED, "--bytes", 1000), "take 2048 bytes, not 1000"),
        ((*BOUNDED, "--error", 1e-29), "no field of at most 40 bits"),
    ],
)
def test_infeasible_is_code_1_with_the_nearest(capsys, tmp_path, arguments, reason):
    out = tmp_path / "study.toml"
    code, found = run_json(capsys, *arguments, "--out", out)
    assert code == 1
    assert found["feasible"] is False
    assert reason in found["reason"]
    assert "chosen" not in found
    assert (
        quant.from_config(found["quantization"], 4096).facts.field_width(arguments[1]) == found["nearest"]["wire_bits"]
    )
    assert not out.exists()
    code, text, _ = run(capsys, *arguments)
    assert code == 1
    assert "infeasible" in text
    assert "nearest" in text


def test_short_bytes_can_be_met_by_leaving_coordinates_out(capsys):
    code, found = run_json(capsys, *BOUNDED, "--bytes", 1000, "--sparse")
    assert code == 0
    assert found["chosen"]["bytes"] <= 1000
    assert found["quantization"]["random_k"] == found["chosen"]["kept"]


def test_bytes_are_those_that_a_session_sends(capsys):
    from secagg.plan.goal import masked_bytes

    for bits in (5, 7, 8, 11):
        _, found = run_json(capsys, *BOUNDED, "--wire-bits", bits)
        assert masked_bytes(10, 4096, found["quantization"]) == found["chosen"]["bytes"]


def test_a_sample_is_read_as_npy_or_npz(capsys, tmp_path):
    updates = np.random.default_rng(0).lognormal(size=(5, 256)).astype(np.float32)
    np.save(tmp_path / "u.npy", updates)
    np.savez(tmp_path / "u.npz", **{f"site{i}": row.reshape(16, 16) for i, row in enumerate(updates)})
    found = [run_json(capsys, "--clients", 5, "--sample", tmp_path / name)[1] for name in ("u.npy", "u.npz")]
    assert found[0] == found[1]
    assert found[0]["dim"] == 256
    assert found[0]["agreement"] < 0.6
    assert {row["rotation"] for row in found[0]["alternatives"]} == {True, False}


STUDY = """\
# our study
[study]
name = "hearts"  # do not rename

[quantization]  # old
bits = 12
clip = 2.0
dim = 500
keep = [
  [0, 100],
]

# three of us
[[site]]
id = 1
[[site]]
id = 2
[[site]]
id = 3
"""


def test_a_study_file_is_read_and_only_its_table_is_written(capsys, tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    code, found = run_json(capsys, "--study", path, "--wire-bits", 8, "--out", path)
    assert code == 0
    assert (found["clients"], found["dim"], found["quantization"]["clip"]) == (3, 500, 2.0)
    text = path.read_text()
    assert tomllib.loads(text)["quantization"] == found["quantization"]
    assert "# secagg plan: 3 clients, 500 coordinates; least error in fields of 8 bits" in text
    before, after = STUDY.split("[quantization]", maxsplit=1)[0], "\n# three of us" + STUDY.split("# three of us")[1]
    assert text.startswith(before)
    assert text.endswith(after)
    assert quant.from_config(tomllib.loads(text)["quantization"], 500).config() == found["quantization"]


def test_writing_again_changes_nothing(capsys, tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    run(capsys, "--study", path, "--wire-bits", 8, "--out", path)
    once = path.read_text()
    code, found = run_json(capsys, "--study", path, "--wire-bits", 8, "--out", path)
    assert code == 0
    assert path.read_text() == once
    assert found["present"] == found["chosen"]  # what stands there now is what would be chosen


def test_the_present_setting_is_judged(capsys, tmp_path):
    path = tmp_path / "study.toml"
    path.write_text("[quantization]\nclip = 1.0\ndim = 4096\nrotation = true\nbits = 4\nrange = 0.05\n")
    _, found = run_json(capsys, "--study", path, "--clients", 10, "--wire-bits", 8)
    assert found["present"]["levels"] == 16
    assert found["present"]["error"] > found["chosen"]["error"]
    _, out, _ = run(capsys, "--study", path, "--clients", 10, "--wire-bits", 8)
    assert "the study's present setting" in out


def test_a_new_file_is_made(capsys, tmp_path):
    path = tmp_path / "fresh" / "study.toml"
    assert run(capsys, *BOUNDED, "--out", path)[0] == 0
    assert tomllib.loads(path.read_text()).keys() == {"quantization"}


@pytest.mark.parametrize("text", ["quantization = {bits = 4}\n", "quantization.bits = 4\n"])
def test_a_table_that_cannot_be_replaced_is_left_alone(capsys, tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    code, _, err = run(capsys, *BOUNDED, "--out", path)
    assert code == 2
    assert "[quantization] table of its own" in err
    assert path.read_text() == text


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "short.npy", np.ones((3, 4)))
    np.savez(tmp_path / "uneven.npz", a=np.ones(3), b=np.ones(4))
    np.savez(tmp_path / "empty.npz")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "ints.npy", np.ones((3, 4), int))
    np.save(tmp_path / "nan.npy", np.full((3, 4), np.nan))
    np.save(tmp_path / "zeros.npy", np.zeros((3, 4)))
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "bad.toml").write_text("[quantization\n")
    (tmp_path / "list.toml").write_text("quantization = 3\n")
    (tmp_path / "unknown.toml").write_text("[quantization]\nbit = 3\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give --clients"),
        (("--clients", 2, "--dim", 5, "--clip", 1), "too few"),
        (("--clients", 5), "nothing is known of the updates"),
        (("--clients", 5, "--dim", 10), "nothing is known of the updates"),
        (("--clients", 5, "--dim", 0, "--clip", 1), "dim must be"),
        (("--clients", 5, "--dim", 9, "--clip", 0), "clip"),
        ((*BOUNDED, "--error", 0), "target error"),
        ((*BOUNDED, "--error", 1, "--bytes", 9), "one target"),
        ((*BOUNDED, "--wire-bits", 41), "field width"),
        ((*BOUNDED, "--no-joint-seed"), "give a sample"),
        (("--clients", 5, "--sample", "{}/none.npy"), "cannot read"),
        (("--clients", 5, "--sample", "{}/text.npy"), "no .npy or .npz"),
        (("--clients", 5, "--sample", "{}/objects.npy"), "no .npy or .npz"),
        (("--clients", 5, "--sample", "{}/ints.npy"), "arrays of floats"),
        (("--clients", 5, "--sample", "{}/empty.npz"), "arrays of floats"),
        (("--clients", 5, "--sample", "{}/uneven.npz"), "different lengths (3 and 4)"),
        (("--clients", 5, "--sample", "{}/nan.npy"), "NaN"),
        (("--clients", 5, "--sample", "{}/zeros.npy"), "all zeros"),
        (("--clients", 5, "--sample", "{}/short.npy", "--dim", 5), "leave it out"),
        (("--study", "{}/none.toml"), "cannot read"),
        (("--study", "{}/bad.toml"), "bad.toml"),
        (("--study", "{}/list.toml"), "must be a table"),
        ((*BOUNDED, "--study", "{}/unknown.toml"), "did you mean 'bits'"),
        ((*BOUNDED, "--tune", 3), "go together"),
        ((*BOUNDED, "--task", "x:y"), "go together"),
    ],
)
def test_bad_input_is_one_line_and_code_2(capsys, files, arguments, says):
    code, out, err = run(capsys, *(str(a).replace("{}", str(files)) for a in arguments))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert says in err
