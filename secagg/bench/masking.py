"""Masking and unmasking against AES-256-CTR of the same library, and against Flower's mask generator."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import quant
from protocols import Secret, SystemEntropy
from protocols.pairwise import VectorSpec, masking, server
from protocols.primitives import prg
from protocols.suites import CLASSICAL
from secagg.bench.measure import Effort, Row, median_seconds, paired

GIB = 1 << 30
LIMIT_BYTES = 1 << 20
NEIGHBOURS = 100


def bench(effort: Effort) -> list[Row]:
    """Rows with ``case, gbps, limit_gbps, fraction``; and, where two times are compared, ``ratio`` of them."""
    dim = 100_000 if effort.quick else 1_000_000
    clients = NEIGHBOURS
    lanes = quant.LaneLayout(dim, quant.field_width(256, clients))
    spec = VectorSpec("update", lanes.lanes, 1 << lanes.lane_bits)
    return [
        _against_cipher("client, 100 neighbours, 8 bits, one thread", spec, _client_terms(NEIGHBOURS), effort),
        _against_cipher("server, 100 masks, 8 bits, one thread", spec, _server_terms(NEIGHBOURS), effort),
        _two_threads(spec, effort),
        _one_mask(spec, dim, effort),
    ]


def _seed() -> Secret:
    return Secret(SystemEntropy().take(32, "bench"))


def _client_terms(count: int) -> list[masking.MaskTerm]:
    me = count // 2
    others = [other for other in range(1, count + 2) if other != me]
    return [masking.self_mask(me, _seed())] + [masking.pairwise_mask(me, other, _seed()) for other in others]


def _server_terms(count: int) -> list[masking.MaskTerm]:
    terms = [masking.self_mask(client, _seed()) for client in range(1, count // 2 + 1)]
    terms += [masking.pairwise_mask(client, 5000, _seed()) for client in range(1, count - count // 2 + 1)]
    return [term.negated() for term in terms]


def _context() -> masking.MaskContext:
    return masking.MaskContext(CLASSICAL, bytes(32), bytes(32))


def _cipher_alone(size: int) -> None:
    """Run AES-256-CTR over ``size`` bytes in the large pieces that it likes best."""
    context, zeros, out = prg.encryptor(bytes(32)), bytes(LIMIT_BYTES), bytearray(LIMIT_BYTES + 16)
    for _ in range(size // LIMIT_BYTES):
        context.update_into(zeros, out)


def _against_cipher(case: str, spec: VectorSpec, terms: list[masking.MaskTerm], effort: Effort) -> Row:
    effort.tick(case)
    values, context = prg.aligned_words(spec.length), _context()
    size = 8 * spec.length * len(terms)
    _cipher_alone(LIMIT_BYTES)
    ours, limit, fraction = paired(
        lambda: masking.add_masks(values, spec, 0, terms, context), lambda: _cipher_alone(size), effort.repeats(15)
    )
    return {"case": case, "gbps": size / ours / GIB, "limit_gbps": size / limit / GIB, "fraction": fraction}


def _two_threads(spec: VectorSpec, effort: Effort) -> Row:
    case = "server, 100 masks, 4 x dim, two threads"
    effort.tick(case)
    terms, context = _server_terms(NEIGHBOURS), _context()
    spec = VectorSpec(spec.name, 4 * spec.length, spec.modulus)  # long enough that starting threads does not count
    total = prg.aligned_words(spec.length)
    size = 8 * spec.length * len(terms)
    with ThreadPoolExecutor(2) as pool:
        halves, whole = server._cut(spec, total, 2), server._cut(spec, total, 1)

        def both() -> None:
            list(pool.map(lambda stretch: server.unmask_range(stretch, terms, context), halves))

        two, _, speed_up = paired(both, lambda: server.unmask_range(whole[0], terms, context), effort.repeats(15))
        limit = median_seconds(lambda: _cipher_alone(size), effort.repeats(5))
    return {
        "case": case,
        "gbps": size / two / GIB,
        "limit_gbps": size / limit / GIB,
        "fraction": limit / two,
        "ratio": speed_up,
        "of": "one thread",
    }


def _one_mask(spec: VectorSpec, dim: int, effort: Effort) -> Row:
    case = f"one mask of {dim:,} coordinates"
    effort.tick(case)
    values, context, terms = prg.aligned_words(spec.length), _context(), [masking.self_mask(1, _seed())]
    ours = median_seconds(lambda: masking.add_masks(values, spec, 0, terms, context), effort.repeats(15))
    row: Row = {"case": case, "gbps": 8 * spec.length / ours / GIB, "limit_gbps": None, "fraction": None}
    row["of"] = "flwr pseudo_rand_gen"
    try:
        from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
    except ImportError:
        return row | {"ratio": None, "missing": "flwr is not installed"}
    target_range = 1 << 15
    theirs = median_seconds(lambda: pseudo_rand_gen(bytes(range(32)), target_range, [(dim,)]), effort.repeats(15))
    return row | {"ratio": theirs / ours, "peer_seconds": theirs, "seconds": ours}
