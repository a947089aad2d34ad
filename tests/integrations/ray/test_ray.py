"""Scale-out on Ray's own engine, in a process of its own."""

from __future__ import annotations

import pytest

from secagg.integrations.trial import read
from tests.support.stacks import run_in_stack

pytestmark = pytest.mark.stacks


def test_shards_and_stretches_over_ray_give_the_exact_sum() -> None:
    words = ("clients=40", "dim=20000", "shards=4", "dropped=3")
    told = read(run_in_stack("flower", "ray", "-m", "secagg.integrations.ray.trial", *words))
    assert told["exact"] is True
    assert told["unmasked_exact"] is True
    assert (told["survivors"], told["shards"], told["refused"]) == (37, 4, 0)
