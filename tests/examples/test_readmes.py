"""Every Python block of every README runs, and every command in a console block is one that the program knows."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from secagg.bench.whole import REFERENCE, read_run
from secagg.cli import app, whole
from tests.examples import notebooks, readme_tables

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md")), ROOT / "secagg" / "privacy" / "README.md"]


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for path in READMES:
        for number, block in enumerate(re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL), start=1):
            found.append((f"{path.relative_to(ROOT)}:{number}", block))
    return found


@pytest.mark.parametrize(("name", "block"), blocks("python"), ids=[name for name, _ in blocks("python")])
def test_python_block_runs(name: str, block: str) -> None:
    if not block.startswith(">>>"):
        exec(compile(block, name, "exec"), {"__name__": "readme"})
        return
    test = doctest.DocTestParser().get_doctest(block, {}, name, name, 0)
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_there_are_blocks_to_run() -> None:
    assert len(blocks("python")) >= 4


@pytest.mark.parametrize(("name", "block"), blocks("console"), ids=[name for name, _ in blocks("console")])
def test_console_commands_exist(name: str, block: str) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for line in block.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[:1] == ["secagg"]:
            command = whole(commands[words[1]])
            command = command.commands[words[2]] if hasattr(command, "commands") else command
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= options, name
        elif words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), name


def test_commands_are_those_of_the_program() -> None:
    text = (ROOT / "README.md").read_text()
    found = readme_tables.section(text, readme_tables.BEGIN_COMMANDS, readme_tables.END_COMMANDS)
    assert found == readme_tables.commands(), "python -m tests.examples.readme_tables"


def test_private_figures_are_those_of_the_notebook() -> None:
    shown = notebooks.printed(notebooks.load(notebooks.FOLDER / "03_privacy.ipynb"))
    found = re.findall(r"([0-9.]+)%  (?:secagg|trusted|local|no noise)", shown)
    text = (ROOT / "README.md").read_text()
    assert len(found) == 4
    assert all(f"{figure} %" in text for figure in found), "take the figures of notebook 03"


def test_measured_figures_are_those_of_the_reference() -> None:
    text = readme_tables.section((ROOT / "README.md").read_text())
    if REFERENCE.exists():
        assert text == readme_tables.table(read_run(REFERENCE)), "python -m tests.examples.readme_tables"
    else:
        assert "|" not in text, "a figure in the README is one of the reference run"


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target
