"""Runs the notebooks in this process and keeps what they show: ``python -m tests.examples.notebooks [NAME ...]``.

A cell is executed as Jupyter would: what it prints, the pictures it shows and the value of its last line are its
outputs. No kernel is needed, so a notebook is a test like any other.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import matplotlib as mpl

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
DPI = 110

Output = dict[str, Any]


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def pictures(notebook: dict[str, Any]) -> int:
    """How many pictures the outputs hold."""
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def printed(notebook: dict[str, Any]) -> str:
    """All text of the outputs."""
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    return "".join("".join(output.get("text", output.get("data", {}).get("text/plain", ""))) for output in outputs)


def run(notebook: dict[str, Any], name: str) -> None:
    """Execute every code cell in order, in one namespace and the present folder, and replace the outputs."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with _plots_kept_apart():
        for number, cell in enumerate(code_cells(notebook), start=1):
            cell["outputs"] = _execute("".join(cell["source"]), f"{name}, cell {number}", namespace, number)
            cell["execution_count"] = number


@contextmanager
def _plots_kept_apart() -> Iterator[None]:
    """Draw without a screen, and leave matplotlib as it was."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    show = plt.show
    with mpl.rc_context():
        try:
            yield
        finally:
            plt.show = show
            plt.close("all")


def _execute(source: str, where: str, namespace: dict[str, Any], number: int) -> list[Output]:
    """Run one cell; printed text and pictures come in the order in which they were made."""
    from matplotlib import pyplot as plt

    made: list[Output] = []
    said = io.StringIO()

    def flush() -> None:
        if text := said.getvalue():
            made.append({"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)})
            said.seek(0)
            said.truncate()

    def show(*_: object, **__: object) -> None:
        flush()
        for figure in map(plt.figure, plt.get_fignums()):
            made.append(_picture(figure))
        plt.close("all")

    plt.show = show
    tree = ast.parse(source, where)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    value = None
    with redirect_stdout(said):
        exec(compile(tree, where, "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), where, "eval"), namespace)
        show()
    flush()
    if value is not None:
        made.append(
            {
                "data": {"text/plain": repr(value).splitlines(keepends=True)},
                "execution_count": number,
                "metadata": {},
                "output_type": "execute_result",
            }
        )
    return made


def _picture(figure: Any) -> Output:
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    data = {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": ["<Figure>"]}
    return {"data": data, "metadata": {}, "output_type": "display_data"}


def write(path: Path) -> None:
    """Run one notebook in an empty folder and keep its outputs, and the pictures it saved, beside it."""
    notebook = load(path)
    with tempfile.TemporaryDirectory() as folder:
        before = os.getcwd()
        os.chdir(folder)
        try:
            run(notebook, path.name)
        finally:
            os.chdir(before)
        for picture in sorted(Path(folder).glob("*.png")):
            (FOLDER / picture.name).write_bytes(picture.read_bytes())
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for chosen in NOTEBOOKS:
        if not sys.argv[1:] or any(chosen.name.startswith(wanted) for wanted in sys.argv[1:]):
            sys.stderr.write(f"{chosen.name}\n")
            write(chosen)
