"""Masks among all of n, with nobody allowed to vanish: LOM of Fed-BioMed, by its own class.

Its pairwise secrets are agreed once per experiment, so no key agreement is timed. Vectors are lists of Python integers
there, as its own code passes them; the wire size is that of their 64-bit words.
"""

from __future__ import annotations

import importlib.metadata
import statistics
import time

import numpy as np

from protocols import SystemEntropy
from secagg.bench.measure import Effort, Row
from secagg.bench.peers.inputs import Inputs

CLIPPING, TARGET = 3.0, 1 << 13


def round_of(inputs: Inputs, effort: Effort) -> list[Row]:
    """Mask at every client and add at the server; or say that Fed-BioMed is missing."""
    row = inputs.missing("Fed-BioMed LOM: not installed")
    try:
        from fedbiomed.common.secagg import LOM
    except ImportError as error:
        return [row | {"note": str(error)}]
    entropy, ids = SystemEntropy(), list(range(1, inputs.clients + 1))
    pairs = {(a, b): entropy.take(32, "bench") for a in ids for b in ids if a < b}
    lom, names = LOM(nonce=entropy.take(16, "bench")), [str(client) for client in ids]
    spent, masked, expected = [], [], np.zeros(inputs.dim, dtype=np.int64)
    for client in ids:
        effort.tick(f"Fed-BioMed LOM: client {client}")
        secrets = {str(other): pairs[min(client, other), max(client, other)] for other in ids if other != client}
        update = inputs.update(client)
        started = time.perf_counter()
        grid = np.round((update.clip(-CLIPPING, CLIPPING) + CLIPPING) * (TARGET - 1) / (2 * CLIPPING)).astype(np.int64)
        masked.append(lom.protect(str(client), secrets, 1, grid.tolist(), names))
        spent.append(time.perf_counter() - started)
        expected += grid
    started = time.perf_counter()
    total = np.array(lom.aggregate(masked), dtype=np.uint64)
    server = time.perf_counter() - started
    mean = total.astype(np.float64) * (2 * CLIPPING / (TARGET - 1)) / inputs.clients - CLIPPING
    return [
        row
        | {
            "system": f"Fed-BioMed {importlib.metadata.version('fedbiomed')} LOM, n of n",
            "client_seconds": statistics.median(spent),
            "server_seconds": server,
            "uplink_bytes": 8 * inputs.dim,
            "exact": bool(np.array_equal(total.astype(np.int64), expected)),
            "max_error": float(abs(mean - inputs.mean(ids)).max()),
        }
    ]
