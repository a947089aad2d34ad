"""Totals with integer noise: fields have room for it, decoders accept what fits, and refuse one beyond."""

from __future__ import annotations

import numpy as np
import pytest

import quant

CODECS = {
    "uniform": {"levels": 255, "range": 1.0},
    "layered": {"layers": [3, 4], "layer_levels": [255, 15], "layer_ranges": [1.0, 2.0]},
    "lossless": {"exact_low": -3, "exact_high": 4},
}
CLIENTS, NOISE, DIM = 5, 1000, 7


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("packed", [False, True])
def test_totals_are_exact_at_the_extremes_and_refused_one_beyond(name: str, packed: bool) -> None:
    codec = quant.from_config(CODECS[name], DIM)
    lanes = codec.facts.lanes(CLIENTS, noise=NOISE)
    most = np.full(DIM, CLIENTS * codec.facts.upper, np.int64)
    if name == "layered":
        most[3:] = CLIENTS * 14

    def decode(total: np.ndarray) -> np.ndarray:
        if not packed:
            return codec.decode(total, CLIENTS, noise=NOISE)
        return codec.decode_packed(lanes.fold(total), lanes, CLIENTS, noise=NOISE)

    low, high = np.full(DIM, -NOISE, np.int64), most + NOISE
    assert np.array_equal(lanes.unpack(lanes.fold(low), -NOISE), low)
    assert np.array_equal(lanes.unpack(lanes.fold(high), -NOISE), high)
    middle = decode(most // 2)
    assert np.allclose(decode(high) - middle, middle - decode(low))
    if codec.facts.field_width(CLIENTS, noise=NOISE) * 2 <= 64:  # one beyond still fits the field: only decode can say
        for place, beyond in ((0, -1), (DIM - 1, 1)):
            total = (low if beyond < 0 else high).copy()
            total[place] += beyond
            with pytest.raises(quant.InputError, match="no sum of"):
                codec.decode(total, CLIENTS, noise=NOISE)


def test_fields_grow_with_the_noise() -> None:
    facts = quant.from_config(CODECS["uniform"], DIM).facts
    assert facts.field_width(CLIENTS) == (5 * 254).bit_length()
    assert facts.field_width(CLIENTS, noise=NOISE) == (5 * 254 + 2 * NOISE).bit_length()
    assert facts.max_clients(11) == (2**11 - 1) // 254
    assert facts.max_clients(11, noise=500) == (2**11 - 1 - 1000) // 254


def test_sums_that_wrap_have_no_room_for_noise() -> None:
    codec = quant.from_config({"modulus_bits": 12, "step": 0.01}, DIM)
    with pytest.raises(quant.ConfigurationError, match="wrap"):
        codec.facts.lanes(CLIENTS, noise=1)
    with pytest.raises(quant.InputError, match="wrap"):
        codec.decode(np.zeros(DIM, np.int64), CLIENTS, noise=1)


def test_folding_is_a_homomorphism_whatever_the_values(rng: np.random.Generator) -> None:
    lanes = quant.LaneLayout(1000, 13)
    vectors = rng.integers(-(2**62), 2**62, (4, 1000))
    vectors[-1] = rng.integers(-4000, 4000, 1000) - vectors[:-1].sum(axis=0)  # the sum fits, no vector does
    mask = np.uint64(2**lanes.lane_bits - 1)
    folded = [lanes.fold(vector) for vector in vectors]
    assert all((one <= mask).all() for one in folded)
    total = (folded[0] + folded[1] + folded[2] + folded[3]) & mask
    assert np.array_equal(lanes.unpack(total, -4096), vectors.sum(axis=0))


def test_integer_transform_equals_the_float_one(rng: np.random.Generator) -> None:
    from quant.hadamard import hadamard_columns, hadamard_integers

    for rows in (1, 2, 8, 64, 512):
        values = rng.integers(-1000, 1000, (rows, 5))
        exact = hadamard_integers(values)
        assert np.allclose(exact, hadamard_columns(values.astype(np.float64)) * rows**0.5)
        assert np.array_equal((exact**2).sum(axis=0), rows * (values**2).sum(axis=0))
        assert np.array_equal(hadamard_integers(exact), rows * values)
