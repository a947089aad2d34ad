"""The README's example and every executable docstring run."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import quant

README = Path(quant.__file__).parent / "README.md"
MODULES = ["quant", *(found.name for found in pkgutil.walk_packages(quant.__path__, "quant."))]


def test_readme_runs():
    results = doctest.testfile(str(README), module_relative=False)
    assert results.attempted > 10
    assert results.failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_reading_order_names_every_module():
    text = README.read_text(encoding="utf-8")
    paths = [name.removeprefix("quant.").replace(".", "/") for name in MODULES[1:]]
    missing = [path for path in paths if not any(f"`{path}{end}`" in text for end in (".py", "/"))]
    assert not missing
