"""A Collab job in FLARE's simulator: five sites, one fails from the second round on; prints one JSON object at the end.

python -m tests.integrations.nvflare.collab_job [DIM] [ROUNDS]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from nvflare.collab import CollabRecipe, collab
from nvflare.recipe import SimEnv

from secagg.integrations.nvflare.collab import SecureServer, SecureSite
from secagg.integrations.training import Model, Trained

SITES = 5


class Server(SecureServer):
    def __init__(self, dim: int = 1000, report: str = "", rounds: int = 3, max_examples: int | None = 50) -> None:
        super().__init__(rounds=rounds, max_examples=max_examples, metrics={"loss": 4.0}, threshold=3, workers=2)
        self.dim, self.report = dim, report
        self.max_examples = max_examples
        self._told: list[dict[str, object]] = []
        self._started = time.perf_counter()

    def initial_model(self) -> Model:
        self._started = time.perf_counter()
        return {"w": np.zeros(self.dim, np.float32), "counts": np.arange(3)}

    def round_done(self, index, model, metrics, included) -> None:  # type: ignore[no-untyped-def]
        now = time.perf_counter()
        self._told.append(
            {
                "round": index, "included": included, "loss": metrics["loss"], "seconds": now - self._started,
                "w": [float(model["w"].min()), float(model["w"].max())],
            }
        )  # fmt: skip
        self._started = now
        Path(self.report).write_text(json.dumps(self._told))


class Hospital(SecureSite):
    def train(self, model: Model) -> Trained:
        place = int(collab.site_name.split("-")[1])
        if place == 2 and model["w"][0] > 0:
            raise RuntimeError("this hospital is closed from the second round on")
        return Trained({**model, "w": model["w"] + np.float32(place / 256)}, 10 * place, {"loss": place / 2})


if __name__ == "__main__":
    dim, rounds = (int(word) for word in (sys.argv[1:] or ["1000", "3"]))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        recipe = CollabRecipe("secure", Server(dim, str(report), rounds), Hospital(), min_clients=SITES)
        run = recipe.run(SimEnv(num_clients=SITES, workspace_root=folder))
        sys.stdout.write("\nREPORT " + report.read_text() + "\n")
