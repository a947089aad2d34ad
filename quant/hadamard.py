"""The orthonormal Walsh-Hadamard transform of columns, as a few products with small Hadamard matrices.

H_1 = [1], H_2n = [[H_n, H_n], [H_n, -H_n]] / sqrt(2): symmetric, orthonormal, so its own inverse. H_ab is the Kronecker
product of H_a and H_b; a transform of length 4096 is two products with H_64, which in numpy take half the time
of twelve passes of additions. All matrices of one transform hold one power of two each, but for odd log2(n), where
1 / sqrt(2) has to be rounded.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from quant.errors import InputError
from quant.vectors import FloatVector

LARGEST_FACTOR_BITS = 6
"""Matrices of 64 x 64: larger ones cost more multiplications than they save memory traffic."""


def hadamard_columns(a: FloatVector) -> FloatVector:
    """Give H times every column of ``a``: shape (n, m), n a power of two, C order; a new array of the same dtype.

    Values must be so small that sums of sqrt(n) of them are finite. Error: see `hadamard_error`. The last bits depend
    on the order in which the machine's BLAS adds; inputs whose sums are exact (small integers) give the same
    result everywhere.

    Raises:
        InputError: ``a`` is not two-dimensional and contiguous, or n is no power of two.
    """
    if a.ndim != 2 or not a.flags.c_contiguous or not a.shape[0] or a.shape[0] & (a.shape[0] - 1):
        raise InputError(f"a transform takes a contiguous matrix whose height is a power of two, not {a.shape}")
    rows, columns = a.shape
    before = 1
    for factor in _factors(rows):
        after = rows // (before * factor) * columns
        matrix = _matrix(factor).astype(a.dtype)
        if after == 1:
            a = np.matmul(a.reshape(before, factor), matrix)
        else:
            a = np.matmul(matrix, a.reshape(before, factor, after))
        before *= factor
    return a.reshape(rows, columns)


def hadamard_error(rows: int, dtype: "np.dtype[np.float32] | np.dtype[np.float64]") -> float:
    """Bound on the Euclidean error of one transformed column, relative to its norm.

    Proof. One factor r: a result is a sum of r terms +-s x_i, s = r^-1/2 rounded; in any order of addition, fused or
    not, it errs by at most (r + 2) u s sum |x_i| to first order (Higham, section 3.1), so the r results err by at
    most sqrt(r) (r + 2) u s sqrt(r) |x| = sqrt(r) (r + 2) u |x| in Euclidean norm. Factors add up; 1 % pays for the
    second order. For n = 4096: 6.4e-5 in float32, 1.2e-13 in float64. Typical errors are some u.
    """
    unit = float(np.finfo(dtype).eps) / 2
    return 1.01 * unit * sum(math.sqrt(factor) * (factor + 2) for factor in _factors(rows))


def _factors(rows: int) -> list[int]:
    """Split n into powers of two of at most 64, as equal as possible."""
    bits = rows.bit_length() - 1
    pieces = max(1, -(-bits // LARGEST_FACTOR_BITS))
    return [1 << (bits // pieces + (piece < bits % pieces)) for piece in range(pieces)]


@lru_cache(maxsize=16)
def _matrix(rows: int) -> NDArray[np.float64]:
    """Give H of at most 64 rows."""
    signs = np.ones((1, 1))
    while len(signs) < rows:
        signs = np.block([[signs, signs], [signs, -signs]])
    return signs / math.sqrt(rows)
