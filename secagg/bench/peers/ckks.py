"""CKKS through TenSEAL at NVIDIA FLARE's defaults: degree 8192, moduli of 60, 40 and 40 bits, scale 2^40."""

from __future__ import annotations

import statistics
import time

import numpy as np

from secagg.bench.measure import Effort, Row
from secagg.bench.peers.inputs import Inputs

SLOTS = 4096
"""Numbers in one ciphertext: TenSEAL cuts longer vectors like this itself, but writes a warning about it."""


def round_of(inputs: Inputs, effort: Effort) -> list[Row]:
    """Encrypt at every client, add at the server, decrypt at a client; or say that TenSEAL is missing."""
    row = inputs.missing("TenSEAL CKKS: not installed")
    try:
        import tenseal
    except ImportError as error:
        return [row | {"note": str(error)}]
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40])
    context.global_scale = 2**40
    spent, sizes, server = [], [], 0.0
    total: list[tenseal.CKKSVector] = []
    for client in range(1, inputs.clients + 1):
        effort.tick(f"TenSEAL CKKS: client {client}")
        update = inputs.update(client)
        started = time.perf_counter()
        pieces = [update[start : start + SLOTS].tolist() for start in range(0, inputs.dim, SLOTS)]
        sealed = [tenseal.ckks_vector(context, piece).serialize() for piece in pieces]
        spent.append(time.perf_counter() - started)
        sizes.append(sum(map(len, sealed)))
        started = time.perf_counter()
        received = [tenseal.ckks_vector_from(context, piece) for piece in sealed]
        total = [a.add_(b) for a, b in zip(total, received, strict=True)] if total else received
        server += time.perf_counter() - started
    started = time.perf_counter()
    opened = [value for piece in total for value in piece.decrypt()]
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
