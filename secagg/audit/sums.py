"""Rules T18 and T19: what was opened, and the sum, computed again from kept inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocols.pairwise.params import CHUNK_ELEMENTS, VectorSpec
from protocols.primitives import bitpack, key_agreement, residues
from secagg.audit import derive
from secagg.audit.keys import graph_of
from secagg.audit.reading import Round
from secagg.audit.verdicts import Finding, Rule, Verdict
from secagg.transcript import records as r


def check_sum(one: Round) -> Iterator[Finding]:
    """T18 and T19 for a round that opened a sum."""
    total, opening = one.get(r.Opened), one.get(r.Opening)
    if total is None:
        return
    if opening is not None:
        yield one.judge(Rule.OPENING, _opening(one, opening), "every secret has the hash published for it", r.Opening)
    wrong = _digests(one, total)
    if wrong or opening is None or not _kept(one):
        if wrong:
            yield one.say(Rule.SUM, Verdict.BROKEN, wrong[0], r.Opened)
        else:
            yield one.say(Rule.SUM, Verdict.UNCHECKABLE, "masked inputs were not kept", r.Opened)
        return
    if one.begin.params.cipher_suite.agreement.offer_bytes:
        yield one.say(Rule.SUM, Verdict.UNCHECKABLE, "this suite's masks need offers that are not kept", r.Opened)
        return
    try:
        wrong = _added_up(one, total, opening)
    except (ValueError, KeyError, IndexError) as error:
        wrong = [f"it cannot be computed from what was kept: {error}"]
    yield one.judge(Rule.SUM, wrong, "computed from the masked inputs and what was opened", r.Opened)


def _digests(one: Round, total: r.Opened) -> list[str]:
    wrong = []
    if [entry.name for entry in total.totals] != [spec.name for spec in one.begin.params.vectors]:
        wrong.append("it is not a sum of this round's vectors")
    named = [(entry.name, entry.digest) for entry in total.totals]
    if hashlib.sha256(msgspec.json.encode(named)).hexdigest() != total.result:
        wrong.append("the result's hash is not that of its vectors")
    for entry in total.totals:
        if entry.payload is not None and hashlib.sha256(entry.payload).hexdigest() != entry.digest:
            wrong.append(f"the sum of {entry.name!r} has another digest")
    return wrong


def _kept(one: Round) -> bool:
    inputs = one.get(r.Inputs)
    return inputs is not None and all(chunk.payload is not None for sent in inputs.inputs for chunk in sent.chunks)


def _opening(one: Round, opening: r.Opening) -> list[str]:
    cipher, wrong = one.begin.params.cipher_suite, []
    directory, shared, survivors = one.get(r.Directory), one.get(r.Shared), one.get(r.Survivors)
    if directory is None or shared is None or survivors is None:
        return ["the records before it are missing"]
    session, published = bytes.fromhex(directory.session), dict(shared.self_mask_hashes)
    keys = {entry.client: entry.mask_key for entry in directory.entries}
    for client, seed in opening.self_mask_seeds:
        if derive.self_mask_hash(cipher, session, client, bytes.fromhex(seed)).hex() != published.get(client):
            wrong.append(f"the self mask of client {client} is not the one that it published")
    for client, secret in opening.mask_secrets:
        if key_agreement.PrivateKey(bytes.fromhex(secret)).public_key().hex() != keys.get(client):
            wrong.append(f"the mask key of client {client} is not the one that it advertised")
    if {client for client, _ in opening.self_mask_seeds} & {client for client, _ in opening.mask_secrets}:
        wrong.append("both secrets of one client were opened")
    if tuple(client for client, _ in opening.self_mask_seeds) != survivors.survivors:
        wrong.append("the self masks opened are not those of the survivors")
    if not {client for client, _ in opening.mask_secrets} <= set(survivors.dropped):
        wrong.append("the mask key of somebody who did not drop out was opened")
    return wrong


def _added_up(one: Round, total: r.Opened, opening: r.Opening) -> list[str]:
    """Add the masked inputs up, take the masks off, and compare digests."""
    params, wrong = one.begin.params, []
    inputs, directory = one.records[r.Inputs], one.records[r.Directory]
    if not isinstance(inputs, r.Inputs) or not isinstance(directory, r.Directory):
        return ["the inputs are missing"]
    bound = (bytes.fromhex(directory.session), bytes.fromhex(one.begin.model_hash))
    for number, (spec, claimed) in enumerate(zip(params.vectors, total.totals, strict=True)):
        added = np.zeros(spec.length, dtype=np.uint64)
        for sent in inputs.inputs:
            _accumulate(added, _vector(sent, number, spec), spec, negative=False)
        _unmask(one, added, spec, bound, opening, directory)
        residues.reduce(added, spec.modulus)
        digest = hashlib.sha256(bitpack.pack(added, spec.bits)).hexdigest()
        if digest != claimed.digest:
            wrong.append(f"the sum of {spec.name!r} is not the sum of the masked inputs")
    return wrong


def _vector(sent: r.Input, number: int, spec: VectorSpec) -> NDArray[np.uint64]:
    values = np.zeros(spec.length, dtype=np.uint64)
    for chunk in sent.chunks:
        if chunk.vector == number and chunk.payload is not None:
            stop = min(chunk.offset + CHUNK_ELEMENTS, spec.length)
            values[chunk.offset : stop] = bitpack.unpack(chunk.payload, stop - chunk.offset, spec.bits)
    return values


def _accumulate(target: NDArray[np.uint64], values: NDArray[np.uint64], spec: VectorSpec, *, negative: bool) -> None:
    (residues.subtract if negative else residues.add)(target, values, spec.modulus)


def _unmask(
    one: Round,
    added: NDArray[np.uint64],
    spec: VectorSpec,
    bound: tuple[bytes, bytes],
    opening: r.Opening,
    directory: r.Directory,
) -> None:
    """Take off the self masks of survivors, and the masks that survivors share with those that dropped out."""
    cipher, near = one.begin.params.cipher_suite, graph_of(one)
    keys = {entry.client: bytes.fromhex(entry.mask_key) for entry in directory.entries}
    survivors = {client for client, _ in opening.self_mask_seeds}
    for client, seed in opening.self_mask_seeds:
        mask = derive.mask(cipher, "self-mask", bytes.fromhex(seed), bound, spec, (client,))
        _accumulate(added, mask, spec, negative=True)
    for gone, secret in opening.mask_secrets:
        for client in survivors & set(near[gone]):
            pair = (min(client, gone), max(client, gone))
            seed_of_pair = derive.pairwise_seed(cipher, bound[0], bytes.fromhex(secret), keys[client], pair)
            mask = derive.mask(cipher, "pairwise-mask", seed_of_pair, bound, spec, pair)
            # The lower id added the mask, the higher one subtracted it: undo that.
            _accumulate(added, mask, spec, negative=client < gone)
