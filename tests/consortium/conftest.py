"""Fixtures of the consortium's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.consortium import Lab


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Make studies on disk; whatever processes they started are ended afterwards."""
    made: list[Lab] = []

    def make(**options: object) -> Lab:
        home = tmp_path / f"lab{len(made)}"
        home.mkdir()
        made.append(Lab.create(home, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for lab in made:
        lab.end_processes()
