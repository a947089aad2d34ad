"""CKKS through TenSEAL at NVIDIA FLARE's defaults: degree 8192, moduli of 60, 40 and 40 bits, scale 2^40."""

from __future__ import annotations

import statistics
import time

import numpy as np

from secagg.bench.measure import Effort, Row
from secagg.bench.peers.inputs import Inputs


def round_of(inputs: Inputs, effort: Effort) -> list[Row]:
    """Encrypt at every client, add at the server, decrypt at a client; or say that TenSEAL is missing."""
    row: Row = {
        "system": "TenSEAL CKKS: not installed",
        "clients": inputs.clients,
        "dim": inputs.dim,
        "dropped": inputs.dropped,
        "client_seconds": None,
        "server_seconds": None,
        "uplink_bytes": None,
        "exact": None,
    }
    try:
        import tenseal
    except ImportError as error:
        return [row | {"note": str(error)}]
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40])
    context.global_scale = 2**40
    spent, sizes, server, total = [], [], 0.0, None
    for client in range(1, inputs.clients + 1):
        effort.tick(f"TenSEAL CKKS: client {client}")
        update = inputs.update(client).tolist()
        started = time.perf_counter()
        sealed = tenseal.ckks_vector(context, update).serialize()
        spent.append(time.perf_counter() - started)
        sizes.append(len(sealed))
        started = time.perf_counter()
        received = tenseal.ckks_vector_from(context, sealed)
        total = received if total is None else total.add_(received)
        server += time.perf_counter() - started
    started = time.perf_counter()
    opened = total.decrypt() if total is not None else []
    decrypting = time.perf_counter() - started
    ids = list(range(1, inputs.clients + 1))
    largest = float(abs(np.array(opened) / inputs.clients - inputs.mean(ids)).max())
    return [
        row
        | {
            "system": f"TenSEAL {tenseal.__version__} CKKS, NVFlare's defaults",
            "client_seconds": statistics.median(spent) + decrypting,
            "server_seconds": server,
            "uplink_bytes": max(sizes),
            "exact": False,
            "max_error": largest,
        }
    ]
