"""Rules T8 to T13: the key directory, the session, the joint seed, the graph, and who shared keys."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from secagg.audit import derive
from secagg.audit.reading import Round
from secagg.audit.verdicts import Finding, Rule, Verdict
from secagg.transcript import records as r

Roster = dict[int, bytes]


def ascending(ids: tuple[int, ...]) -> bool:
    """Tell whether ids ascend strictly."""
    return all(low < high for low, high in pairwise(ids))


def check_keys(one: Round, roster: Roster) -> Iterator[Finding]:
    """T8 to T13 for one round."""
    directory = one.get(r.Directory)
    if directory is None:
        return
    yield one.judge(Rule.DIRECTORY, _directory(one, directory), f"{len(directory.entries)} clients", r.Directory)
    yield _signed(one, directory, roster)
    params = one.begin.params
    right = derive.session(params.cipher_suite, derive.params_hash(params), directory.entries).hex()
    wrong = [] if directory.session == right else ["the session id is not the hash of parameters and keys"]
    yield one.judge(Rule.SESSION, wrong, "recomputed from parameters and keys", r.Directory)
    yield from _randomness(one, directory)
    yield from _graph(one, directory)
    yield from _sharers(one, directory)


def _directory(one: Round, directory: r.Directory) -> list[str]:
    params = one.begin.params
    ids = tuple(entry.client for entry in directory.entries)
    keys = [key for entry in directory.entries for key in (entry.enc_key, entry.mask_key)]
    size = 2 * params.cipher_suite.agreement.public_bytes
    wrong = []
    if not ascending(ids) or not set(ids) <= set(params.clients):
        wrong.append("it repeats, reorders or invents clients")
    if len(ids) < (params.min_survivors or params.threshold):
        wrong.append(f"{len(ids)} clients are fewer than must stay")
    if len(set(keys)) != len(keys) or any(len(key) != size for key in keys):
        wrong.append("two entries share a key, or a key has another length than the suite's")
    if any(len(entry.commitment) != (64 if params.commits else 0) for entry in directory.entries):
        wrong.append("commitments to the joint seed are missing, or there are too many")
    return wrong


def _signed(one: Round, directory: r.Directory, roster: Roster) -> Finding:
    params = one.begin.params
    if params.adversary == "curious":
        if any(entry.signature for entry in directory.entries):
            return one.say(Rule.KEYS_SIGNED, Verdict.BROKEN, "signatures in a round without identities", r.Directory)
        return one.say(Rule.KEYS_SIGNED, Verdict.UNCHECKABLE, "the round has no identities", r.Directory)
    bound, wrong = derive.params_hash(params), []
    for entry in directory.entries:
        key, signature = roster.get(entry.client, b""), bytes.fromhex(entry.signature)
        if not params.cipher_suite.verify(key, signature, "advertise-keys", *derive.keys_statement(bound, entry)):
            wrong.append(f"the keys of client {entry.client} are not signed by it")
    return one.judge(Rule.KEYS_SIGNED, wrong, f"{len(directory.entries)} signatures", r.Directory)


def _randomness(one: Round, directory: r.Directory) -> Iterator[Finding]:
    params, found = one.begin.params, one.get(r.Randomness)
    if not params.commits:
        if found is not None:
            yield one.say(Rule.RANDOMNESS, Verdict.BROKEN, "this round makes no joint seed", r.Randomness)
        return
    if found is None:
        if one.opened:
            yield one.say(Rule.RANDOMNESS, Verdict.BROKEN, "the round has no joint seed", r.Directory)
        return
    cipher, bound, wrong = params.cipher_suite, derive.params_hash(params), []
    committed = [(entry.client, entry.commitment) for entry in directory.entries]
    revealed = [
        (client, derive.commitment(cipher, bound, client, bytes.fromhex(part)).hex()) for client, part in found.parts
    ]
    if revealed != committed:
        wrong.append("the parts revealed are not those that clients had committed to")
    if derive.joint_seed(cipher, bytes.fromhex(directory.session), found.parts).hex() != found.seed:
        wrong.append("the seed is not the hash of the parts")
    evidence = f"{len(found.parts)} parts as committed to, and the seed that they make"
    yield one.judge(Rule.RANDOMNESS, wrong, evidence, r.Randomness)


def graph_of(one: Round) -> dict[int, tuple[int, ...]]:
    """Compute who is whose neighbour: from the joint seed, or everybody with everybody."""
    directory = one.get(r.Directory)
    clients = tuple(entry.client for entry in directory.entries) if directory is not None else ()
    params, seed = one.begin.params, one.get(r.Randomness)
    if params.sparse and seed is not None and params.degree < len(clients) - 1:
        return derive.neighbours(ring_of(one), params.degree)
    return {client: tuple(other for other in clients if other != client) for client in clients}


def ring_of(one: Round) -> list[int]:
    """Compute the ring of a sparse graph."""
    directory, seed = one.get(r.Directory), one.get(r.Randomness)
    if directory is None or seed is None:
        return []
    clients = tuple(entry.client for entry in directory.entries)
    return derive.ring(one.begin.params.cipher_suite, bytes.fromhex(seed.seed), clients)


def _graph(one: Round, directory: r.Directory) -> Iterator[Finding]:
    params, found = one.begin.params, one.get(r.Graph)
    if not params.sparse:
        if found is not None:
            yield one.say(Rule.GRAPH, Verdict.BROKEN, "the round has the complete graph", r.Graph)
        elif len(directory.entries) > 1:
            yield one.say(Rule.GRAPH, Verdict.VERIFIED, "complete: everybody with everybody", r.Directory)
    elif found is None:
        if one.opened:
            yield one.say(Rule.GRAPH, Verdict.BROKEN, "the sparse graph is missing", r.Directory)
    else:
        wrong = [] if dict(found.neighbours) == graph_of(one) else ["it is not the one that the joint seed makes"]
        yield one.judge(Rule.GRAPH, wrong, f"degree {params.degree}, computed from the joint seed", r.Graph)


def _sharers(one: Round, directory: r.Directory) -> Iterator[Finding]:
    shared = one.get(r.Shared)
    if shared is None:
        return
    params, wrong = one.begin.params, []
    ids = tuple(client for client, _ in shared.self_mask_hashes)
    members = [entry.client for entry in directory.entries]
    needed = len(members) if params.sparse and params.adversary == "active" else params.min_survivors
    if not ascending(ids) or not set(ids) <= set(members):
        wrong.append("it repeats, reorders or invents clients")
    if r.Aborted not in one.records and len(ids) < max(needed, params.threshold):
        wrong.append(f"{len(ids)} clients shared keys, fewer than {max(needed, params.threshold)}")
    if len({value for _, value in shared.self_mask_hashes}) != len(ids):
        wrong.append("two clients published the same self mask")
    yield one.judge(Rule.SHARERS, wrong, f"{len(ids)} of {len(members)} clients", r.Shared)
