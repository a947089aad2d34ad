"""Rules T14 to T17: inputs, survivors, the certificate on them, and what was revealed of whom."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from protocols.pairwise import finder
from secagg.audit import derive
from secagg.audit.keys import Roster, ascending, graph_of, ring_of
from secagg.audit.reading import Round
from secagg.audit.verdicts import Finding, Rule, Verdict
from secagg.transcript import records as r


def check_survivors(study: r.Study, one: Round, roster: Roster) -> Iterator[Finding]:
    """T14 to T17 for a round that opened a sum."""
    survivors, inputs, shared = one.get(r.Survivors), one.get(r.Inputs), one.get(r.Shared)
    answers, directory = one.get(r.Answers), one.get(r.Directory)
    if survivors is None or inputs is None or shared is None or answers is None or directory is None:
        return
    session = bytes.fromhex(directory.session)
    sharers = tuple(client for client, _ in shared.self_mask_hashes)
    yield _inputs(one, inputs, survivors.survivors, session, roster)
    wrong = _survivors(study, one, survivors, sharers)
    evidence = f"{len(survivors.survivors)} in the sum, {len(survivors.dropped)} dropped out"
    yield one.judge(Rule.SURVIVORS, wrong, evidence, r.Survivors)
    yield _certificate(one, survivors, session, roster)
    wrong = _answers(one, survivors, answers)
    evidence = f"{len(answers.answers)} answers, in none of them both kinds of one peer"
    yield one.judge(Rule.ONE_SHARE_KIND, wrong, evidence, r.Answers)


def _inputs(one: Round, inputs: r.Inputs, survivors: tuple[int, ...], session: bytes, roster: Roster) -> Finding:
    params, model = one.begin.params, bytes.fromhex(one.begin.model_hash)
    plan = [(vector, start) for vector, start, _ in derive.chunk_plan(params)]
    active, wrong, kept = params.adversary == "active", [], 0
    if tuple(sent.client for sent in inputs.inputs) != survivors:
        wrong.append("inputs are not exactly those of the survivors")
    for sent in inputs.inputs:
        if [(chunk.vector, chunk.offset) for chunk in sent.chunks] != plan:
            wrong.append(f"the input of client {sent.client} is not complete")
        for chunk in sent.chunks:
            digest, signature = bytes.fromhex(chunk.digest), bytes.fromhex(chunk.signature)
            statement = (session, model, chunk.vector, chunk.offset, digest)
            key = roster.get(sent.client, b"")
            if active and not params.cipher_suite.verify(key, signature, "masked-input", *statement):
                wrong.append(f"an input of client {sent.client} is not signed by it, for this model and session")
            elif not active and signature:
                wrong.append("signatures in a round without identities")
            if chunk.payload is not None:
                kept += 1
                if hashlib.sha256(chunk.payload).hexdigest() != chunk.digest:
                    wrong.append(f"an input of client {sent.client} has another digest than was signed")
    if wrong or active:
        return one.judge(Rule.INPUTS, wrong, f"{len(inputs.inputs)} inputs, each signed by its client", r.Inputs)
    return one.say(Rule.INPUTS, Verdict.UNCHECKABLE, "the round has no identities", r.Inputs)


def _survivors(study: r.Study, one: Round, found: r.Survivors, sharers: tuple[int, ...]) -> list[str]:
    params, wrong = one.begin.params, []
    here, gone = found.survivors, found.dropped
    least = params.min_survivors or params.threshold
    if not ascending(here) or not ascending(gone) or set(here) & set(gone) or set(here) | set(gone) != set(sharers):
        wrong.append("survivors and dropped do not split those that shared keys into two parts")
    if len(here) < least:
        wrong.append(f"{len(here)} inputs were added up, fewer than {least}")
    order = ring_of(one)
    if params.sparse and params.adversary == "active" and params.degree < len(order) - 1:
        bits = finder.graph_bits(study.sigma, study.max_attempts)
        corrupt = finder.most_marked(len(order), study.colluders, params.degree // 2, bits)
        if derive.fewest_in_a_run(order, params.degree, set(here)) <= corrupt:
            wrong.append("somebody could be cut off from the other survivors")
    return wrong


def _certificate(one: Round, found: r.Survivors, session: bytes, roster: Roster) -> Finding:
    params, wrong = one.begin.params, []
    signers = tuple(client for client, _ in found.signatures)
    if params.adversary == "curious":
        if signers:
            return one.say(Rule.CERTIFICATE, Verdict.BROKEN, "signatures in a round without identities", r.Survivors)
        evidence = "a curious round has no certificate: the server is believed"
        return one.say(Rule.CERTIFICATE, Verdict.UNCHECKABLE, evidence, r.Survivors)
    if not ascending(signers) or not set(signers) <= set(found.survivors):
        wrong.append("somebody else than the survivors signed, or one twice")
    statement = (session, bytes.fromhex(one.begin.model_hash), found.survivors)
    for client, signature in found.signatures:
        key = roster.get(client, b"")
        if not params.cipher_suite.verify(key, bytes.fromhex(signature), "survivors", *statement):
            wrong.append(f"the signature of client {client} on the survivors is not valid")
    near = graph_of(one)
    for client in found.survivors:
        around = ({*near.get(client, ()), client}) & set(signers)
        if len(around) < params.threshold:
            wrong.append(f"{len(around)} signatures around client {client}, fewer than {params.threshold}")
    return one.judge(Rule.CERTIFICATE, wrong, f"{len(signers)} signatures on one list", r.Survivors)


def _answers(one: Round, found: r.Survivors, answers: r.Answers) -> list[str]:
    near, threshold, wrong = graph_of(one), one.begin.params.threshold, []
    clients = tuple(answer.client for answer in answers.answers)
    if not ascending(clients) or not set(clients) <= set(found.survivors):
        wrong.append("somebody else than the survivors answered, or one twice")
    for answer in answers.answers:
        around = {*near.get(answer.client, ()), answer.client}
        if set(answer.self_masks) & set(answer.mask_keys):
            wrong.append(f"client {answer.client} revealed both kinds of share of one peer")
        if answer.self_masks != tuple(c for c in found.survivors if c in around):
            wrong.append(f"client {answer.client} revealed self-mask shares of others than its surviving neighbours")
        if answer.mask_keys != tuple(c for c in found.dropped if c in around):
            wrong.append(f"client {answer.client} revealed mask-key shares of others than its dropped neighbours")
    for dealer in found.survivors:
        if len({*near.get(dealer, ()), dealer} & set(clients)) < threshold:
            wrong.append(f"fewer than {threshold} answers around client {dealer}: its mask cannot have been opened")
    return wrong
