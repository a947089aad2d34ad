"""``make api``: the reference of every module from its docstrings (``python -m tests.architecture.api_reference``)."""

import importlib
import sys
from pathlib import Path

import pdoc

from tests.architecture import rules

FOLDER = rules.ROOT / "build" / "api"


def documented() -> tuple[list[str], list[str]]:
    """The modules that can be read here, and those whose framework is not installed."""
    found: list[str] = []
    missing: list[str] = []
    for module in rules.modules():
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
            found.append(module.name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] in rules.PACKAGES:
                raise
            missing.append(module.name)
    return found, missing


def write(folder: Path, names: list[str], left_out: list[str]) -> None:
    pdoc.render.configure(docformat="google", footer_text="secagg", search=True)
    pdoc.pdoc(*names, *(f"!{name}" for name in left_out), output_directory=folder)


if __name__ == "__main__":
    names, left_out = documented()
    write(FOLDER, names, left_out)
    for name in left_out:
        sys.stderr.write(f"left out, its framework is not installed: {name}\n")
    sys.stdout.write(f"{len(names)} modules: open {FOLDER.relative_to(rules.ROOT)}/index.html\n")
