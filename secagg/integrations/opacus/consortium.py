"""Hospitals in one process, a thread each, and the real protocol between them: for examples, rehearsals and tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from protocols.pairwise import default_threshold
from secagg.attempts import run_attempts
from secagg.config import RoundConfig
from secagg.contribution import Contribution
from secagg.errors import UsageError
from secagg.privacy import PatientUpdates, SitePrivacy
from secagg.session import ClientSession

Trained = TypeVar("Trained")


class InProcessHospital:
    """A hospital's place in a `Consortium`; what ``DistributedPrivacyEngine`` takes.

    Attributes:
        name: of the hospital.
        clients: ids of all hospitals.
        least_survivors: fewest that must stay in a step.
        colluders: hospitals assumed to add no noise.
        study: name of the study.
    """

    def __init__(self, consortium: Consortium, name: str) -> None:
        self.name = name
        self.clients = tuple(consortium.numbers.values())
        self.least_survivors, self.colluders = consortium.least_survivors, consortium.colluders
        self.study = consortium.study
        self._arrivals = consortium.arrivals
        self.reply: SimpleQueue[NDArray[np.float64] | BaseException] = SimpleQueue()

    def exchange(self, config: RoundConfig, updates: PatientUpdates, model_hash: bytes) -> NDArray[np.float64]:
        """Hand in this hospital's gradients, wait for the others, and return the noisy sum.

        Raises:
            RoundRefused: too few hospitals stayed.
            UsageError: the hospitals disagree on the round or the model.
            secagg.privacy.PrivacyRefused: a hospital's policy or budget says no.
        """
        self._arrivals.put(_Arrival(self.name, config, updates, model_hash))
        answer = self.reply.get()
        if isinstance(answer, BaseException):
            raise answer.with_traceback(None)
        return answer


@dataclass(frozen=True)
class _Arrival:
    """A hospital waits in a step."""

    name: str
    config: RoundConfig
    updates: PatientUpdates
    model_hash: bytes


@dataclass(frozen=True)
class _Departure(Generic[Trained]):
    """A hospital's training ended."""

    name: str
    trained: Trained | None
    error: BaseException | None


class Consortium:
    """Runs one training function at every hospital.

    Args:
        names: of the hospitals.
        least_survivors: fewest that must stay in a step (the threshold); by default floor(2n/3) + 1.
        colluders: hospitals assumed to add no noise; at least 1.
        study: name under which steps are charged.
        privacy: every hospital's ledger and policy, by name; by default each has just what training promises.
        dropouts: step -> hospital -> the phase that it does not complete. It gets the sum all the same, which is
            public among the hospitals, and goes on.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        least_survivors: int | None = None,
        colluders: int = 1,
        study: str = "training",
        privacy: Mapping[str, SitePrivacy] | None = None,
        dropouts: Mapping[int, Mapping[str, str]] | None = None,
    ) -> None:
        if len(set(names)) != len(names):
            raise UsageError("hospitals have distinct names")
        self.numbers = {name: number for number, name in enumerate(names, start=1)}
        self.least_survivors = least_survivors or default_threshold(len(names), "curious", colluders)
        self.colluders, self.study = colluders, study
        self.arrivals: SimpleQueue[_Arrival | _Departure[object]] = SimpleQueue()
        self._privacy = dict(privacy or {})
        self._dropouts = dropouts or {}

    def run(self, train: Callable[[InProcessHospital], Trained]) -> dict[str, Trained]:
        """Call ``train`` for every hospital at the same time and return what each gives back, by name.

        Steps run in this thread, so ledgers may be of it. A hospital that ends early is missing from later steps.

        Raises:
            Exception: the first that a hospital raised.
        """
        hospitals = {name: InProcessHospital(self, name) for name in self.numbers}

        def depart(name: str) -> None:
            trained, error = None, None
            try:
                trained = train(hospitals[name])
            except BaseException as raised:  # noqa: BLE001  # handed to the caller's thread
                error = raised
            self.arrivals.put(_Departure(name, trained, error))

        threads = [threading.Thread(target=depart, args=(name,), name=name, daemon=True) for name in hospitals]
        for thread in threads:
            thread.start()
        training, waiting = set(hospitals), dict[str, _Arrival]()
        results: dict[str, Trained] = {}
        failure: BaseException | None = None
        while training:
            event = self.arrivals.get()
            if isinstance(event, _Departure):
                training.discard(event.name)
                failure = failure or event.error
                if event.error is None:
                    results[event.name] = event.trained  # type: ignore[assignment]
            else:
                waiting[event.name] = event
            if waiting and len(waiting) == len(training):
                answer = failure or self._step(waiting)
                failure = failure or (answer if isinstance(answer, BaseException) else None)
                for name in waiting:
                    hospitals[name].reply.put(answer)
                waiting = {}
        for thread in threads:
            thread.join()
        if failure is not None:
            raise failure
        return results

    def _step(self, waiting: Mapping[str, _Arrival]) -> NDArray[np.float64] | BaseException:
        try:
            return self._round(waiting)
        except Exception as error:  # noqa: BLE001  # every hospital is told, and the caller
            return error

    def _round(self, waiting: Mapping[str, _Arrival]) -> NDArray[np.float64]:
        first = next(iter(waiting.values()))
        config, terms = first.config, first.config.privacy_terms
        if terms is None:
            raise UsageError("these rounds are private")
        for arrival in waiting.values():
            if arrival.config.params != config.params:
                raise UsageError(
                    f"{first.name} and {arrival.name} train with different settings: rates, norms and epochs are "
                    "public and the same everywhere"
                )
            if arrival.model_hash != first.model_hash:
                raise UsageError(
                    f"{first.name} and {arrival.name} train different weights: start all hospitals from the same ones"
                )
        for name in self.numbers:
            if name not in self._privacy:
                # What trains here draws its patients by PatientSampler, with coins of its own.
                self._privacy[name] = SitePrivacy.rehearsal(terms, sampled=True)
        names = {number: name for name, number in self.numbers.items()}

        def contribute(client: int, session: ClientSession) -> Contribution:
            return session.prepare(waiting[names[client]].updates)

        gone = {self.numbers[name]: "advertise-keys" for name in self.numbers if name not in waiting}
        gone |= {self.numbers[name]: phase for name, phase in self._dropouts.get(config.round_index, {}).items()}
        opened, _ = run_attempts(
            config,
            first.model_hash,
            contribute,
            dropouts=gone,
            privacy={number: self._privacy[name] for number, name in names.items()},
        )
        return opened.sum
