"""Private rounds through the real protocol: what is in the sum, what is refused, what is charged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import quant
import secagg
from protocols.pairwise import LocalPolicy
from secagg.config import RoundConfig
from secagg.errors import UsageError
from secagg.privacy import (
    Fitted,
    Goal,
    LocalPrivacyPolicy,
    PatientUpdates,
    PrivacyRefused,
    SitePrivacy,
    Unit,
    fit,
)
from secagg.session import ClientSession
from secagg.transcript.chain import Transcript, study_record
from secagg.witness import StudyWitness

CLIENTS, DIM, PATIENTS = 5, 96, 12
LAYOUT = quant.Layout.of(np.zeros(DIM))


def fitted(unit: Unit = Unit.PATIENT, epsilon: float = 4.0, releases: int = 1) -> Fitted:
    goal = Goal(epsilon=epsilon, delta=1e-5, releases=releases, least_survivors=4, colluders=1)
    found = fit(goal, clients=CLIENTS, dim=DIM, clip=1.0, width=20, unit=unit, patients=PATIENTS)
    assert isinstance(found, Fitted)
    return found


def patients_of(rng: np.random.Generator) -> dict[int, np.ndarray]:
    return {client: rng.normal(0, 0.05, (PATIENTS, DIM)) for client in range(1, CLIENTS + 1)}


@pytest.mark.parametrize("dropouts", [{}, {3: "masked-input"}])
def test_a_private_sum_of_patients_is_the_sum_and_the_noise(rng: np.random.Generator, dropouts: dict[int, str]) -> None:
    found, rows = fitted(), patients_of(rng)
    done = secagg.aggregate(
        {client: PatientUpdates(given) for client, given in rows.items()},
        privacy=found.privacy,
        quantization=found.quantization,
        threshold=4,
        reduce="sum",
        dropouts=dropouts,
    )
    assert done.record.exact
    assert done.noise is not None
    true = sum(rows[client].sum(axis=0) for client in done.included)
    error = np.asarray(done.value) - true
    assert done.noise.honest >= done.noise.target * (1 - 1e-12)
    assert np.abs(error).max() < 12 * done.noise.total + found.step * CLIENTS  # P below 1e-30
    assert np.std(error) > done.noise.total / 2  # chi-square with 96 degrees of freedom: P below 1e-12


def test_a_private_mean_of_sites(rng: np.random.Generator) -> None:
    found = fitted(Unit.SITE)
    updates = {client: rng.normal(0, 0.05, DIM) for client in range(1, CLIENTS + 1)}
    done = secagg.aggregate(updates, privacy=found.privacy, quantization=found.quantization, threshold=4)
    assert done.noise is not None
    error = np.asarray(done.value) - np.mean(list(updates.values()), axis=0)
    assert np.abs(error).max() * CLIENTS < 12 * done.noise.total + found.step * CLIENTS


def test_means_over_patients_are_refused(rng: np.random.Generator) -> None:
    found = fitted()
    updates = {client: PatientUpdates(rows) for client, rows in patients_of(rng).items()}
    with pytest.raises(UsageError, match="reduce='sum'"):
        secagg.aggregate(updates, privacy=found.privacy, quantization=found.quantization, threshold=4)


def test_a_budget_of_the_promise_lasts_for_all_releases_and_no_more(rng: np.random.Generator) -> None:
    found = fitted(releases=3)
    updates = {client: PatientUpdates(rows) for client, rows in patients_of(rng).items()}
    config = RoundConfig(tuple(updates), LAYOUT, found.quantization, threshold=4, privacy=found.privacy)
    sites = {client: SitePrivacy.rehearsal(config.privacy_terms) for client in updates}

    def run(round_index: int) -> None:
        secagg.aggregate(
            updates,
            privacy=found.privacy,
            quantization=found.quantization,
            threshold=4,
            reduce="sum",
            round_index=round_index,
            sites=sites,
        )

    for round_index in range(3):
        run(round_index)
    spent = sites[1].ledger.epsilon(sites[1].cohort)
    assert 0.999 * found.privacy.epsilon < spent <= found.privacy.epsilon
    with pytest.raises(PrivacyRefused, match="P7"):
        run(3)


def test_nothing_is_sent_before_the_terms_were_reviewed() -> None:
    found = fitted()
    config = RoundConfig(tuple(range(1, 6)), LAYOUT, found.quantization, threshold=4, privacy=found.privacy)
    terms = config.privacy_terms
    assert terms is not None
    with pytest.raises(UsageError, match="SitePrivacy"):
        ClientSession(config, 1)
    site = SitePrivacy.rehearsal(terms)
    doubting = SitePrivacy(site.ledger, LocalPrivacyPolicy(max_survivors=3), site.cohort)
    with pytest.raises(PrivacyRefused, match="P1"):
        ClientSession(config, 1, privacy=doubting)
    public = RoundConfig(tuple(range(1, 6)), LAYOUT)
    with pytest.raises(UsageError, match="not private"):
        ClientSession(public, 1, privacy=site)


def test_a_transcript_in_one_process_states_what_each_round_spends(rng: np.random.Generator, tmp_path: Path) -> None:
    found = fitted(releases=2)
    updates = {client: PatientUpdates(rows) for client, rows in patients_of(rng).items()}
    config = RoundConfig(tuple(updates), LAYOUT, found.quantization, threshold=4, privacy=found.privacy)
    assert config.privacy_terms is not None
    sites = {client: SitePrivacy.rehearsal(config.privacy_terms) for client in updates}
    with Transcript(tmp_path / "t") as transcript:
        witness = StudyWitness(transcript, {})
        transcript.append(study_record("private", "tests", LocalPolicy()))
        for round_index in range(2):
            secagg.aggregate(
                updates,
                privacy=found.privacy,
                quantization=found.quantization,
                threshold=4,
                reduce="sum",
                study="private",
                round_index=round_index,
                sites=sites,
                witness=witness,
            )
        transcript.end()
    spent = [json.loads(line) for line in (tmp_path / "t").read_text().splitlines() if '"spend"' in line]
    assert len(spent) == 2
    assert {one["unit"] for one in spent} == {"patient"}
    assert spent[0]["epsilon"] == spent[0]["total"] < spent[1]["total"] <= 4.0
    assert spent[1]["total"] == pytest.approx(sites[1].ledger.epsilon("rehearsal"), rel=1e-9)


def test_error_feedback_of_whole_sites_stays_at_home(rng: np.random.Generator) -> None:
    found = fitted(Unit.SITE)
    updates = {client: rng.normal(0, 0.02, DIM) for client in range(1, CLIENTS + 1)}
    done = secagg.aggregate(updates, privacy=found.privacy, quantization=found.quantization, threshold=4, residuals={})
    assert done.record.exact
    left = [residual.vector for residual in done.residuals.values()]
    assert 0 < max(np.linalg.norm(one) for one in left) <= found.step * 128**0.5  # of rounding, not of noise
