"""A consortium with awkward data: several rows a patient, missing values, an empty site."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture
def sites() -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(5)

    def site(rows: int, patients: int) -> dict[str, Any]:
        age = rng.integers(18, 95, rows).astype(float)
        age[::17] = np.nan
        return {
            "id": rng.integers(0, max(patients, 1), rows),
            "age": age,
            "stage": rng.choice(["I", "II", "III", "unknown"], rows),
            "bmi": rng.normal(27, 4, rows),
        }

    return {"north": site(120, 60), "south": site(40, 40), "east": site(0, 0), "west": site(80, 30)}
