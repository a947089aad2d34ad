"""Every notebook runs from top to bottom, keeps its outputs, and its outputs speak of no machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.test_words import misplaced_words
from tests.examples import notebooks

PATHS = pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
TEMPORARY = re.compile(r"/(?:tmp|var)/\w")


@PATHS
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = notebooks.load(path)
    pictures = notebooks.pictures(notebook)
    notebooks.run(notebook, path.name)
    assert notebooks.pictures(notebook) == pictures, "as many pictures as are kept: make notebooks"


@PATHS
def test_outputs_are_kept(path: Path) -> None:
    notebook = notebooks.load(path)
    cells = notebooks.code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "make notebooks"
    assert notebooks.pictures(notebook) >= 1


@PATHS
def test_outputs_name_no_machine(path: Path) -> None:
    text = notebooks.printed(notebooks.load(path))
    assert not misplaced_words(text)
    assert not TEMPORARY.search(text)


def test_links_lead_somewhere() -> None:
    for path in notebooks.NOTEBOOKS:
        for cell in notebooks.load(path)["cells"]:
            for target in re.findall(r"\]\((?!http)([^)#]+)", "".join(cell["source"])):
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_outputs_are_those_of_the_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = "from matplotlib import pyplot as plt\nprint('first')\nplt.plot([1, 2])\nplt.show()\nprint('then')\n3"
    notebook = {"cells": [{"cell_type": "code", "source": source.splitlines(keepends=True)}]}
    notebooks.run(notebook, "planted")
    outputs = notebook["cells"][0]["outputs"]
    assert [output["output_type"] for output in outputs] == ["stream", "display_data", "stream", "execute_result"]
    assert "then" in notebooks.printed(notebook)


def test_a_cell_that_fails_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError):
        notebooks.run({"cells": [{"cell_type": "code", "source": ["1 / 0"]}]}, "planted")
