"""Small exact arithmetic: Shamir sharing, bit packing, residues, streams (RFC vectors: test_external_vectors.py)."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import ParameterError
from protocols.pairwise import Roster
from protocols.primitives import bitpack, prg, residues, shamir, signing
from tests.support.entropy import InsecureSeededEntropy, ScriptedEntropy

pytestmark = pytest.mark.fast

KEY = bytes(range(32))


# -- Shamir ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 8))
def test_every_subset_of_the_threshold_reconstructs(n: int) -> None:
    secret = InsecureSeededEntropy("secret", n).take(32, "secret")
    for t in range(1, n + 1):
        points = [3 * i + 1 for i in range(n)]
        shares = dict(zip(points, shamir.share(secret, t, points, InsecureSeededEntropy(n, t)), strict=True))
        for chosen in combinations(points, t):
            assert shamir.reconstruct({point: shares[point] for point in chosen}, t) == secret
        assert shamir.reconstruct(shares, t) == secret


def test_the_shares_lie_on_the_polynomial_of_the_drawn_coefficients() -> None:
    """Degree t - 1, the secret as constant term, nothing drawn besides: fewer than t shares do not determine it."""
    drawn = [1, 2**200 + 3, shamir.PRIME - 1]
    script = ScriptedEntropy(("shamir-coefficient", shamir.encode_element(value)) for value in drawn)
    constant = int.from_bytes(KEY, "little")
    points = [1, 2, 5, 65_535]
    shares = shamir.share(KEY, 4, points, script)
    assert script.exhausted
    assert shares == [(constant + sum(c * x**k for k, c in enumerate(drawn, start=1))) % shamir.PRIME for x in points]


@pytest.mark.parametrize("t", range(2, 8))
def test_fewer_than_the_threshold_give_something_else(t: int) -> None:
    points = range(1, 8)
    shares = dict(zip(points, shamir.share(KEY, t, points, InsecureSeededEntropy("few", t)), strict=True))
    for chosen in combinations(points, t - 1):
        try:
            assert shamir.reconstruct({point: shares[point] for point in chosen}, t - 1) != KEY
        except shamir.ReconstructionError:
            continue


@pytest.mark.parametrize(("prime", "t"), [(5, 2), (5, 3), (7, 2), (7, 3)])
def test_one_share_too_few_fits_every_secret_equally_often(prime: int, t: int) -> None:
    points = range(1, prime)
    for seen in combinations(points, t - 1):
        views: dict[int, dict[tuple[int, ...], int]] = {}
        for coefficients in product(range(prime), repeat=t):
            view = tuple(shamir.evaluate(coefficients, point, prime) for point in seen)
            counts = views.setdefault(coefficients[0], {})
            counts[view] = counts.get(view, 0) + 1
        assert all(views[secret] == views[0] for secret in range(prime))


@pytest.mark.parametrize("prime", [5, 7, 11])
def test_lagrange_weights_give_the_constant_term(prime: int) -> None:
    for points in combinations(range(1, prime), 3):
        for coefficients in product(range(prime), repeat=3):
            values = [shamir.evaluate(coefficients, point, prime) for point in points]
            weights = shamir.lagrange_at_zero(points, prime)
            assert sum(w * v for w, v in zip(weights, values, strict=True)) % prime == coefficients[0]


@given(st.lists(st.integers(0, shamir.PRIME - 1), min_size=1, max_size=60), st.integers(1, 65_535))
def test_evaluation_in_blocks_is_horners_rule(coefficients: list[int], point: int) -> None:
    expected = 0
    for coefficient in reversed(coefficients):
        expected = (expected * point + coefficient) % shamir.PRIME
    assert shamir.evaluate(coefficients, point) == expected


def test_the_prime_is_the_largest_below_two_to_the_264() -> None:
    def is_prime(n: int) -> bool:
        return all(pow(a, n - 1, n) == 1 for a in (2, 3, 5, 7, 11, 13))

    assert is_prime(shamir.PRIME)
    assert not any(is_prime(n) for n in range(shamir.PRIME + 2, 2**264, 2))


def test_a_draw_that_is_not_below_the_prime_is_thrown_away() -> None:
    top, kept = (2**264 - 1).to_bytes(33, "little"), (7).to_bytes(33, "little")
    script = ScriptedEntropy([("x", top), ("x", shamir.PRIME.to_bytes(33, "little")), ("x", kept)])
    assert shamir.random_element(script, "x") == 7


@pytest.mark.parametrize("points", [[1, 1, 2], [0, 1, 2], [1, 2, 65_536], [-1, 2, 3]])
def test_unusable_points(points: list[int]) -> None:
    with pytest.raises(shamir.ReconstructionError):
        shamir.share(bytes(32), 2, points, InsecureSeededEntropy())


@pytest.mark.parametrize(("secret", "t"), [(bytes(31), 2), (bytes(33), 2), (bytes(32), 0), (bytes(32), 4)])
def test_what_cannot_be_shared(secret: bytes, t: int) -> None:
    with pytest.raises(ValueError, match=r"secret has|cannot be met"):
        shamir.share(secret, t, [1, 2, 3], InsecureSeededEntropy())


def test_too_few_or_false_shares() -> None:
    points = [1, 2, 3]
    shares = dict(zip(points, shamir.share(KEY, 3, points, InsecureSeededEntropy()), strict=True))
    with pytest.raises(shamir.ReconstructionError, match="cannot open"):
        shamir.reconstruct({1: shares[1], 2: shares[2]}, 3)
    with pytest.raises(shamir.ReconstructionError, match="polynomial"):
        shamir.reconstruct({**shares, 3: (shares[3] + 2**263) % shamir.PRIME}, 3)
    for bad in (bytes(32), bytes(34), b"\xff" * 33):
        with pytest.raises(shamir.ReconstructionError, match="canonical"):
            shamir.decode_element(bad)


# -- bit packing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 65))
def test_packing_is_one_long_little_endian_number(bits: int, rng: np.random.Generator) -> None:
    for length in (1, 7, 8, 64, 65, 129):
        values = rng.integers(0, (1 << bits) - 1, length, dtype=np.uint64, endpoint=True)
        number = sum(int(value) << (i * bits) for i, value in enumerate(values))
        packed = bitpack.pack(values, bits)
        assert packed == number.to_bytes(bitpack.packed_size(length, bits), "little")
        np.testing.assert_array_equal(bitpack.unpack(packed, length, bits), values)


@pytest.mark.parametrize("bits", [1, 7, 12, 56, 60, 63])
def test_packing_drops_higher_bits(bits: int, rng: np.random.Generator) -> None:
    values = rng.integers(0, 2**64 - 1, 100, dtype=np.uint64, endpoint=True)
    reduced = values & np.uint64((1 << bits) - 1)
    assert bitpack.pack(values, bits) == bitpack.pack(reduced, bits)


@pytest.mark.parametrize(("data", "length", "bits"), [(b"\xff", 3, 2), (b"\x80", 7, 1), (b"\x00\x10", 4, 3)])
def test_padding_must_be_zero(data: bytes, length: int, bits: int) -> None:
    with pytest.raises(ValueError, match="padding"):
        bitpack.unpack(data, length, bits)


def test_a_vector_has_one_size() -> None:
    with pytest.raises(ValueError, match="take 2 bytes, not 3"):
        bitpack.unpack(bytes(3), 4, 4)


# -- residues and streams --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modulus", [3, 251, 2**31 - 1, 2**61 - 1, 2**62 - 57, 2**64])
def test_addition_and_subtraction_are_exact(modulus: int, rng: np.random.Generator) -> None:
    left, right = (rng.integers(0, modulus - 1, 500, dtype=np.uint64, endpoint=True) for _ in range(2))
    total, difference = left.copy(), left.copy()
    residues.add(total, right, modulus)
    residues.subtract(difference, right, modulus)
    assert total.tolist() == [(int(a) + int(b)) % modulus for a, b in zip(left, right, strict=True)]
    assert difference.tolist() == [(int(a) - int(b)) % modulus for a, b in zip(left, right, strict=True)]


@pytest.mark.parametrize("modulus", [3, 5, 251, 2**32 - 5, 2**61 - 1, 2**62 - 57])
def test_a_block_keeps_the_words_below_the_modulus_in_order(modulus: int) -> None:
    bits = (modulus - 1).bit_length()
    stream = prg.encryptor(KEY, 5 << 68).update(bytes(8 * 5_000))
    words = [int.from_bytes(stream[i : i + 8], "little") & ((1 << bits) - 1) for i in range(0, len(stream), 8)]
    expected = [word for word in words if word < modulus][:1_000]
    assert residues.uniform_block(KEY, 5, 1_000, modulus).tolist() == expected
    assert residues.uniform_block(KEY, 5, 10, modulus).tolist() == expected[:10]


def test_streams_are_seekable_and_blocks_do_not_overlap() -> None:
    whole = prg.encryptor(KEY).update(bytes(4096))
    for offset in (0, 16, 1600, 4080):
        assert prg.encryptor(KEY, offset).update(bytes(16)) == whole[offset : offset + 16]
    with pytest.raises(ValueError, match="multiples of 16"):
        prg.encryptor(KEY, 8)
    first = residues.uniform_block(KEY, 0, residues.BLOCK, 2**61 - 1)
    second = residues.uniform_block(KEY, 1, residues.BLOCK, 2**61 - 1)
    assert not set(first.tolist()) & set(second.tolist())


def test_a_filled_buffer_is_the_stream_in_order() -> None:
    stream = prg.AesCtrStream(KEY)
    parts = [np.empty(size, dtype=np.uint8) for size in (1, 15, 100, prg.CHUNK_BYTES + 3, 0, 17)]
    for part in parts:
        stream.fill(part)
    size = sum(part.size for part in parts)
    assert b"".join(part.tobytes() for part in parts) == prg.encryptor(KEY).update(bytes(size))
    with pytest.raises(ValueError, match="32 bytes"):
        prg.AesCtrStream(b"short")


# -- identities --------------------------------------------------------------------------------------------------------


def test_small_order_points_by_the_curve_equation() -> None:
    """Doubling a point of these three times gives the neutral element, and there are no others of order 8."""
    p, found = 2**255 - 19, set()
    d = -121665 * pow(121666, -1, p) % p

    def double(x: int, y: int) -> tuple[int, int]:
        k = d * x * x * y * y % p
        return 2 * x * y * pow(1 + k, -1, p) % p, (y * y + x * x) * pow(1 - k, -1, p) % p

    for y in signing._SMALL_ORDER:
        square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        x = pow(square, (p + 3) // 8, p)
        if x * x % p != square:
            x = x * pow(2, (p - 1) // 4, p) % p
        assert x * x % p == square
        point = (x, y)
        for _ in range(3):
            point = double(*point)
        assert point == (0, 1)
        found |= {(x, y), (-x % p, y)}
    assert len(found) == 8


@pytest.mark.parametrize("y", sorted(signing._SMALL_ORDER))
def test_an_identity_of_small_order_is_refused(y: int) -> None:
    with pytest.raises(ParameterError, match="small order"):
        Roster(((1, y.to_bytes(32, "little")),))
