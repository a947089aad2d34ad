"""SECURITY.md stays true to the tree: its tests exist, and every rule of the code is in its table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from protocols.pairwise import Rule
from protocols.wire import WireRule
from secagg.audit import Rule as AuditRule

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()

pytestmark = pytest.mark.fast


def test_every_test_that_it_names_exists() -> None:
    named = set(re.findall(r"tests/[\w/]+(?:\.py)?", TEXT))
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_guarantee_names_a_test() -> None:
    guarantees = re.findall(r"- \*\*(G\d+) .*?(?=\n- \*\*|\n\n)", TEXT, re.DOTALL)
    texts = re.findall(r"- \*\*G\d+ .*?(?=\n- \*\*|\n\n)", TEXT, re.DOTALL)
    assert guarantees == [f"G{number}" for number in range(1, len(guarantees) + 1)]
    assert [text[:12] for text in texts if "tests/" not in text] == []


SECURITY_TESTS = ("protocols", "audit", "attack", "transcript", "planted")
"""Folders whose every test file is there for a promise of this page."""


def test_every_number_names_a_test() -> None:
    """Guarantees, adversaries, assumptions and non-goals alike, each letter counted without gaps."""
    texts = {
        match[1]: match[0]
        for match in re.finditer(r"^- \*\*([GAHN]\d+)\b.*?(?=^- |^$)", TEXT, re.DOTALL | re.MULTILINE)
    }
    for letter, first in (("G", 1), ("A", 0), ("H", 1), ("N", 1)):
        numbers = [int(name[1:]) for name in texts if name[0] == letter]
        assert numbers == list(range(first, first + len(numbers)))
    assert [name for name, text in texts.items() if "tests/" not in text] == []


@pytest.mark.parametrize("folder", SECURITY_TESTS)
def test_every_security_test_stands_here(folder: str) -> None:
    files = {f"tests/{folder}/{path.name}" for path in (ROOT / "tests" / folder).glob("test_*.py")}
    assert files
    assert sorted(path for path in files if path not in TEXT) == []


def test_every_rule_is_in_the_table() -> None:
    listed: set[str] = set()
    for row in re.findall(r"^\| ([WCST]\d+(?:(?: to |, )[WCST]\d+)?) \|", TEXT, re.MULTILINE):
        first, last = re.findall(r"[WCST]\d+", row)[0], re.findall(r"[WCST]\d+", row)[-1]
        numbers = range(int(first[1:]), int(last[1:]) + 1) if " to " in row else (int(first[1:]), int(last[1:]))
        listed |= {f"{first[0]}{number}" for number in numbers}
    assert listed == {rule.value for rule in (*Rule, *WireRule, *AuditRule)}


def test_every_section_of_the_outline_is_there() -> None:
    numbers = re.findall(r"^## (\d+)\. ", TEXT, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 16)]
