from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.forging import write_study


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten sites, three rounds, an active server, everything kept."""
    return write_study(tmp_path_factory.mktemp("clean") / "transcript.jsonl")


@pytest.fixture(scope="session")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five sites that also make a joint seed; all of them stay."""
    path = tmp_path_factory.mktemp("joint") / "transcript.jsonl"
    return write_study(path, sites=5, rounds=2, joint=True, dropouts=lambda _: {})
