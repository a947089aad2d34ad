"""secagg.aggregate: the decoded mean or sum, in the shapes and dtypes that came in, or one clear error."""

from __future__ import annotations

import numpy as np
import pytest

import quant
import secagg
from protocols import ParameterError

FINE = {"bits": 20, "range": 1.0}
TOLERANCE = 2.0 / (1 << 20)


def test_mean_of_flat_vectors(updates: dict[int, np.ndarray]) -> None:
    result = secagg.aggregate(updates, quantization=FINE)
    assert result.included == (1, 2, 3, 4, 5)
    np.testing.assert_allclose(result.value, np.mean(list(updates.values()), axis=0), atol=TOLERANCE)
    assert result.record.exact


def test_sum_of_a_sequence(updates: dict[int, np.ndarray]) -> None:
    result = secagg.aggregate(list(updates.values()), reduce="sum", quantization=FINE)
    np.testing.assert_allclose(result.value, np.sum(list(updates.values()), axis=0), atol=5 * TOLERANCE)


def test_weighted_mean(updates: dict[int, np.ndarray]) -> None:
    weights = {1: 10, 2: 0, 3: 100, 4: 55, 5: 7}
    result = secagg.aggregate(updates, weights=weights, quantization=FINE)
    expected = np.average(list(updates.values()), axis=0, weights=list(weights.values()))
    np.testing.assert_allclose(result.value, expected, atol=5 * TOLERANCE)


def test_weighted_sum(updates: dict[int, np.ndarray]) -> None:
    weights = [1, 2, 3, 4, 5]
    result = secagg.aggregate(updates, weights=weights, reduce="sum", quantization=FINE)
    expected = sum(w * x for w, x in zip(weights, updates.values(), strict=True))
    np.testing.assert_allclose(result.value, expected, atol=25 * TOLERANCE)


@pytest.mark.parametrize(
    ("phase", "included"),
    [("advertise-keys", False), ("share-keys", False), ("masked-input", False), ("unmasking", True)],
)
def test_dropouts(updates: dict[int, np.ndarray], phase: str, included: bool) -> None:
    result = secagg.aggregate(updates, quantization=FINE, dropouts={2: phase})
    assert (2 in result.included) is included
    assert result.dropped == {2: phase}
    kept = [x for client, x in updates.items() if included or client != 2]
    np.testing.assert_allclose(result.value, np.mean(kept, axis=0), atol=TOLERANCE)
    assert result.record.exact


def test_structures_keep_shapes_and_dtypes() -> None:
    def update(value: float) -> dict[str, object]:
        return {
            "conv": {"weight": np.full((2, 3), value, np.float32), "bias": np.full(2, value, np.float16)},
            "steps": np.array(7),
        }

    result = secagg.aggregate([update(v) for v in (0.1, 0.2, 0.3)], quantization=FINE)
    assert result.value["conv"]["weight"].dtype == np.float32
    assert result.value["conv"]["weight"].shape == (2, 3)
    assert result.value["conv"]["bias"].dtype == np.float16
    np.testing.assert_allclose(result.value["conv"]["weight"], 0.2, atol=1e-5)
    assert result.value["steps"] == 7


def test_torch_state_dicts() -> None:
    torch = pytest.importorskip("torch")

    def state(value: float) -> dict[str, object]:
        return {
            "layer.weight": torch.full((3, 2), value),
            "layer.bias": torch.full((3,), value, dtype=torch.bfloat16),
            "norm.num_batches_tracked": torch.tensor(11),
        }

    result = secagg.aggregate([state(v) for v in (0.25, 0.5, 0.75)], quantization=FINE)
    assert isinstance(result.value["layer.weight"], torch.Tensor)
    assert result.value["layer.bias"].dtype == torch.bfloat16
    assert torch.allclose(result.value["layer.weight"], torch.full((3, 2), 0.5), atol=1e-5)
    assert result.value["norm.num_batches_tracked"].item() == 11


def test_only_the_included_leaves_travel() -> None:
    updates = [{"head.w": np.full(4, v), "body.w": np.full(1000, v)} for v in (0.1, 0.2, 0.3)]
    result = secagg.aggregate(updates, include="head.*", quantization=FINE)
    np.testing.assert_allclose(result.value["head.w"], 0.2, atol=1e-5)
    np.testing.assert_array_equal(result.value["body.w"], updates[0]["body.w"])
    assert result.record.uplink_bytes["masked-input"][1] < 200


def test_callables_are_asked_once(updates: dict[int, np.ndarray]) -> None:
    asked: list[int] = []

    def lazily(client: int) -> np.ndarray:
        asked.append(client)
        return updates[client]

    secagg.aggregate({client: lambda c=client: lazily(c) for client in updates}, quantization=FINE)
    assert sorted(asked) == sorted(updates)


def test_view_shows_truth_noise_and_sum(updates: dict[int, np.ndarray]) -> None:
    result = secagg.aggregate(updates, quantization=FINE, view=True)
    view = result.record.view
    assert view is not None
    assert view.true.shape == view.sent.shape == view.total.shape == (33,)
    assert int(view.sent.max()) < 1 << result.record.field_bits
    assert (view.sent.astype(np.int64) != view.true).any()


def test_record_counts_every_byte_and_phase(updates: dict[int, np.ndarray]) -> None:
    record = secagg.aggregate(updates, dropouts={5: "unmasking"}).record
    assert list(record.uplink_bytes) == ["advertise-keys", "share-keys", "masked-input", "unmasking"]
    assert 5 not in record.uplink_bytes["unmasking"]
    assert record.uplink_total(1) == sum(by_client[1] for by_client in record.uplink_bytes.values())
    assert set(record.server_seconds) == {*record.uplink_bytes, "open"}


@pytest.mark.parametrize(
    "quantization",
    [
        {"bits": 8, "clip": 2.0, "range": 0.6, "rotation": True},
        {"bits": 8, "clip": 2.0, "range": 0.6, "rotation": True, "rounding": "dither"},
        {"bits": 8, "range": 0.5, "rounding": "dither"},
        {"modulus_bits": 14, "step": 0.001},
        {"bits": 9, "range": 0.5, "rounding": "nearest"},
    ],
    ids=str,
)
def test_schemes_with_public_randomness_through_the_protocol(
    quantization: dict[str, object], rng: np.random.Generator
) -> None:
    updates = {client: rng.normal(size=1000) * 0.05 for client in range(1, 8)}
    result = secagg.aggregate(updates, quantization=quantization, dropouts={3: "masked-input", 5: "unmasking"})
    assert result.record.exact
    assert result.record.saturated == 0
    expected = np.mean([update for client, update in updates.items() if client != 3], axis=0)
    assert float(np.mean((result.value - expected) ** 2)) < 1e-6


# -- bad input -----------------------------------------------------------------------------------------------------


def test_no_updates() -> None:
    with pytest.raises(secagg.UsageError, match="no updates"):
        secagg.aggregate([])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_name_the_client(updates: dict[int, np.ndarray], bad: float) -> None:
    updates[3][7] = bad
    with pytest.raises(quant.InputError, match="client 3"):
        secagg.aggregate(updates)


def test_other_shapes_name_the_client(updates: dict[int, np.ndarray]) -> None:
    updates[4] = np.zeros(32)
    with pytest.raises(quant.InputError, match="client 4"):
        secagg.aggregate(updates)


def test_a_lazy_update_of_another_shape_names_the_client(updates: dict[int, np.ndarray]) -> None:
    with pytest.raises(quant.InputError, match="client 4"):
        secagg.aggregate({**updates, 4: lambda: np.zeros(32)})


def test_empty_update() -> None:
    with pytest.raises(quant.InputError):
        secagg.aggregate([np.zeros(0)] * 4)


@pytest.mark.parametrize("weights", [{1: 1}, [1, 2, 3], {9: 1, 2: 1, 3: 1, 4: 1, 5: 1}], ids=str)
def test_weights_must_fit_the_updates(updates: dict[int, np.ndarray], weights: object) -> None:
    with pytest.raises(secagg.UsageError, match="weights"):
        secagg.aggregate(updates, weights=weights)  # type: ignore[arg-type]


@pytest.mark.parametrize("weight", [-1, 11, 1.5])
def test_a_weight_outside_its_bounds_names_the_client(updates: dict[int, np.ndarray], weight: float) -> None:
    with pytest.raises(quant.InputError, match="client 2"):
        secagg.aggregate(updates, weights={1: 1, 2: weight, 3: 1, 4: 1, 5: 1}, max_weight=10)  # type: ignore[dict-item]


def test_two_sites_hide_nothing(updates: dict[int, np.ndarray]) -> None:
    with pytest.raises(ParameterError, match="at least 3"):
        secagg.aggregate({1: updates[1], 2: updates[2]})


def test_too_many_dropouts_are_refused(updates: dict[int, np.ndarray]) -> None:
    with pytest.raises(secagg.RoundRefused, match="masked-input has 3 clients and needs 4"):
        secagg.aggregate(updates, dropouts={1: "masked-input", 2: "masked-input"})


@pytest.mark.parametrize("dropouts", [{9: "unmasking"}, {1: "lunch"}, {1: "consistency-check"}], ids=str)
def test_dropouts_that_cannot_be(updates: dict[int, np.ndarray], dropouts: dict[int, str]) -> None:
    with pytest.raises(secagg.UsageError):
        secagg.aggregate(updates, dropouts=dropouts)


@pytest.mark.parametrize("ids", [{0: 0}, {70000: 0}, {"a": 0}], ids=str)
def test_ids_out_of_range(ids: dict[object, int], updates: dict[int, np.ndarray]) -> None:
    with pytest.raises(secagg.UsageError, match="ids"):
        secagg.aggregate({**updates, **dict.fromkeys(ids, np.zeros(33))})  # type: ignore[dict-item]
