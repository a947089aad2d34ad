"""Flower's SecAgg+ by its own functions, with nothing in between (flwr.client.mod, flwr.common.secure_aggregation).

The complete graph, and Flower's defaults for the grid: 2^22 levels in [-8, 8], modulus 2^32, vectors of int64. The
phases of the server are the shortest program around those functions: sum, reconstruct, expand, subtract.
"""

from __future__ import annotations

import importlib
import statistics
import time
from typing import Any

import numpy as np

from secagg.bench.measure import Effort, Row
from secagg.bench.peers.inputs import Inputs

CLIPPING, LEVELS, MODULUS = 8.0, 1 << 22, 1 << 32


def round_of(inputs: Inputs, effort: Effort) -> list[Row]:
    """Run one round, or say that Flower is missing."""
    row = inputs.missing("Flower SecAgg+")
    try:
        return [row | _Round(inputs, effort).run()]
    except ImportError as error:
        return [row | {"system": "Flower SecAgg+: not installed", "note": str(error)}]


class _Round:
    """One round; the names of the phases are Flower's."""

    def __init__(self, inputs: Inputs, effort: Effort) -> None:
        import flwr
        from flwr.common.secure_aggregation import ndarrays_arithmetic
        from flwr.common.secure_aggregation.crypto import shamir

        # Its package hides the module behind a function of the same name.
        self._mod: Any = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
        self._arithmetic: Any = ndarrays_arithmetic
        self._combine_shares: Any = shamir.combine_shares
        self._flwr: Any = flwr
        self._inputs, self._effort = inputs, effort
        self._ids = list(range(1, inputs.clients + 1))
        self._present = [client for client in self._ids if client not in inputs.gone]
        self._spent = dict.fromkeys(self._ids, 0.0)
        self._sent = dict.fromkeys(self._ids, 0)
        self._server = 0.0
        self._states = {client: self._mod.SecAggPlusState() for client in self._ids}
        for client, state in self._states.items():
            state.nid = client

    def run(self) -> Row:
        keys = self._setup()
        packets = self._share_keys(keys)
        total = self._collect(packets)
        mean = self._unmask(total, keys)
        error = float(abs(mean - self._inputs.mean(self._present)).max())
        return {
            "system": f"Flower SecAgg+ {self._flwr.__version__}",
            "client_seconds": statistics.median(self._spent[client] for client in self._present),
            "server_seconds": self._server,
            "uplink_bytes": max(self._sent[client] for client in self._present),
            "exact": error <= 2 * CLIPPING / LEVELS,  # within one step of its grid: every mask came off
            "max_error": error,
        }

    def _client(self, client: int, phase: Any, *arguments: Any) -> dict[str, Any]:
        """Run one client's part of a phase, timed."""
        started = time.perf_counter()
        answer: dict[str, Any] = phase(self._states[client], *arguments)
        self._spent[client] += time.perf_counter() - started
        self._sent[client] += _size(answer)
        return answer

    def _setup(self) -> dict[int, list[bytes]]:
        n = self._inputs.clients
        settings = {
            "sample_num": n, "share_num": n, "threshold": 2 * n // 3 + 1, "clipping_range": CLIPPING,
            "target_range": LEVELS, "mod_range": MODULUS, "max_weight": 1.0,
        }  # fmt: skip
        self._effort.tick(f"Flower: keys of {n} clients")
        return {client: list(self._client(client, self._mod._setup, settings).values()) for client in self._ids}

    def _share_keys(self, keys: dict[int, list[bytes]]) -> dict[int, dict[str, list[Any]]]:
        named = {str(client): pair for client, pair in keys.items()}
        packets: dict[int, dict[str, list[Any]]] = {client: {"src_lst": [], "ctxt_lst": []} for client in self._ids}
        for client in self._ids:
            self._effort.tick(f"Flower: shares of client {client}")
            answer = self._client(client, self._mod._share_keys, named)
            destinations, ciphertexts = answer.values()
            for destination, ciphertext in zip(destinations, ciphertexts, strict=True):
                sources, sealed = packets[destination].values()
                sources.append(client)
                sealed.append(ciphertext)
        key = self._mod.Key
        return {c: {key.SOURCE_LIST: p["src_lst"], key.CIPHERTEXT_LIST: p["ctxt_lst"]} for c, p in packets.items()}

    def _collect(self, packets: dict[int, dict[str, list[Any]]]) -> Any:
        arithmetic = self._mod
        total: Any = None
        for client in self._present:
            self._effort.tick(f"Flower: masks of client {client}")
            update = self._flwr.common.ndarrays_to_parameters([self._inputs.update(client)])
            answer = self._client(client, arithmetic._collect_masked_vectors, packets[client], 1, update)
            started = time.perf_counter()
            vectors = [self._flwr.common.bytes_to_ndarray(data) for data in next(iter(answer.values()))]
            total = vectors if total is None else arithmetic.parameters_addition(total, vectors)
            self._server += time.perf_counter() - started
        return arithmetic.parameters_mod(total, MODULUS)

    def _unmask(self, total: Any, keys: dict[int, list[bytes]]) -> Any:
        gone = sorted(self._inputs.gone)
        key = self._mod.Key
        question = {key.ACTIVE_NODE_ID_LIST: self._present, key.DEAD_NODE_ID_LIST: gone}
        shares: dict[int, list[bytes]] = {client: [] for client in self._ids}
        for client in self._present:
            for owner, share in zip(*self._client(client, self._mod._unmask, question).values(), strict=True):
                shares[owner].append(share)
        started = time.perf_counter()
        shapes = [vector.shape for vector in total]
        for owner, collected in shares.items():
            self._effort.tick(f"Flower: secret of client {owner}")
            secret = self._combine_shares(collected)
            if owner not in gone:
                mask = self._mod.pseudo_rand_gen(secret, MODULUS, shapes)
                total = self._arithmetic.parameters_subtraction(total, mask)
                continue
            private = self._mod.bytes_to_private_key(secret)
            for other in (client for client in self._ids if client != owner):
                public = self._mod.bytes_to_public_key(keys[other][0])
                mask = self._mod.pseudo_rand_gen(self._mod.generate_shared_key(private, public), MODULUS, shapes)
                combine = (
                    self._arithmetic.parameters_addition if owner > other else self._arithmetic.parameters_subtraction
                )
                total = combine(total, mask)
        _, vectors = self._arithmetic.factor_extract(self._arithmetic.parameters_mod(total, MODULUS))
        mean = vectors[0] * (2 * CLIPPING / LEVELS) / len(self._present) - CLIPPING
        self._server += time.perf_counter() - started
        return mean


def _size(value: Any) -> int:
    """Bytes of what a client sends: byte strings as they are, numbers as 8 bytes."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(_size(part) for part in value.values())
    if isinstance(value, list | tuple):
        return sum(_size(part) for part in value)
    return 8 if isinstance(value, int | np.integer) else 0
