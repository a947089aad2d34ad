"""The orthonormal Walsh-Hadamard transform of columns, as a few products with small Hadamard matrices.

H_1 = [1], H_2n = [[H_n, H_n], [H_n, -H_n]] / sqrt(2): symmetric, orthonormal, so its own inverse. H_ab is the Kronecker
product of H_a and H_b; a transform of length 4096 is three products with H_16, which in numpy take a third of the time
of twelve passes of additions. All matrices hold powers of two, but for odd log2(n), where one is scaled by a rounded
1 / sqrt(2).

The columns are walked in tiles that stay in the second-level cache from the first product to the last, and each product
is a batch of matrices so small that no BLAS starts threads for them: on a busy machine those would wait for each other
much longer than the work takes.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from quant.errors import InputError
from quant.vectors import FloatVector

LARGEST_FACTOR_BITS = 4
"""Matrices of 16 x 16: larger ones cost more multiplications than they save passes over the cache."""

TILE = 1 << 18
"""Values of one tile: 1 MiB of float32."""

PRODUCT_COLUMNS = 256
"""Columns of one small product."""


def hadamard_columns(a: FloatVector, out: FloatVector | None = None) -> FloatVector:
    """Give H times every column of ``a``: shape (n, m), n a power of two, C order; dtype as ``a``.

    Values must be so small that sums of sqrt(n) of them are finite. Error: see `hadamard_error`. The last bits depend
    on the order in which the machine's BLAS adds; inputs whose sums are exact (small integers) give the same
    result everywhere.

    Args:
        a: what is transformed.
        out: where to, shape, dtype and order as ``a``, which it may be itself; a new array if absent.

    Raises:
        InputError: ``a`` is not two-dimensional and contiguous, or n is no power of two.
    """
    if a.ndim != 2 or not a.flags.c_contiguous or not a.shape[0] or a.shape[0] & (a.shape[0] - 1):
        raise InputError(f"a transform takes a contiguous matrix whose height is a power of two, not {a.shape}")
    result = np.empty_like(a) if out is None else out
    rows, columns = a.shape
    factors = _factors(rows)
    width = min(columns, max(1, TILE // rows))
    spare = [np.empty((rows, width), a.dtype) for _ in range(min(len(factors) - 1, 2))]
    for start in range(0, columns, width):
        tile = slice(start, min(start + width, columns))
        source: FloatVector = a[:, tile]
        before = 1
        for number, factor in enumerate(factors):
            last = number == len(factors) - 1
            target = result[:, tile] if last else spare[number % 2].reshape(-1)[: source.size].reshape(source.shape)
            _multiply(_matrix(factor, a.dtype.itemsize), source, target, before)
            source, before = target, before * factor
    return result


def hadamard_integers(a: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the unnormalised transform, entries +-1, of every column of ``a``: int64 of shape (n, m), exact.

    Equals sqrt(n) times `hadamard_columns`, and the squared norm of a column grows by n exactly. The caller keeps
    sums of magnitudes of a column below 2^63.

    Raises:
        InputError: ``a`` is not two-dimensional, or n is no power of two.
    """
    if a.ndim != 2 or not a.shape[0] or a.shape[0] & (a.shape[0] - 1):
        raise InputError(f"a transform takes a matrix whose height is a power of two, not {a.shape}")
    current: NDArray[np.int64] = np.array(a, np.int64)
    half = 1
    while half < a.shape[0]:
        pairs = current.reshape(-1, 2, half, a.shape[1])
        current = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1)
        half *= 2
    return current.reshape(a.shape)


def _multiply(matrix: FloatVector, source: FloatVector, target: FloatVector, before: int) -> None:
    """Apply the matrix along the middle axis of (before, factor, after) rows, to all columns of a tile."""
    rows, columns = source.shape
    factor = len(matrix)
    after = rows // (before * factor)
    if after * columns == 1:
        np.matmul(source.reshape(before, factor), matrix, out=target.reshape(before, factor))
        return
    inner = 1  # rows that are neighbours in memory can be columns of one product
    if source.flags.c_contiguous and target.flags.c_contiguous:
        while inner < after and inner * columns < PRODUCT_COLUMNS:
            inner *= 2
    shape = (before, factor, after // inner, inner * columns)
    np.matmul(matrix, source.reshape(shape).transpose(0, 2, 1, 3), out=target.reshape(shape).transpose(0, 2, 1, 3))


def hadamard_error(rows: int, dtype: "np.dtype[np.float32] | np.dtype[np.float64]") -> float:
    """Bound on the Euclidean error of one transformed column, relative to its norm.

    Proof. One factor r: a result is a sum of r terms +-s x_i, s = r^-1/2 rounded; in any order of addition, fused or
    not, it errs by at most (r + 2) u s sum |x_i| to first order (Higham, section 3.1), so the r results err by at
    most sqrt(r) (r + 2) u s sqrt(r) |x| = sqrt(r) (r + 2) u |x| in Euclidean norm. Factors add up; 1 % pays for the
    second order. For n = 4096: 1.3e-5 in float32, 2.5e-14 in float64. Typical errors are some u.
    """
    unit = float(np.finfo(dtype).eps) / 2
    return 1.01 * unit * sum(math.sqrt(factor) * (factor + 2) for factor in _factors(rows))


def _factors(rows: int) -> list[int]:
    """Split n into as many 16s as it holds and the rest: of an even number of bits, all are squares."""
    bits = rows.bit_length() - 1
    full, rest = divmod(bits, LARGEST_FACTOR_BITS)
    return [1 << LARGEST_FACTOR_BITS] * full + [1 << rest] * (rest > 0 or not full)


@lru_cache(maxsize=16)
def _matrix(rows: int, size: int) -> FloatVector:
    """Give H of at most 16 rows, in floats of ``size`` bytes."""
    signs = np.ones((1, 1))
    while len(signs) < rows:
        signs = np.block([[signs, signs], [signs, -signs]])
    matrix = signs / math.sqrt(rows)
    return matrix.astype(np.float32) if size == 4 else matrix
