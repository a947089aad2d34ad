"""TOML files read into typed values, with errors that name the file and the line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from secagg.errors import UsageError

T = TypeVar("T")

MAX_BYTES = 1 << 20
"""Largest file that is read: a roster of thousands of sites stays far below."""

_HEADER = re.compile(r"^\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_WHERE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_KEY_IN_TEXT = re.compile(r"`(?P<key>[^`]+)`")


def read(path: Path, kind: type[T]) -> T:
    """Read the file at ``path`` as ``kind``.

    Raises:
        UsageError: a file that cannot be read, is no TOML, or does not fit ``kind``; the text names file and line.
    """
    return parse(text_of(path), kind, str(path))


def text_of(path: Path) -> str:
    """Return the text of a file.

    Raises:
        UsageError: it cannot be read, is too large, or is no text.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES} bytes: that is no file of a study")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None


def parse(text: str, kind: type[T], name: str) -> T:
    """Read TOML ``text`` as ``kind``; ``name`` is what errors call it.

    Raises:
        UsageError: no TOML, or it does not fit ``kind``.
    """
    try:
        table = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or a number of more digits than Python reads
        raise UsageError(f"{name}: {error}") from None
    except RecursionError:
        raise UsageError(f"{name}: tables or lists too deep in each other") from None
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise UsageError(located(text, name, str(error))) from None


def located(text: str, name: str, complaint: str) -> str:
    """Put file and line in front of a complaint of msgspec's, and the key instead of its path."""
    found = _WHERE.search(complaint)
    path = found["path"] if found else ""
    says = complaint[: found.start()] if found else complaint
    quoted = _KEY_IN_TEXT.search(says)
    if quoted and says.startswith("Object"):
        path = f"{path}.{quoted['key']}" if path else quoted["key"]
    line = line_of(text, path)
    place = f"{name}, line {line}" if line else name
    return f"{place}: {path or 'the file'}: {says[:1].lower()}{says[1:]}"


def line_of(text: str, path: str) -> int | None:
    """Return the line, from 1, where the value at ``path`` (such as ``site[2].key``) stands, or its table."""
    parts = re.findall(r"([^.\[\]]+)(?:\[(\d+)\])?", path)
    if not parts:
        return None
    table, index = parts[0][0], int(parts[0][1] or 0)
    key = parts[1][0] if len(parts) > 1 else None
    seen, current, header = -1, "", None
    for number, line in enumerate(text.splitlines(), 1):
        if (match := _HEADER.match(line)) is not None:
            current = match[1]
            seen += current == table
            if current == table and seen == index:
                header = number
            continue
        # A key of the wanted table, or a top-level key of that name.
        wanted = key if current == table and seen == index else table if not current and key is None else None
        if wanted and re.match(rf"\s*[\"']?{re.escape(wanted)}[\"']?\s*=", line):
            return number
    return header
