"""SECURITY.md stays true to the tree: its tests exist, and every rule of the code is in its table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from protocols.pairwise import Rule
from protocols.wire import WireRule

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


def test_every_rule_is_in_the_table() -> None:
    listed: set[str] = set()
    for row in re.findall(r"^\| ([WCS]\d+(?: to [WCS]\d+)?) \|", TEXT, re.MULTILINE):
        first, _, last = row.partition(" to ")
        numbers = range(int(first[1:]), int((last or first)[1:]) + 1)
        listed |= {f"{first[0]}{number}" for number in numbers}
    assert listed == {rule.value for rule in (*Rule, *WireRule)}
