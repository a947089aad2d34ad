"""Sample updates from a file: public data trained on by as many sites as there are, or the updates of a dry run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secagg.errors import UsageError


def read_updates(path: Path) -> list[NDArray[np.float64]]:
    """Read one update per site: the rows of a .npy matrix, or the arrays of a .npz file (any shape, flattened).

    Raises:
        UsageError: a file that cannot be read, holds no numbers, or holds updates of different lengths.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise UsageError(f"{path} is no .npy or .npz file of numbers") from None
    try:
        arrays = list(np.atleast_2d(loaded)) if isinstance(loaded, np.ndarray) else [loaded[key] for key in loaded]
    except ValueError:
        raise UsageError(f"{path} holds objects; save plain arrays of numbers") from None
    finally:
        if not isinstance(loaded, np.ndarray):
            loaded.close()
    if not arrays or any(not np.issubdtype(array.dtype, np.floating) for array in arrays):
        raise UsageError(f"{path} must hold arrays of floats, one update per site")
    updates = [np.ravel(array).astype(np.float64) for array in arrays]
    lengths = sorted({update.size for update in updates})
    if len(lengths) > 1:
        raise UsageError(f"{path} holds updates of different lengths ({lengths[0]} and {lengths[-1]}): one model each")
    return updates
