"""What a task for ``--tune`` is given: the mean of a round as this quantization would give it, without a protocol.

A task is a function ``train(rehearsal) -> float``: it trains as the study would, calls ``rehearsal.mean(updates)``
wherever the study would aggregate, and returns the accuracy on data that was held out (more is better).
"""

from __future__ import annotations

import math
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import quant
from protocols.primitives.prg import AesCtrStream
from protocols.suites import CLASSICAL
from secagg.errors import UsageError
from secagg.public import JointRandomness


@dataclass
class Rehearsal:
    """One trial of ``--tune``; two with the same values give the same means.

    Attributes:
        quantization: keys of the codec on trial, or ``None`` for plain float averaging.
        dim: coordinates of an update.
        seed: for the task's own randomness; coins and joint seeds are derived from it too. For rehearsals only: in a
            real round neither can be foreseen.
        rounds: how many means were taken.
    """

    quantization: dict[str, Any] | None
    dim: int
    seed: int
    rounds: int = field(default=0, init=False)

    @cached_property
    def _codec(self) -> quant.Chain | None:
        return None if self.quantization is None else quant.from_config(self.quantization, self.dim)

    def mean(self, updates: Sequence[ArrayLike]) -> NDArray[np.float64]:
        """Give the mean of one flat update per site, shape (dim,) each, encoded, summed and decoded.

        Raises:
            quant.InputError: an update that is not finite or not of ``dim`` coordinates.
            UsageError: no updates.
        """
        if not len(updates):
            raise UsageError("a rehearsal needs the updates of at least one site")
        vectors = [np.asarray(update, dtype=np.float64) for update in updates]
        self.rounds += 1
        if (codec := self._codec) is None:
            return np.asarray(np.mean(vectors, axis=0))
        public = JointRandomness(CLASSICAL, self._key("joint seed", 0))
        total = np.zeros(codec.facts.encoded_dim, np.int64)
        sites = range(1, len(vectors) + 1)
        for site, x in zip(sites, vectors, strict=True):
            total += codec.encode(x, AesCtrStream(self._key("coins", site)), public=public, client=site)
        who = sites if codec.public_labels else ()
        return codec.decode(total, len(vectors), public=public, clients=who) / len(vectors)

    def _key(self, usage: str, site: int) -> bytes:
        return CLASSICAL.hash(f"rehearsal {usage}", self.seed, self.rounds, site)


Task = Callable[[Rehearsal], float]


def find_task(spec: str) -> Task:
    """Find ``package.module:train``, from the present folder or the environment.

    Raises:
        UsageError: no such function.
    """
    module, colon, name = spec.partition(":")
    if not colon or not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"write the task as package.module:function (such as task:train), not {spec!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = pkgutil.resolve_name(spec)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"cannot load the task {spec!r}: {error}") from None
    if not callable(found):
        raise UsageError(f"{spec!r} is no function")
    task: Task = found
    return task


def accuracy_of(task: Task, rehearsal: Rehearsal) -> float:
    """Run a task once.

    Raises:
        UsageError: it returns no number, or never asked for a mean.
    """
    found = task(rehearsal)
    try:
        accuracy = float(found)
    except (TypeError, ValueError):
        raise UsageError(f"the task must return one accuracy, not {type(found).__name__}") from None
    if not math.isfinite(accuracy):
        raise UsageError(f"the task returned {accuracy}: an accuracy is a finite number")
    if not rehearsal.rounds:
        raise UsageError("the task never called rehearsal.mean(updates), so nothing was quantized")
    return accuracy
