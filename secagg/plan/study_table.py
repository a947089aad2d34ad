"""The ``[quantization]`` table of a study file: read with the number of sites, and written in place of the old one.

Everything else of the file, comments included, stays as it was.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secagg.demo.output import write_whole
from secagg.errors import UsageError

_HEADER = re.compile(r"^\s*\[\[?[^\[\],=]+\]\]?\s*(#.*)?$")
_OURS = re.compile(r"^\s*\[\s*quantization\s*\]\s*(#.*)?$")


@dataclass(frozen=True)
class StudyTable:
    """What a plan needs of a study file.

    Attributes:
        path: the file.
        text: all of it; empty if it is not there yet.
        quantization: the keys of the table.
        sites: number of ``[[site]]`` tables.
    """

    path: Path
    text: str = field(default="", repr=False)
    quantization: Mapping[str, Any] = field(default_factory=dict)
    sites: int = 0


def read_table(path: Path) -> StudyTable:
    """Read a study file.

    Raises:
        UsageError: it cannot be read, is no TOML, or its ``quantization`` is no table.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None
    values = _parse(text, path)
    table, sites = values.get("quantization", {}), values.get("site", [])
    if not isinstance(table, dict):
        raise UsageError(f"{path}: quantization must be a table, [quantization]")
    return StudyTable(path, text, table, len(sites) if isinstance(sites, list) else 0)


def write_table(path: Path, quantization: Mapping[str, Any], comments: Sequence[str]) -> None:
    """Write the table into the file at ``path``, whole or not at all; makes the file if there is none.

    Raises:
        UsageError: the file cannot be read or written, or its quantization is written in a way that cannot be replaced.
    """
    old = read_table(path) if path.exists() else StudyTable(path)
    lines = [
        *(f"# {comment}" for comment in comments),
        *(f"{key} = {_value(quantization[key])}" for key in quantization),
    ]
    text = _replaced(old.text, lines)
    wanted = (_parse(old.text, path) if old.text else {}) | {"quantization": dict(quantization)}
    try:
        same = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise UsageError(f"{path}: write its quantization as a [quantization] table of its own, so it can be replaced")
    write_whole(path.parent, {path.name: text})


def _replaced(text: str, lines: Sequence[str]) -> str:
    """Put ``lines`` where the table stands, or at the end."""
    old = text.splitlines()
    starts = [number for number, line in enumerate(old) if _OURS.match(line)]
    start = starts[0] if starts else len(old)
    rest = range(start + 1, len(old))
    stop = next((number for number in rest if _HEADER.match(old[number])), len(old))
    while starts and stop > start + 1 and _belongs_to_next(old[stop - 1]):
        stop -= 1  # blank lines and comments above the next table are that table's
    before = old[:start] if starts or not old else [*old, ""]
    return "\n".join([*before, "[quantization]", *lines, *old[stop:]]) + "\n"


def _belongs_to_next(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}") from None


def _value(value: object) -> str:
    """Write one value of a codec's description as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return f'"{value}"'  # names of roundings: no quotes, no escapes
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise TypeError(f"no way to write {type(value).__name__} as TOML")
