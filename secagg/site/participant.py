"""One site in one study: asks the coordinator what to do, does it, and keeps at it through failures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from protocols import ProtocolError
from secagg.errors import UsageError
from secagg.privacy import BudgetExhausted, Countersigned, LedgerError, PrivacyRefused, raise_to
from secagg.site.link import Link, Refusal, Unreachable, pause
from secagg.site.site_round import Member, SiteRound
from secagg.site.store import coordinators_word, own_word
from secagg.study import approval, receipt, weights
from secagg.study.approval import Approval
from secagg.study.policy import SitePolicy
from secagg.transcript.receipts import Receipt, is_signed
from secagg.transport.messages import Cursor, Finished, Frame, Hello, Instruction, Offer, Over

T = TypeVar("T")
Observe = Callable[[str, dict[str, Any]], None]

APPROVAL_SECONDS = 5.0
"""How often a model that waits for a person's approval is looked up again."""

PROGRESS_SECONDS = 2.0
OWN_RECEIPTS = "own-receipts.jsonl"
BROKEN_IN_A_ROW = 3
"""Rounds in which the coordinator broke a rule, one after the other, after which the site stops and says so."""

NOT_FOUND = 404

_TEMPORARY = frozenset({408, 425, 429, 507})
"""Refusals after which the same request may succeed."""


GONE = 410
"""The attempt is not in progress any more."""

OVERTAKEN = 425
"""The coordinator has heard a later request of this site."""

OVERTAKEN_IN_A_ROW = 4
"""Such refusals, one after the other, that are not a proxy's repetition but a second machine."""


class Leave(Exception):
    """The site leaves the round in progress; the text says why."""


class Participant:
    """Drives one site until the study is over.

    Args:
        member: who takes part.
        given: this site's approval of the study.
        policy: what it insists on.
        policy_folder: where the policy's lists are.
        link: the way to the coordinator.
        observe: called with (event, facts) for people to see.
        give_up_after: seconds without any answer after which the site stops.
        restored: this site's state is an older copy, which does not know what was said since: take no part in the
            round in progress.
    """

    def __init__(
        self,
        member: Member,
        given: Approval,
        policy: SitePolicy,
        policy_folder: Path,
        link: Link,
        observe: Observe = lambda event, facts: None,
        give_up_after: float = 7 * 86400.0,
        restored: bool = False,
    ) -> None:
        self._member, self._given, self._store = member, given, member.store
        self._policy, self._policy_folder = policy, policy_folder
        self._link, self._observe, self._give_up_after = link, observe, give_up_after
        self._restored = restored
        self._round = None if restored else SiteRound.resume(member)
        if self._round is None:
            self._store.leave_out_round()
        self._last = Cursor()
        self._heard: Instruction | None = None
        self._verified: set[Approval] = set()
        self._broken = 0
        self._told = 0.0

    def run(self, version: str) -> Finished:
        """Take part until the coordinator says that the study is over.

        Raises:
            UsageError: the coordinator refuses this site, or was not reached for too long.
        """
        self.greet(version)
        while (finished := self.step()) is None:
            pass
        return finished

    def greet(self, version: str) -> None:
        """Sign in."""
        welcome = self._reach(lambda: self._link.hello(Hello(self._given, version)))
        self._remember_spending(welcome.spent)
        if self._restored:
            self._store.leave_out_until(welcome.round)
        self._observe("welcome", {"members": welcome.members})

    def step(self) -> Finished | None:
        """Hear what to do, do it, and send what is to be sent; return the end of the study."""
        heard, self._heard = self._heard, None
        try:
            instruction = heard or self._flush() or self._reach(lambda: self._link.next(self._cursor))
            if isinstance(instruction, Finished):
                if self._round is not None:
                    self._close(None)  # only a coordinator that deviates says so in the middle; secrets go all the same
                self._fetch_results(instruction)
                return instruction
            if isinstance(instruction, Offer):
                self._begin(instruction)
            elif isinstance(instruction, Frame):
                self._take(instruction)
            elif isinstance(instruction, Over):
                self._end(instruction)
            self._heard = self._flush()
        except Leave as reason:
            self._leave(str(reason))
        return None

    @property
    def _cursor(self) -> Cursor:
        return self._last if self._round is None else self._round.cursor

    # -- what the coordinator asks ---------------------------------------------------------------------------------

    def _begin(self, offer: Offer) -> None:
        """Train for a round and agree to it, if everything about it is in order."""
        self._check_offer(offer)
        if self._store.leaves_out(offer.round):
            self._observe("restored", {"round": offer.round})
            time.sleep(pause(0))
            return
        if not self._policy.allows_model(self._policy_folder, offer.model):
            self._observe("approval", {"round": offer.round, "model": offer.model.hex()})
            time.sleep(APPROVAL_SECONDS)
            return
        self._observe("round", {"round": offer.round, "attempt": offer.attempt, "sites": len(offer.clients)})
        model = self._fetch(offer)
        if model is None:
            self._observe("late", {"round": offer.round})
            return
        self._last = Cursor(offer.round, offer.attempt)
        try:
            self._round = SiteRound.begin(self._member, offer, model, self._progress)
        except ProtocolError as error:
            self._decline(offer, str(error))
        except (PrivacyRefused, LedgerError) as error:
            raise UsageError(f"this site takes no part in round {offer.round + 1}: {error}") from None

    def _fetch(self, offer: Offer) -> bytes | None:
        """Return the weights of a round, or ``None`` if the study went on meanwhile and needs them no more."""
        try:
            return self._reach(lambda: self._link.model(offer.model))
        except UsageError as error:
            if isinstance(error.__cause__, Refusal) and error.__cause__.status == NOT_FOUND:
                return None
            raise

    def _remember_spending(self, last: Countersigned | None) -> None:
        """Let a privacy ledger that was restored from a copy hold no less than this site once stated.

        Raises:
            UsageError: a statement that this site or the coordinator did not sign.
        """
        privacy = self._member.privacy
        if last is None or privacy is None:
            return
        witness = bytes.fromhex(self._member.study.study.coordinator_key)
        try:
            if raise_to(privacy.ledger, last, self._member.identity.public, witness):
                self._observe("raised", {"cohort": privacy.cohort, "epsilon": privacy.ledger.epsilon(privacy.cohort)})
        except LedgerError as error:
            raise UsageError(f"the coordinator's copy of what this site has spent cannot be used: {error}") from None

    def _check_offer(self, offer: Offer) -> None:
        """Refuse a round whose members did not all sign this very study.

        Raises:
            UsageError: the coordinator invites somebody who has not approved the study.
        """
        given = {entry.site: entry for entry in offer.approvals}
        for site in offer.clients:
            if site not in given or not self._has_signed(given[site]):
                raise UsageError(f"the coordinator invites site {site}, which has not signed this study: ask the lead")
        self._check_logged(offer)
        self._check_round(offer)

    def _check_round(self, offer: Offer) -> None:
        """Refuse a round that is not the next one of the study that was signed, or one too many.

        Raises:
            UsageError: it is.
        """
        study, most = self._member.study, self._policy.max_rounds
        if most is not None and offer.round >= most:
            raise UsageError(f"policy.toml allows {most} rounds, and they are over")
        if len(self._summed()) >= study.training.rounds:
            raise UsageError(f"the study has {study.training.rounds} rounds, and the coordinator asks for one more")
        sent = (said.round_index for said in self._store.entries() if said.said == "input" and said.study == study.name)
        if offer.round <= max(sent, default=-1):
            raise UsageError(
                f"the coordinator asks for round {offer.round + 1}, and this site has sent an input in it or in a "
                "later one already: ask the lead whether the coordinator was restored from an old copy"
            )
        if offer.round == 0 and offer.model.hex() != study.model.sha256:
            raise UsageError("the coordinator begins with other weights than those that were signed: ask the lead")

    def _has_signed(self, given: Approval) -> bool:
        """Tell whether a member's approval of this study is valid; one that was is not verified in every round."""
        if given not in self._verified and approval.is_valid(self._member.study, given):
            self._verified.add(given)
        return given in self._verified

    def _check_logged(self, offer: Offer) -> None:
        """Refuse a coordinator whose log lacks a round that it told this site was summed with it.

        Raises:
            UsageError: it does, or it holds a receipt that this site did not sign.
        """
        study, site, logged = self._member.study, self._member.site, offer.logged
        told = [(own.round_index, own.attempt) for own in self._logged_receipts()]
        last = max(told, default=None)
        if logged is None:
            if last is not None:
                raise UsageError(
                    f"the coordinator's log lacks this site's receipt of round {last[0] + 1}: ask the lead"
                )
            return
        key = study.roster.key(site) or b""
        if logged.client != site or logged.study != study.name or not is_signed(logged, key):
            raise UsageError("the coordinator's log holds a receipt that this site did not sign: ask the lead")
        if last is not None and (logged.round_index, logged.attempt) < last:
            raise UsageError(f"the coordinator's log lacks this site's receipt of round {last[0] + 1}: ask the lead")

    def _logged_receipts(self) -> list[Receipt]:
        """Return this site's receipts of this study's rounds of which the coordinator signed that they were summed."""
        mine = self._member.study.hash.hex()
        summed = {(said.round, said.attempt) for said in self._summed() if said.study == mine}
        own = map(own_word, self._store.own_receipts())
        return [one for one in own if (one.round_index, one.attempt) in summed]

    def _summed(self) -> list[receipt.Receipt]:
        """Return what the coordinator signed of rounds that were summed, of earlier forms of the study too."""
        return [said for said in map(coordinators_word, self._store.receipts()) if said.outcome == "opened"]

    def _decline(self, offer: Offer, reason: str) -> None:
        self._observe("declined", {"round": offer.round, "reason": reason})
        self._broken += 1
        if self._broken >= BROKEN_IN_A_ROW:
            raise UsageError(f"this site could not take part {self._broken} times in a row: {reason}")
        time.sleep(pause(self._broken))

    def _take(self, frame: Frame) -> None:
        if self._round is None:
            return
        try:
            self._round.take(frame, self._progress)
        except (ProtocolError, LedgerError) as error:
            raise Leave(str(error)) from None
        except (BudgetExhausted, PrivacyRefused) as error:
            self._close(None)
            raise UsageError(f"this site takes no part in round {frame.round + 1}: {error}") from None

    def _end(self, over: Over) -> None:
        """Keep the receipt of a round that is over, if it is the coordinator's."""
        if self._round is None:
            return
        signed = over.receipt
        if signed is not None and not self._is_mine(signed):
            raise Leave("the receipt is not signed by the coordinator, or is of another round")
        included = signed is not None and self._member.site in signed.receipt.included
        self._broken = 0 if included else self._broken
        self._close(signed)
        if signed is None:
            self._observe("late", {"round": over.round})
        else:
            self._observe("receipt", {"receipt": signed.receipt, "included": included})

    def _is_mine(self, signed: receipt.SignedReceipt) -> bool:
        if self._round is None or not receipt.is_valid(self._member.study, signed):
            return False
        said, offer = signed.receipt, self._round.offer
        same = (said.round, said.attempt, said.clients) == (offer.round, offer.attempt, offer.clients)
        return same and said.params == self._round.config.params.hash().hex() and said.model == offer.model.hex()

    def _leave(self, reason: str) -> None:
        self._observe("left", {"reason": reason})
        self._close(None)
        self._broken += 1
        if self._broken >= BROKEN_IN_A_ROW:
            raise UsageError(f"this site left {self._broken} rounds in a row: {reason}")

    def _close(self, signed: receipt.SignedReceipt | None) -> None:
        """Forget the round's secrets, keeping its receipt."""
        self._last = Cursor(*(self._cursor.round, self._cursor.attempt))
        with self._store.transaction():
            if signed is not None:
                said = signed.receipt
                self._store.keep_receipt(said.round, said.attempt, msgspec.json.encode(signed))
            self._store.forget_round()
        self._store.erase()
        if signed is not None:
            self._write_own_receipts()
        self._round = None

    def _write_own_receipts(self) -> None:
        """Write this site's receipts to a file of lines, which ``secagg audit --receipts`` compares with the log."""
        lines = b"".join(msgspec.json.encode(one) + b"\n" for one in self._logged_receipts())
        with self._store.complaining("write its receipts"):
            (self._store.folder / OWN_RECEIPTS).write_bytes(lines)

    def _fetch_results(self, finished: Finished) -> None:
        for name, model in (("last", finished.model), ("best", finished.best)):
            data = self._reach(lambda wanted=model: self._link.model(wanted))  # type: ignore[misc]
            weights.write(self._store.models / f"{name}.safetensors", data)
        self._link.goodbye()

    # -- the network -----------------------------------------------------------------------------------------------

    def _flush(self) -> Instruction | None:
        """Send what is in the outbox, byte for byte, until the coordinator has it; return what it answers to it."""
        if self._round is None:
            return None
        cursor, told = self._round.cursor, None
        for letter in self._store.unsent():
            try:
                told = self._reach(lambda: self._link.send(cursor, letter.number, letter.data, then=letter.last))  # noqa: B023  # called at once
            except UsageError as error:
                refusal = error.__cause__
                if not isinstance(refusal, Refusal):
                    raise
                if refusal.status == GONE:
                    return None  # the attempt is over, perhaps with this very letter: `next` tells how
                if refusal.status in (409, 422):
                    raise Leave(refusal.reason) from None
                raise
            self._store.acknowledged(letter.number)
        return told

    def _progress(self, fraction: float) -> None:
        now = time.monotonic()
        self._observe("progress", {"fraction": fraction})
        if self._member.privacy is not None:
            return  # a number of the task's that no noise is on: in a private study it stays at the site
        if now - self._told > PROGRESS_SECONDS:
            self._told = now
            self._link.progress(min(1.0, max(0.0, float(fraction))))

    def _reach(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer.

        Raises:
            UsageError: the coordinator refuses for good, or was not reached for too long.
        """
        began, failures, overtaken = time.monotonic(), 0, 0
        while True:
            try:
                return ask()
            except Refusal as refusal:
                if refusal.status not in _TEMPORARY:
                    raise UsageError(f"the coordinator refuses: {refusal}") from refusal
                reason = str(refusal)
                overtaken = overtaken + 1 if refusal.status == OVERTAKEN else 0
                if overtaken == OVERTAKEN_IN_A_ROW:
                    raise UsageError(
                        "the coordinator hears later requests of this site than this one: another machine that was "
                        "started later uses its key, or the clock here was set back; let one machine be this site"
                    ) from refusal
            except Unreachable as error:
                reason = str(error)
            failures += 1
            if time.monotonic() - began > self._give_up_after:
                raise UsageError(f"gave up after {self._give_up_after:.0f} s: {reason}")
            self._observe("waiting", {"reason": reason, "failures": failures})
            time.sleep(pause(failures))
