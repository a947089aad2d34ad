"""The recipe for PySyft over its own jobs, in an environment of its own (``SECAGG_PYSYFT_PYTHON``)."""

from __future__ import annotations

import pytest

from secagg.integrations.trial import read
from tests.support.stacks import run_in_stack

pytestmark = pytest.mark.stacks


def test_rounds_as_jobs_survive_an_owner_who_approves_nothing() -> None:
    program = ("-m", "tests.integrations.pysyft.jobs_round", "1000", "2")
    first, second = read(run_in_stack("pysyft", "syft_rds", *program))
    assert first["included"] == [1, 2, 3, 4]
    assert second["included"] == [1, 3, 4]
    means = [2.5 / 256, 2.5 / 256 + 8 / 3 / 256]
    for row, mean in zip((first, second), means, strict=True):
        assert row["w"] == pytest.approx([mean, mean], abs=2e-4)
