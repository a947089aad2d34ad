"""The distributed federation: patients' gradients through the real protocol, noise inside the secure sum.

Every round runs as it would over a network, in one process: keys, sealed shares, masks, signatures, drop-outs, and at
every site a privacy policy that reviews the round and a ledger that is charged before a patient's record is looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from time import perf_counter

import numpy as np

import quant
from protocols.pairwise import LocalPolicy
from secagg.attempts import run_attempts
from secagg.config import RoundConfig
from secagg.contribution import Contribution
from secagg.demo.private.baselines import stepped
from secagg.demo.private.hospitals import Hospitals
from secagg.demo.private.learner import Matrix, gradients
from secagg.demo.private.setting import CLIP, DELTA, PrivateConfig
from secagg.inprocess import simulated_identities
from secagg.opened import Opened
from secagg.privacy import Budget, Ledger, LocalPrivacyPolicy, PatientUpdates, Relation, SitePrivacy, Unit
from secagg.record import RoundRecord
from secagg.session import ClientSession
from secagg.transcript.chain import Transcript, study_record
from secagg.witness import StudyWitness

FACTS = {
    "purpose": "A demonstration: hospitals that exist in this process only train a private classifier together.",
    "data": "A public data set of scikit-learn, split over the sites; no patient's record leaves its site.",
    "recipients": "The coordinator and every site receive the noised sum of each round, and the trained model.",
    "retention": "Round keys live as long as the process; this transcript stays until somebody deletes it.",
}


@dataclass(frozen=True, slots=True)
class Advanced:
    """What one round gave.

    Attributes:
        opened: the noised sum.
        record: bytes, seconds, and whether the sum is exact.
        dropouts: site to the phase that it did not complete.
        noise: standard deviation of the noise that is in the sum, units of a gradient.
        seconds: of the whole round.
    """

    opened: Opened
    record: RoundRecord
    dropouts: Mapping[int, str]
    noise: float
    seconds: float


class Distributed:
    """The federation, advanced round by round.

    Args:
        config: what to run.
        hospitals: whose data.
        transcript: keeps the evidence for an auditor.

    Attributes:
        weights: of the model now.
        fitted: grid and noise of every round.
        ledgers: site to what it has spent, and may spend; in memory, like the sites.
    """

    def __init__(self, config: PrivateConfig, hospitals: Hospitals, transcript: Transcript | None = None) -> None:
        self.weights = hospitals.start
        self.fitted = config.fitted(self.weights.size)
        self._config, self._hospitals = config, hospitals
        self._layout = quant.Layout.of(self.weights)
        self._identities, self._roster = simulated_identities(hospitals.sites)
        self.ledgers = {site: _ledger(config) for site in hospitals.sites}
        policy = LocalPrivacyPolicy(max_survivors=config.sites, clip=CLIP, max_delta=max(config.delta, DELTA))
        self._sites = {site: SitePrivacy(ledger, policy, config.dataset) for site, ledger in self.ledgers.items()}
        self._policy = LocalPolicy(colluders=config.colluders, adversary="active", roster=self._roster)
        self._witness = None if transcript is None else StudyWitness(transcript, self._identities)
        if transcript is not None:
            transcript.append(study_record(_study(config), f"secagg {version('secagg')}", self._policy, FACTS))

    def advance(self, round_index: int, *, last: bool = False) -> Advanced:
        """Run one round; of the last, the record keeps a view and the transcript the masked inputs."""
        started, config = perf_counter(), self._round_config(round_index)
        dropouts, model = self._config.dropouts(round_index), _hash(self.weights)

        def contribute(site: int, session: ClientSession) -> Contribution:
            return session.prepare(lambda: PatientUpdates(gradients(self.weights, self._hospitals.sites[site])))

        opened, attempt = run_attempts(
            config,
            model,
            contribute,
            dropouts=dropouts,
            policy=self._policy,
            identities=self._identities,
            roster=self._roster,
            view=last,
            privacy=self._sites,
            witness=None if self._witness is None else partial(self._witness.round, model_hash=model, keep=last),
        )
        total = opened.sum.reshape(self.weights.shape)
        self.weights = stepped(self._config, self.weights, total, len(opened.included))
        noise = self.fitted.privacy.expected_noise(len(opened.included), self._config.sites, self.fitted.step)
        return Advanced(opened, attempt.record, dropouts, noise.total, perf_counter() - started)

    def spent(self) -> dict[int, float]:
        """Give site to the epsilon that it has spent so far, by its own ledger, at the delta of its budget."""
        return {site: ledger.epsilon(self._config.dataset) for site, ledger in self.ledgers.items()}

    def _round_config(self, round_index: int) -> RoundConfig:
        return RoundConfig(
            clients=tuple(self._hospitals.sites),
            layout=self._layout,
            quantization=self.fitted.quantization,
            threshold=self._config.threshold,
            study=_study(self._config),
            round_index=round_index,
            adversary="active",
            roster=self._roster.hash(),
            colluders=self._config.colluders,
            privacy=self.fitted.privacy,
        )


def _ledger(config: PrivateConfig) -> Ledger:
    """Open a site's ledger with the budget that its patients were promised."""
    ledger = Ledger(":memory:")
    budget = Budget(epsilon=config.epsilon, delta=config.delta, unit=Unit.PATIENT, relation=Relation.ADD_REMOVE)
    ledger.open_cohort(config.dataset, budget)
    return ledger


def _study(config: PrivateConfig) -> str:
    return f"private demo {config.dataset}"


def _hash(weights: Matrix) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(weights).tobytes()).digest()
