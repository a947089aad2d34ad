"""Rules T20 to T22: the sites' own words, against each other and against the coordinator's log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from protocols.suites import CLASSICAL
from secagg.audit.keys import Roster
from secagg.audit.privacy import release_of
from secagg.audit.reading import Round, StudyRecords
from secagg.audit.verdicts import Finding, Rule, Verdict
from secagg.transcript import records as r
from secagg.transcript.receipts import ENCODED, NOISED, NOTHING, Receipt, input_hash, receipt_hash, receipt_statement


def check_receipts(found: StudyRecords, roster: Roster, own: Iterable[Receipt] = ()) -> Iterator[Finding]:
    """T20 to T22 over all rounds.

    Args:
        found: the transcript.
        roster: identities, by client.
        own: receipts that the auditor brings along (a site's own); the transcript must hold each of them.
    """
    last: dict[int, str] = {}
    for one in found.rounds:
        listed = one.get(r.Receipts)
        if listed is None:
            if one.opened:
                evidence = "no site signed for this round"
                yield one.say(Rule.RECEIPTS_SIGNED, Verdict.UNCHECKABLE, evidence, r.Opened)
            continue
        yield _signed(one, listed, roster, last)
        yield one.judge(Rule.RECEIPTS_AGREE, _compare(one, listed), f"{len(listed.receipts)} receipts", r.Receipts)
        yield _attested(one, listed)
    yield from _compare_own(found, tuple(own))


def signature_holds(receipt: Receipt, roster: Roster) -> bool:
    """Tell whether a receipt is signed by the member that it names."""
    key, signature = roster.get(receipt.client, b""), bytes.fromhex(receipt.signature)
    return CLASSICAL.verify(key, signature, "receipt", *receipt_statement(receipt))


def _signed(one: Round, listed: r.Receipts, roster: Roster, last: dict[int, str]) -> Finding:
    wrong: list[str] = []
    ids = [receipt.client for receipt in listed.receipts]
    if ids != sorted(set(ids)):
        wrong.append("a site has two receipts")
    unsigned = not roster or not any(receipt.signature for receipt in listed.receipts)
    for receipt in listed.receipts:
        if not unsigned and not signature_holds(receipt, roster):
            wrong.append(f"the receipt of site {receipt.client} is not signed by it")
        if receipt.previous != last.get(receipt.client, NOTHING):
            wrong.append(f"the receipt of site {receipt.client} does not follow on its last one: a round is missing")
        last[receipt.client] = receipt_hash(receipt)
    if unsigned and one.begin.params.adversary == "active":
        wrong.append("receipts are not signed, in a study with identities")
    if unsigned and not wrong:
        evidence = "receipts are not signed: the round has no identities"
        return one.say(Rule.RECEIPTS_SIGNED, Verdict.UNCHECKABLE, evidence, r.Receipts)
    return one.judge(Rule.RECEIPTS_SIGNED, wrong, f"{len(ids)} receipts, signed and chained", r.Receipts)


def _compare(one: Round, listed: r.Receipts) -> list[str]:
    """Compare every receipt with the log of the round."""
    params, begin = one.begin.params, one.begin
    directory, shared, survivors = one.get(r.Directory), one.get(r.Shared), one.get(r.Survivors)
    inputs, answers, total = one.get(r.Inputs), one.get(r.Answers), one.get(r.Opened)
    if not (directory and shared and survivors and inputs and answers and total):
        return ["receipts for a round that the log did not finish"]
    sent = {
        one_input.client: input_hash(tuple((c.vector, c.offset, c.digest) for c in one_input.chunks))
        for one_input in inputs.inputs
    }
    said = {answer.client: (answer.self_masks, answer.mask_keys, answer.noise) for answer in answers.answers}
    common = (params.study, params.round_index, params.attempt, begin.params_hash, directory.session, begin.model_hash)
    told = (tuple(client for client, _ in shared.self_mask_hashes), survivors.survivors)
    wrong = []
    for receipt in listed.receipts:
        who = f"site {receipt.client}"
        named = (receipt.study, receipt.round_index, receipt.attempt)
        if (*named, receipt.params_hash, receipt.session, receipt.model_hash) != common:
            wrong.append(f"{who} signed for another round, session or model")
        if (receipt.shared, receipt.survivors) != told:
            wrong.append(f"{who} was told of others that take part or survived")
        if receipt.inputs != sent.get(receipt.client):
            wrong.append(f"{who} sent another input than the log holds")
        if (receipt.self_masks, receipt.mask_keys, receipt.noise) != said.get(receipt.client):
            wrong.append(f"{who} revealed other shares than the log says")
        if receipt.result not in (NOTHING, total.result):
            wrong.append(f"{who} was told another result")
    silent = set(said) - {receipt.client for receipt in listed.receipts}
    if silent:
        wrong.append(f"site {min(silent)} answered and has no receipt")
    return wrong


def _attested(one: Round, listed: r.Receipts) -> Finding:
    survivors = one.get(r.Survivors)
    included = set(survivors.survivors) if survivors is not None else set()
    words = {receipt.client: receipt.attests for receipt in listed.receipts if receipt.client in included}
    needed = ENCODED if not _promises(one) else NOISED
    silent = included - {client for client, said in words.items() if needed in said}
    if silent:
        what = "it" if needed == ENCODED else "their noise"
        evidence = f"sites {sorted(silent)[:5]} left no word on {what}"
        return one.say(Rule.ATTESTED, Verdict.UNCHECKABLE, evidence, r.Receipts)
    said = ", ".join(sorted({word for attests in words.values() for word in attests}))
    return one.say(Rule.ATTESTED, Verdict.ATTESTED, f"{len(words)} sites: {said}", r.Receipts)


def _promises(one: Round) -> bool:
    try:
        return release_of(one) is not None
    except ValueError:
        return True


def _compare_own(found: StudyRecords, own: tuple[Receipt, ...]) -> Iterator[Finding]:
    """Every receipt that the auditor holds must be in the log, word for word."""
    if not own:
        return
    logged = {
        receipt_hash(receipt): one.index
        for one in found.rounds
        if (listed := one.get(r.Receipts)) is not None
        for receipt in listed.receipts
    }
    missing = [receipt for receipt in own if receipt_hash(receipt) not in logged]
    if missing:
        first = missing[0]
        evidence = f"the receipt that site {first.client} keeps of round {first.round_index} is not in the log"
        yield Finding(Rule.RECEIPTS_AGREE, Verdict.BROKEN, evidence)
    else:
        yield Finding(Rule.RECEIPTS_AGREE, Verdict.VERIFIED, f"all {len(own)} receipts brought are in the log")


def check_alone(own: tuple[Receipt, ...], roster: Roster) -> Iterator[Finding]:
    """What one site's receipts show by themselves: rules T17, T20, T22 and T23."""
    wrong = [
        f"receipt {number} does not follow on the one before it"
        for number, (receipt, last) in enumerate(zip(own, (None, *own), strict=False))
        if receipt.previous != (NOTHING if last is None else receipt_hash(last))
    ]
    wrong += [f"receipt {n} is not signed by its site" for n, one in enumerate(own) if not _alone_signed(one, roster)]
    if wrong:
        yield Finding(Rule.RECEIPTS_SIGNED, Verdict.BROKEN, wrong[0])
    elif roster:
        yield Finding(Rule.RECEIPTS_SIGNED, Verdict.VERIFIED, f"{len(own)} receipts, signed and chained")
    else:
        yield Finding(Rule.RECEIPTS_SIGNED, Verdict.UNCHECKABLE, "chained; give --roster to check signatures")
    both = [n for n, one in enumerate(own) if set(one.self_masks) & set(one.mask_keys)]
    sessions = {one.session for one in own}
    if both or len(sessions) != len(own):
        number = both[0] if both else 0
        yield Finding(
            Rule.ONE_SHARE_KIND, Verdict.BROKEN, "both kinds of one peer, or two answers in one session", number
        )
    else:
        yield Finding(Rule.ONE_SHARE_KIND, Verdict.VERIFIED, "one answer a session, one kind of every peer")
    if all(one.attests for one in own):
        yield Finding(Rule.ATTESTED, Verdict.ATTESTED, ", ".join(sorted({word for one in own for word in one.attests})))
    said = [(one.study, one.round_index, one.model_hash) for one in own]
    twice = len(set(said)) != len(said)
    verdict = Verdict.BROKEN if twice else Verdict.VERIFIED
    yield Finding(
        Rule.ONE_INPUT, verdict, "two inputs for one round" if twice else f"{len(own)} rounds, one input each"
    )


def _alone_signed(receipt: Receipt, roster: Roster) -> bool:
    return not roster or signature_holds(receipt, roster)
