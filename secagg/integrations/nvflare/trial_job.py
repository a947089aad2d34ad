"""The jobs of a trial (see ``secagg.integrations.nvflare.trial``): made-up updates, by Collab or by the Controller API.

FLARE builds these objects again in the processes of a job, which find the settings through their environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.collab import collab

from protocols import Secret
from protocols.pairwise import LocalPolicy, Roster
from secagg.integrations.nvflare.classic import SecureController
from secagg.integrations.nvflare.collab import SecureServer, SecureSite
from secagg.integrations.training import Model, Trained
from secagg.integrations.trial import QUANTIZATION, Trial, Watch, settled


class _Watched:
    """The server's part that both kinds of job share."""

    @cached_property
    def trial(self) -> Trial:
        return Trial.load()

    @cached_property
    def watch(self) -> Watch:
        return Watch(self.trial)

    def initial_model(self) -> Model:
        w = np.zeros(self.trial.dim, np.float32)
        self.watch.start(w)
        return {"w": w}

    def round_done(self, index: int, model: Model, metrics: Mapping[str, float], included: tuple[int, ...]) -> None:
        self.watch.round_done(model["w"], included=len(included))
        model["w"][:] = settled(model["w"])
        self.watch.start(model["w"])


class CollabServer(_Watched, SecureServer):
    """The server of a Collab job; settings travel as arguments, since FLARE writes them into the job."""

    def __init__(self, rounds: int = 1, threshold: int | None = None, adversary: str = "curious") -> None:
        super().__init__(
            rounds=rounds, threshold=threshold, adversary=adversary, quantization=QUANTIZATION, study="trial", workers=2
        )

    def roster(self) -> Roster | None:
        """Return the trial's members, against an active server."""
        return self.trial.roster()


class CollabSite(SecureSite):
    """A site of a Collab job."""

    def policy(self) -> LocalPolicy:
        """Insist on what the trial says."""
        trial = Trial.load()
        return LocalPolicy() if trial.roster() is None else LocalPolicy(adversary="active", roster=trial.roster())

    def identity(self) -> Secret | None:
        """Return this site's key, against an active server."""
        trial = Trial.load()
        return None if trial.adversary == "curious" else trial.identity(place_of(collab.site_name))

    def folder(self) -> Path | None:
        """Return this site's folder, against an active server."""
        trial = Trial.load()
        return None if trial.adversary == "curious" else Path(trial.folder) / f"{collab.site_name}-state"

    def train(self, model: Model) -> Trained:
        """Add this site's update, or fail."""
        return Trained({"w": trained(Trial.load(), place_of(collab.site_name), model["w"])}, 1)


class ClassicServer(_Watched, SecureController):
    """The controller of a job of the Controller API."""

    def __init__(self, rounds: int = 1, threshold: int | None = None) -> None:
        super().__init__(rounds=rounds, threshold=threshold, quantization=QUANTIZATION, study="trial", workers=2)


class Trainer(Executor):
    """An ordinary executor, which knows nothing of masks."""

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Return weights, or fail."""
        w = from_shareable(shareable).data["w"]
        try:
            after = trained(Trial.load(), place_of(str(fl_ctx.get_identity_name())), w)
        except RuntimeError:
            return make_reply(ReturnCode.EXECUTION_EXCEPTION)
        return DXO(DataKind.WEIGHTS, data={"w": after}).to_shareable()


def place_of(site: str) -> int:
    """Return the place of a site that FLARE calls ``site-1``, ``site-2``, ..."""
    return int(site.removeprefix("site-")) - 1


def trained(trial: Trial, place: int, w: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the model after training: from the second round on, where it is not zero any more, some sites fail."""
    if trial.fails(place, int(bool(np.any(w)))):
        raise RuntimeError("this site is closed")
    after: NDArray[np.float32] = w + trial.update(place)
    return after
