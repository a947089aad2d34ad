"""A round whose joint seed could not be made is tried again, as often as the policy allows, and not otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import quant
import secagg
from protocols.pairwise import LocalPolicy
from secagg.attempts import run_attempts
from secagg.errors import SeedMissing

DITHER = {"bits": 12, "range": 1.0, "rounding": "dither"}


def test_a_missing_reveal_costs_an_attempt_and_no_more(updates: dict[int, np.ndarray]) -> None:
    result = secagg.aggregate(updates, quantization=DITHER, dropouts={2: "share-keys"})
    assert result.included == (1, 3, 4, 5)
    assert result.record.attempts == 2
    assert result.record.exact
    np.testing.assert_allclose(result.value, np.mean([updates[c] for c in (1, 3, 4, 5)], axis=0), atol=1e-3)


def test_bytes_of_all_attempts_count(updates: dict[int, np.ndarray]) -> None:
    once = secagg.aggregate(updates, quantization=DITHER, dropouts={2: "advertise-keys"}).record
    twice = secagg.aggregate(updates, quantization=DITHER, dropouts={2: "share-keys"}).record
    for phase in ("advertise-keys", "share-keys"):
        assert twice.uplink_bytes[phase][1] > 1.9 * once.uplink_bytes[phase][1]
    assert twice.uplink_bytes["masked-input"] == once.uplink_bytes["masked-input"]
    assert twice.downlink_bytes["share-keys"][1] > 1.9 * once.downlink_bytes["share-keys"][1]


def test_every_attempt_makes_another_seed_and_hash(config: secagg.RoundConfig) -> None:
    assert replace(config, attempt=1).params.hash() != config.params.hash()


def test_the_policy_caps_attempts(updates: dict[int, np.ndarray]) -> None:
    with pytest.raises(SeedMissing, match="client 2 committed"):
        secagg.aggregate(updates, quantization=DITHER, dropouts={2: "share-keys"}, policy=LocalPolicy(max_attempts=1))


def test_clients_count_the_attempts_themselves(config: secagg.RoundConfig, updates: dict[int, np.ndarray]) -> None:
    """Someone vanishes in every attempt: the loop ends at the cap, with nobody's input asked for."""
    nine = replace(
        config, clients=tuple(range(1, 10)), quantization=DITHER, attempt_limit=3, joint_randomness=True, threshold=5
    )
    asked: list[int] = []

    def contribute(client: int, session: secagg.ClientSession) -> object:
        asked.append(client)
        return session.prepare(updates[1])

    opened, attempt = run_attempts(nine, bytes(32), contribute, dropouts={9: "share-keys"})  # type: ignore[arg-type]
    assert attempt.record.attempts == 2
    assert opened.included == tuple(range(1, 9))
    assert sorted(asked) == list(range(1, 9))


def test_too_few_clients_is_no_matter_of_attempts(updates: dict[int, np.ndarray]) -> None:
    with pytest.raises(secagg.RoundRefused, match="needs 4") as refusal:
        secagg.aggregate(updates, dropouts={1: "share-keys", 2: "share-keys"})
    assert not isinstance(refusal.value, SeedMissing)
    with pytest.raises(secagg.RoundRefused):
        secagg.aggregate(updates, quantization=DITHER, dropouts={1: "share-keys", 2: "share-keys"})


def test_losses_after_the_input_was_sent_are_not_retried(updates: dict[int, np.ndarray]) -> None:
    with pytest.raises(secagg.RoundRefused) as refusal:
        secagg.aggregate(updates, quantization=DITHER, dropouts={1: "masked-input", 2: "masked-input"})
    assert not isinstance(refusal.value, SeedMissing)


def test_a_sparse_graph_is_tried_again_too(rng: np.random.Generator) -> None:
    config = secagg.RoundConfig(
        clients=tuple(range(1, 81)),
        layout=quant.Layout.of(np.zeros(5)),
        protocol="secagg+",
        tolerated_dropouts=4,
    )
    assert config.params.sparse
    opened, attempt = run_attempts(
        config, bytes(32), lambda client, session: session.prepare(np.full(5, 0.1)), dropouts={7: "reveal-randomness"}
    )
    assert attempt.record.attempts == 2
    assert 7 not in opened.included
    assert attempt.record.exact
