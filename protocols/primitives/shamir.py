"""Shamir secret sharing over a prime field (Shamir 1979), with batch reconstruction.

One field element holds a whole 32-byte secret: the prime is the largest below 2^264, so elements are exactly 33 bytes
and a uniform 33-byte string is rejected with probability 275 / 2^264. Plain Python integers are both the simplest and
a fast implementation: points are small, so a step of Horner's rule multiplies a long number by a machine word.

Secrets, shares and draws are little-endian.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import mul

from protocols.entropy import Entropy

PRIME = 2**264 - 275
ELEMENT_BYTES = 33
SECRET_BYTES = 32

# Coefficients folded into one unreduced Horner block: with points below 2^16 a block grows by 16 bits a step, so 16
# steps stay near two field widths, where a multiplication by a small point is still far cheaper than a reduction.
_BLOCK = 16


class ReconstructionError(ValueError):
    """Shares do not determine a secret: too few, repeated or unusable points, or a result that is no 32-byte string."""


def random_element(entropy: Entropy, label: str) -> int:
    """Draw a uniform element of GF(PRIME) by rejection."""
    while True:
        candidate = int.from_bytes(entropy.take(ELEMENT_BYTES, label), "little")
        if candidate < PRIME:
            return candidate


def evaluate(coefficients: Sequence[int], point: int, prime: int = PRIME) -> int:
    """Evaluate the polynomial with ``coefficients`` (constant term first) at ``point``, modulo ``prime``."""
    stride = point**_BLOCK % prime
    result = 0
    top = (len(coefficients) - 1) // _BLOCK * _BLOCK
    for start in range(top, -1, -_BLOCK):
        block = 0
        for coefficient in reversed(coefficients[start : start + _BLOCK]):
            block = block * point + coefficient
        result = (result * stride + block) % prime
    return result


def share(secret: bytes, threshold: int, points: Sequence[int], entropy: Entropy) -> list[int]:
    """Split a 32-byte secret so that any ``threshold`` of the shares give it back and fewer say nothing.

    Args:
        secret: 32 bytes.
        threshold: number of shares needed, at least 1.
        points: distinct evaluation points, 1 <= point < 2^16, one per share.
        entropy: source of the ``threshold - 1`` coefficients, drawn from the linear term upwards.

    Returns:
        one field element per point, in the order of ``points``.

    Raises:
        ValueError: a secret of another length, unusable points or a threshold that they cannot meet.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes, not {len(secret)}")
    _check_points(points)
    if not 1 <= threshold <= len(points):
        raise ValueError(f"threshold {threshold} cannot be met by {len(points)} shares")
    coefficients = [int.from_bytes(secret, "little")]
    coefficients += [random_element(entropy, "shamir-coefficient") for _ in range(threshold - 1)]
    return [evaluate(coefficients, point) for point in points]


@lru_cache(maxsize=4096)
def lagrange_at_zero(points: tuple[int, ...], prime: int = PRIME) -> tuple[int, ...]:
    """Return the weights w_i with f(0) = sum w_i f(x_i) for every polynomial of degree below ``len(points)``.

    Kept for reuse: in the complete graph one set of points serves every secret of a round.
    """
    _check_points(points)
    product = math.prod(points) % prime
    denominators = [point * math.prod(other - point for other in points if other != point) % prime for point in points]
    return tuple(product * inverse % prime for inverse in _inverses(denominators, prime))


def _inverses(values: Sequence[int], prime: int) -> list[int]:
    """Invert all values with one modular inversion (Montgomery's trick): it costs as much as a hundred products."""
    before = [1]
    for value in values:
        before.append(before[-1] * value % prime)
    rest, inverses = pow(before.pop(), -1, prime), []
    for value, product in zip(reversed(values), reversed(before), strict=True):
        inverses.append(rest * product % prime)
        rest = rest * value % prime
    return inverses[::-1]


def reconstruct(shares: Mapping[int, int], threshold: int) -> bytes:
    """Give back the 32-byte secret from ``threshold`` or more shares (the lowest points are used).

    Raises:
        ReconstructionError: too few shares, or a value that no honest dealer shared.
    """
    if len(shares) < threshold:
        raise ReconstructionError(f"{len(shares)} shares cannot open a secret of threshold {threshold}")
    points = tuple(sorted(shares)[:threshold])
    value: int = sum(map(mul, lagrange_at_zero(points), (shares[point] for point in points))) % PRIME
    if value >= 1 << (8 * SECRET_BYTES):
        raise ReconstructionError("the shares do not lie on the polynomial of a 32-byte secret")
    return value.to_bytes(SECRET_BYTES, "little")


def encode_element(element: int) -> bytes:
    """Return the 33-byte little-endian form of a field element."""
    return element.to_bytes(ELEMENT_BYTES, "little")


def decode_element(data: bytes) -> int:
    """Read a field element.

    Raises:
        ReconstructionError: wrong length, or a value not below the prime.
    """
    value = int.from_bytes(data, "little")
    if len(data) != ELEMENT_BYTES or value >= PRIME:
        raise ReconstructionError("not the canonical form of a field element")
    return value


def _check_points(points: Sequence[int]) -> None:
    if len(set(points)) != len(points):
        raise ReconstructionError("the same evaluation point appears twice")
    if any(not 1 <= point < 1 << 16 for point in points):
        raise ReconstructionError("evaluation points lie between 1 and 65535")
