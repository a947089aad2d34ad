"""A site of a Collab job that is called again while it trains; prints one JSON object.

FLARE answers every call in a thread of its own.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import numpy as np

from secagg.integrations.letters import read_letters, write_letters
from secagg.integrations.nvflare.collab import SecureSite
from secagg.integrations.parcel import Mail
from secagg.integrations.training import Model, ModelRounds, Terms, Trained


class Site(SecureSite):
    """Of the first, a second call is made while it trains."""

    def __init__(self, called_again: list[bool]) -> None:
        super().__init__()
        self._called_again = called_again

    def check_caller(self) -> None:
        """Take all calls: there is no engine here that knows who calls."""

    def train(self, model: Model) -> Trained:
        if not self._called_again:
            second = threading.Thread(target=self.secagg_step, args=([], {}), daemon=True)
            second.start()
            second.join(2.0)
            self._called_again.append(second.is_alive())
        return Trained({"w": model["w"] + 1}, 1)


if __name__ == "__main__":
    waits: list[bool] = []
    sites = {client: Site(waits) for client in range(1, 5)}

    def carry(mail: Mail, model: Any = None) -> Mail:
        return {
            client: read_letters(sites[client].secagg_step(write_letters(parcels), model or {}))
            for client, parcels in mail.items()
        }

    rounds = ModelRounds(Terms(None), {"w": np.zeros(3, np.float32)}, carry)
    rounds.series.take(carry(rounds.series.begin(0, sites, rounds.model_hash()), rounds.model))
    rounds.finish()
    report = {"waits": waits, "included": rounds.included}
    sys.stdout.write("\nREPORT " + json.dumps(report) + "\n")
