"""``secagg attack --only epsilon``: below the claim on what is built, above it with half the noise or no clip."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from secagg.attack import canaries, epsilon
from secagg.attack.epsilon import Weakness
from secagg.attack.outcomes import Outcome
from secagg.attack.setting import Setting
from secagg.audit.epsilon import CONFIDENCE as ALMOST_SURE
from secagg.cli import main
from tests.support.entropy import InsecureSeededEntropy

CLAIM = 1.0
HALF_SIGMA, NO_CLIP, NO_NOISE = Weakness(sigma=0.5), Weakness(clip=10.0), Weakness(sigma=1e-3)


# -- the mechanism ---------------------------------------------------------------------------------------------------


def test_the_mechanism_as_built_keeps_its_claim() -> None:
    """At a confidence of 1 - 1e-6, and of that far below the claim: the truth is at the claim, samples are few."""
    found = epsilon.bound(Setting(), CLAIM, 200_000, confidence=ALMOST_SURE)
    assert not found.refutes(CLAIM)


@pytest.mark.parametrize("broken", [HALF_SIGMA, Weakness(clip=2.0)])
def test_half_the_noise_or_no_clip_breaks_the_claim(broken: Weakness) -> None:
    (result,) = epsilon.run_all(Setting(), CLAIM, 200_000, broken)
    assert result.outcome is Outcome.POSSIBLE, result
    assert result.change


@pytest.mark.slow
def test_twenty_of_twenty_audits_stay_below_the_claim() -> None:
    bounds = [epsilon.bound(Setting(), CLAIM) for _ in range(20)]
    print([round(bound.epsilon, 3) for bound in bounds])
    assert {bound.confidence for bound in bounds} == {0.95}
    assert not any(bound.refutes(CLAIM) for bound in bounds)
    for broken in (HALF_SIGMA, Weakness(clip=2.0)):
        assert epsilon.bound(Setting(), CLAIM, weakness=broken).refutes(CLAIM)


# -- a training run --------------------------------------------------------------------------------------------------


def audited(broken: Weakness = epsilon.SOUND, *, rounds: int = 3, seed: str = "coins") -> canaries.Run:
    """Coins are seeded: what is random in these tests is the noise, and what they ask of it is far from its edge."""
    return canaries.audited_run(Setting(), CLAIM, broken, rounds=rounds, entropy=InsecureSeededEntropy(seed, 0))


def test_a_training_run_as_built_keeps_its_claim_and_learns() -> None:
    run = audited()
    assert len(run.bounds) == len(run.claims) == 3
    assert list(run.claims) == sorted(run.claims)
    assert run.claims[-1] == pytest.approx(CLAIM, rel=1e-3)
    # The true mechanism lets 64 % of the surest 122 coins be guessed: that they show more than epsilon 2 (115 right or
    # more) has a probability below 1e-9.
    assert run.bounds[-1].epsilon < 2 * CLAIM
    assert run.accuracy > 0.5


@pytest.mark.parametrize("broken", [NO_CLIP, NO_NOISE])
def test_without_clip_or_noise_the_bound_exceeds_the_claim(broken: Weakness) -> None:
    """Eight runs without a clip gave 1.9 to 3.0; without noise, 5.4 every time."""
    assert audited(broken).bounds[-1].refutes(CLAIM)


def test_canaries_are_half_there_and_as_long_as_the_clip() -> None:
    coins = np.unpackbits(np.frombuffer(InsecureSeededEntropy("coins", 0).take(canaries.DIM // 8, "coins"), np.uint8))
    assert abs(int(coins.sum()) - canaries.DIM / 2) < 200
    clients = (1, 2, 3)
    vectors = [canaries._canaries(coins.astype(bool), client, clients, 2.0) for client in clients]
    assert np.array_equal(np.vstack(vectors).sum(axis=0), 2.0 * coins)


@pytest.mark.slow
def test_no_training_run_exceeds_its_claim_and_half_sigma_shows_more() -> None:
    """Loose as they are, such bounds stay below the claim; with the noise halved they rise, on average."""
    bounds, halved = (
        [canaries.audited_run(Setting(), CLAIM, broken).bounds[-1].epsilon for _ in range(10)]
        for broken in (epsilon.SOUND, HALF_SIGMA)
    )
    print([round(bound, 3) for bound in bounds], [round(bound, 3) for bound in halved])
    assert max(bounds) <= CLAIM
    assert np.mean(halved) > np.mean(bounds)


# -- the command -----------------------------------------------------------------------------------------------------


def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canaries, "ROUNDS", 2)
    page = tmp_path / "attack.html"
    broken = ["--releases", "20000", "--sigma", "0.001", "--html", str(page), "--json"]
    assert main(["attack", "--only", "epsilon", *broken]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [entry["outcome"] for entry in printed["attacks"]] == ["possible", "possible"]
    for entry in printed["attacks"]:
        assert entry["curve"][-1][1] > entry["curve"][-1][0]
    assert page.read_text().count("above: the claim is false") == 2
    for bad in (["--releases", "10"], ["--clip", "0"], ["--sigma", "-1"]):
        assert main(["attack", "--only", "epsilon", *bad]) == 2
