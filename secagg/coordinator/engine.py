"""The whole study at the coordinator: who is here, which round is on, when a phase ends. No sockets, no threads.

The web layer calls ``hello``, ``accept`` and ``instruction`` for the sites and ``tick`` for the clock, one at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

import quant
from protocols import ProtocolError
from protocols.pairwise import Phase
from secagg.config import RoundConfig
from secagg.coordinator import chain, evidence, spending
from secagg.coordinator.archive import Archive
from secagg.coordinator.intake import take_in
from secagg.coordinator.live_round import Delivery, LiveRound, Opening
from secagg.coordinator.models import Models
from secagg.coordinator.outcome import Outcome, Progress
from secagg.coordinator.store import Store
from secagg.errors import UsageError
from secagg.privacy import Countersigned
from secagg.study import approval, receipt, rounds, weights
from secagg.study.definition import Study, check_ready
from secagg.study.identity import Identity
from secagg.study.receipt import Receipt, SignedReceipt
from secagg.transcript.receipts import Receipt as SiteReceipt
from secagg.transport.messages import Cursor, Finished, Hello, Instruction, Offer, Over, Welcome

log = logging.getLogger("secagg.coordinator")

PRESENT_SECONDS = 90.0
"""A site that has not been heard of for so long is not invited to a round."""

LOST_IN_A_ROW = 5
"""Rounds that may be lost one after the other before the study halts and waits for a person."""


@dataclass
class Engine:
    """One study, from its first round to its last.

    Args:
        study: what was signed.
        identity: the coordinator's, whose public half stands in the study.
        store: where it remembers.
        initial: the bytes of the initial weights.
        clock: seconds that only grow, for deadlines.

    Attributes:
        live: the round in progress.
        progress: outcomes so far, and where the study is.
        seen: when each site was last heard of, by ``clock``.
        models: the weights on disk.
        version: grows whenever there may be something new for the sites.
        training: how far each site's training is, in this round.

    Raises:
        UsageError: the study cannot run, or the state folder belongs to another one.
    """

    study: Study
    identity: Identity
    store: Store
    initial: bytes
    clock: Callable[[], float] = time.monotonic
    live: LiveRound | None = None
    seen: dict[int, float] = field(default_factory=dict)
    training: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ready(self.study)
        if self.identity.public.hex() != self.study.study.coordinator_key:
            raise UsageError("this key is not the coordinator's: the study names another one as coordinator_key")
        if weights.digest(self.initial).hex() != self.study.model.sha256:
            raise UsageError("the initial weights are not those that were signed: their hash differs from the study's")
        self.models = Models(self.store.models)
        self.layout = quant.Layout.of(weights.decode(self.initial))
        self.approvals = self._approvals()
        self.progress = self._progress()
        self._archive = Archive(self.store, self.study)
        self.version = 0
        self.since = self.clock()
        self._name_models()  # a crash may have come between the end of a round and this
        self._resume()

    # -- setting up ------------------------------------------------------------------------------------------------

    def _approvals(self) -> dict[int, approval.Approval]:
        stored = {
            site: msgspec.msgpack.decode(data, type=approval.Approval) for site, data in self.store.approvals().items()
        }
        return {site: given for site, given in stored.items() if approval.is_valid(self.study, given)}

    def _progress(self) -> Progress:
        data = self.store.fact("progress")
        if data is not None:
            progress = msgspec.msgpack.decode(data, type=Progress)
            if progress.study != self.study.name:
                raise UsageError(
                    f"the state folder belongs to the study {progress.study!r}: choose another with --state"
                )
            if not progress.opened:  # the weights may have been changed and signed again since
                model = self.models.keep_initial(self.initial)
                progress = msgspec.structs.replace(progress, model=model, best=model)
            return msgspec.structs.replace(progress, finished="", lost=0) if progress.lost else progress
        model = self.models.keep_initial(self.initial)
        progress = Progress(self.study.name, 0, 0, model, model)
        with self.store.transaction():
            self.store.set_fact("progress", msgspec.msgpack.encode(progress))
        return progress

    def _resume(self) -> None:
        entries = self.store.journal()
        if not entries:
            return
        opening = msgspec.msgpack.decode(entries[0].data or b"", type=Opening)
        if opening.study != self.study.hash:
            # Somebody changed the file, such as the roster, while the coordinator was down: keys are bound to the old.
            reason = "the study was changed and signed again during the round"
            self._close(opening, b"", Outcome("aborted", reason=reason, spent=self.progress.spent))
            return
        self.live = LiveRound(opening, self._config(opening), self.study.roster, self.store)
        self.live.replay(entries[1:])
        log.info("round resumed", extra={"round": opening.round, "attempt": opening.attempt})
        self._settle()

    def _config(self, opening: Opening) -> RoundConfig:
        return rounds.round_config(self.study, self.layout, opening.clients, opening.round, opening.attempt)

    # -- what sites ask --------------------------------------------------------------------------------------------

    def hello(self, site: int, sequence: int, hello: Hello) -> Welcome:
        """Take a site's approval.

        Raises:
            UsageError: it is not that site's, or approves another study.
        """
        given = hello.approval
        if given.site != site or not approval.is_valid(self.study, given):
            raise UsageError(
                "this approval is not this site's signature on the coordinator's study: compare fingerprints"
            )
        with self.store.transaction():
            self.store.set_approval(site, msgspec.msgpack.encode(given))
            self.store.set_sequence(site, sequence)
        self.approvals[site] = given
        self.version += 1  # a site is here once it asks what to do: `secagg check` says hello and goes
        held = self.store.spent(site)
        spent = None if held is None else msgspec.msgpack.decode(held, type=Countersigned)
        return Welcome(time.time(), sequence, len(self.approvals), self.progress.round, spent)

    def touch(self, site: int) -> None:
        """Note that a site is there."""
        self.seen[site] = self.clock()

    def accept(self, cursor: Cursor, letters: Sequence[Delivery]) -> list[Exception | bool]:
        """Take letters of one attempt that came at the same time: one transaction for all, then one after the other.

        Returns:
            For each letter whether it is new, or why it was refused (`LateFrame`, `Contradiction`, a rule's error).

        Raises:
            StorageError: the disk refuses; no letter was taken.
        """
        live = self.live
        if live is None or (live.opening.round, live.opening.attempt) != (cursor.round, cursor.attempt):
            self.store.drop_files(letter.file for letter in letters)
            late = LateFrame(f"round {cursor.round}, attempt {cursor.attempt} is not in progress")
            return [late] * len(letters)
        for letter in letters:
            self.touch(letter.site)
        try:
            told = take_in(self.study, self.identity, live, letters)
        finally:
            self.store.drop_files(letter.file for letter in letters if not live.holds(letter))
        if self._go_on():
            self.version += 1
        return told

    def instruction(self, site: int, cursor: Cursor) -> Instruction | None:
        """Return what ``site`` is to do next, or ``None`` if it is to wait."""
        live = self.live
        current = live is not None and (live.opening.round, live.opening.attempt) == (cursor.round, cursor.attempt)
        if cursor.busy and live is not None and current:
            if live.went_on_without(site, cursor.have):
                return Over(cursor.round, cursor.attempt, None)
            return live.frame_for(site, cursor.have)
        if cursor.busy:
            return Over(cursor.round, cursor.attempt, self.receipt(cursor.round, cursor.attempt))
        if self.progress.finished:
            return Finished(self.progress.finished, self.progress.model, self.progress.best)
        if live is not None and not live.has_begun(site) and site in live.opening.clients:
            return self._offer(live, site) if live.status.phase is Phase.ADVERTISE_KEYS else None
        return None

    def _offer(self, live: LiveRound, site: int) -> Offer:
        opening = live.opening
        size = self.models.path(opening.model).stat().st_size
        given = tuple(self.approvals[member] for member in opening.clients)
        data = self.store.site_receipt(site)
        logged = None if data is None else msgspec.json.decode(data, type=SiteReceipt)
        return Offer(opening.round, opening.attempt, opening.clients, opening.model, size, given, logged)

    def receipt(self, round_index: int, attempt: int) -> SignedReceipt | None:
        """Return the signed receipt of an attempt that has ended."""
        data = self.store.receipt(round_index, attempt)
        return None if data is None else msgspec.json.decode(data, type=SignedReceipt)

    def receipts(self) -> list[Receipt]:
        """Return what was said of all attempts that have ended, oldest first."""
        return [msgspec.json.decode(data, type=SignedReceipt).receipt for data in self.store.receipts()]

    def masked_words(self) -> tuple[int, list[str]] | None:
        """Return (site, first 64-bit words in hexadecimal) of a masked input that is held now, for people to see."""
        held = None if self.live is None else self.live.first_masked()
        if held is None:
            return None
        site, payload = held
        return site, [payload[start : start + 8].hex() for start in range(0, min(len(payload), 96), 8)]

    @property
    def spent(self) -> float:
        """Epsilon of all rounds so far in which data were used; 0 in a study without privacy."""
        return spending.epsilon(self.study, self.progress.spent)

    # -- the clock -------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Do what is due by now."""
        if not self.progress.finished and self._go_on():
            self.version += 1

    def _go_on(self) -> bool:
        """End phases, and begin the next round at once if everybody is here."""
        changed = self._settle()
        if self.live is None and not self.progress.finished:
            changed = self._maybe_begin() or changed
        return changed

    def present(self) -> tuple[int, ...]:
        """Members that approved the study and were heard of lately."""
        now = self.clock()
        here = (site for site, last in tuple(self.seen.items()) if now - last < PRESENT_SECONDS)
        return tuple(sorted(set(here) & set(self.approvals) & set(self.study.ids)))

    def _maybe_begin(self) -> bool:
        here = self.present()
        waited = self.clock() - self.since
        if len(here) < self.study.training.min_sites:
            self.since = self.clock()
            return False
        if len(here) < len(self.study.site) and waited < self.study.deadlines.join:
            return False
        progress = self.progress
        opening = Opening(progress.round, progress.attempt, here, progress.model, self.study.hash)
        self.live = LiveRound.begin(opening, self._config(opening), self.study.roster, self.store)
        self.training.clear()
        self.since = self.clock()
        log.info("round begins", extra={"round": opening.round, "attempt": opening.attempt, "sites": list(here)})
        return True

    @property
    def deadline(self) -> float:
        """When the present phase has lasted long enough, by ``clock``."""
        # With privacy, data are used only once the masked input is wanted, and charged.
        trained_in = Phase.ADVERTISE_KEYS if self.study.privacy is None else Phase.MASKED_INPUT
        training = self.live is not None and self.live.status.phase is trained_in
        return self.since + (self.study.deadlines.train if training else self.study.deadlines.phase)

    def _settle(self) -> bool:
        """End phases as long as nothing keeps them open; open the sum, or give up."""
        changed = False
        while self.live is not None:
            status = self.live.status
            if status.phase is None:
                self._open(self.live)
                return True
            if status.pending and self.clock() < self.deadline:
                return changed
            try:
                if not status.ready:
                    raise TooFew(f"{status.phase.value}: {len(status.have)} sites are here, {status.need} are needed")
                self.live.advance()
            except (ProtocolError, TooFew) as error:
                self._abort(self.live, str(error))
                return True
            log.info("phase ends", extra={"phase": status.phase.value, "sites": list(status.have)})
            self.since = self.clock()
            changed = True
        return changed

    def _open(self, live: LiveRound) -> None:
        try:
            opened = live.result()
        except (ProtocolError, quant.QuantError) as error:
            self._abort(live, str(error))
            return
        before = weights.decode(self.models.path(live.opening.model).read_bytes())
        query = rounds.query_of(self.study)
        answers = {} if query is None else query.result(opened).as_dict()
        # An answer is no change of weights: the model of such a study stays as it is.
        change = {} if query is not None else live.config.layout.unflatten(rounds.mean(self.study, opened))
        with self.store.complaining("keep the weights"):
            model = self.models.keep(weights.encode(rounds.moved(before, change)))
        spent = spending.charged(self.study, self.progress.spent, live.config)
        outcome = Outcome(
            "opened", opened.included, model, "", dict(opened.counters), opened.total_weight, spent, answers
        )
        told = live.evidence.lines(
            self.study,
            self.store.end_of_transcript(),
            opened,
            receipts=tuple(live.receipts.values()),
            spend=spending.spend_record(self.study, live.config, self.progress.recorded, spent),
        )
        self._close(live.opening, live.config.params.hash(), outcome, live, told=told)

    def _abort(self, live: LiveRound, reason: str) -> None:
        spent = self.progress.spent
        if live.has_inputs:
            spent = spending.charged(self.study, spent, live.config)
        outcome = Outcome("aborted", reason=reason[:400], spent=spent)
        told = live.evidence.lines(self.study, self.store.end_of_transcript(), None, reason[:400])
        self._close(live.opening, live.config.params.hash(), outcome, live, told=told)

    def _name_models(self) -> None:
        with self.store.complaining("name the weights"):
            self.models.name(self.progress.model, self.progress.best, for_good=bool(self.progress.finished))

    def _close(
        self,
        opening: Opening,
        params: bytes,
        outcome: Outcome,
        live: LiveRound | None = None,
        *,
        told: Sequence[str] = (),
    ) -> None:
        """End an attempt: receipt, transcript, progress and the end of its journal in one transaction."""
        lines = self.store.lines()
        signed = receipt.sign(
            receipt.Receipt(
                study=self.study.hash.hex(),
                round=opening.round,
                attempt=opening.attempt,
                outcome=outcome.kind,
                params=params.hex(),
                model=opening.model.hex(),
                clients=opening.clients,
                included=outcome.included,
                result=outcome.model.hex(),
                reason=outcome.reason,
                counters=outcome.counters,
                total_weight=outcome.total_weight,
                spent=spending.epsilon(self.study, outcome.spent),
                answers=outcome.answers,
                head=chain.head(lines),
            ),
            self.identity,
        )
        text = chain.line(chain.head(lines), signed)
        inputs = live is None or live.has_inputs
        progress = self.progress.after(opening, outcome, self.study, inputs=inputs)
        if progress.lost >= LOST_IN_A_ROW:
            reason = f"halted: {progress.lost} rounds were lost one after the other (last: {outcome.reason})"
            progress = msgspec.structs.replace(progress, finished=reason)
        with self.store.transaction():
            self.store.add_round(opening.round, opening.attempt, outcome.kind, msgspec.json.encode(signed), text)
            self.store.set_fact("progress", msgspec.msgpack.encode(progress))
            self.store.add_transcript(told)
            if live is not None and outcome.kind == "opened":
                for site, word in live.receipts.items():
                    self.store.set_site_receipt(site, msgspec.json.encode(word))
            if progress.finished and progress.opened == self.progress.opened + 1:  # finished, and not halted
                told = [*told, evidence.ending(self.store.transcript())]
                self.store.add_transcript(told[-1:])
            self.store.clear_journal()
        self.progress, self.live, self.since = progress, None, self.clock()
        self.store.erase()
        self._archive.add(text, told)
        self._name_models()
        log.info("round ends", extra={"round": opening.round, "outcome": outcome.kind, "reason": outcome.reason})


class LateFrame(UsageError):
    """A frame for an attempt that is over."""


class TooFew(UsageError):
    """A phase ended with fewer sites than are needed."""
