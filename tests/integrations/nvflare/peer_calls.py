"""A Collab job in which one site plays the server to the others; prints what they answer it, as one JSON object."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from nvflare.collab import CollabRecipe, collab
from nvflare.recipe import SimEnv

import quant
from secagg import RoundConfig
from secagg.integrations.letters import write_letters
from secagg.integrations.nvflare.collab import SecureServer, SecureSite
from secagg.integrations.series import HostedRound
from secagg.integrations.training import Model, Trained

SITES = 3


class Server(SecureServer):
    def __init__(self, report: str = "") -> None:
        super().__init__(rounds=1)
        self.report = report

    def initial_model(self) -> Model:
        return {"w": np.zeros(4, np.float32), "folder": np.frombuffer(self.report.encode(), np.uint8)}

    def round_done(self, index, model, metrics, included) -> None:  # type: ignore[no-untyped-def]
        told = json.loads(Path(self.report).read_text())
        Path(self.report).write_text(json.dumps({**told, "included": included}))


class Hospital(SecureSite):
    def train(self, model: Model) -> Trained:
        if collab.site_name == "site-1":
            config = RoundConfig((1, 2, 3), quant.Layout.of({"w": np.zeros(4, np.float32)}))
            letters = write_letters(HostedRound("forged", config).proposals()[2])
            told = []
            for site in collab.other_clients:
                try:
                    told.append(len(site.secagg_step(letters, {})[0][2]))
                except Exception as error:  # noqa: BLE001  whatever FLARE makes of a refusal
                    told.append(type(error).__name__)
            Path(bytes(model["folder"]).decode()).write_text(json.dumps({"frames": told}))
        return Trained({**model, "w": model["w"] + 1}, 1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        recipe = CollabRecipe("forged", Server(str(report)), Hospital(), min_clients=SITES)
        recipe.run(SimEnv(num_clients=SITES, workspace_root=folder))
        sys.stdout.write("\nREPORT " + report.read_text() + "\n")
