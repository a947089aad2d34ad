"""One site's part in one attempt at a round: every step is in the site's journal before it is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

import quant
from protocols.pairwise import LocalPolicy
from secagg.config import RoundConfig
from secagg.privacy import SitePrivacy, receipts
from secagg.session import ClientSession
from secagg.site.store import SiteStore
from secagg.study import rounds, task, weights
from secagg.study.definition import Study
from secagg.study.identity import Identity
from secagg.study.task import Context, Task
from secagg.study.weights import Weights
from secagg.transcript.receipts import NOTHING, Receipt, ReceiptKeeper, receipt_hash
from secagg.transport.messages import Cursor, Frame, Offer, Spent


class RoundState(msgspec.Struct, frozen=True):
    """What is stored beside the machine's snapshot: the offer, and how many frames were taken, of which study."""

    offer: Offer
    have: int
    study: bytes


@dataclass(frozen=True)
class Trained:
    """What training gave. It stays in memory: after a crash the site trains again, for nothing has left yet."""

    update: Any
    weight: int | None
    counters: dict[str, int]


@dataclass(frozen=True)
class Member:
    """Who takes part: the same in all rounds.

    Attributes:
        study: what this site signed.
        site: its id.
        identity: its key.
        limits: what its policy insists on.
        task: its training code.
        store: its journal and ledger.
        privacy: what it may spend, in a private study.
    """

    study: Study
    site: int
    identity: Identity
    limits: LocalPolicy
    task: Task
    store: SiteStore
    privacy: SitePrivacy | None = None


class SiteRound:
    """Takes part in one attempt; made by ``begin`` or, after a restart, by ``resume``."""

    def __init__(self, member: Member, offer: Offer, model: Weights) -> None:
        self._member, self.offer, self._model = member, offer, model
        layout = quant.Layout.of(model)
        self.config: RoundConfig = rounds.round_config(member.study, layout, offer.clients, offer.round, offer.attempt)
        self._query = rounds.query_of(member.study)
        self._have = 0
        self._trained: Trained | None = None
        self._session: ClientSession

    @classmethod
    def begin(cls, member: Member, offer: Offer, model: bytes, progress: Callable[[float], None]) -> SiteRound:
        """Train, then agree to the round; the first frame is in the outbox afterwards.

        In a private round nothing touches data yet: that is done when the masked input is wanted and charged.

        Raises:
            protocols.RemoteProtocolError: the policy or the ledger refuses the round; nothing was said.
            secagg.privacy.PrivacyRefused: the privacy policy or budget refuses it; nothing was said.
            StorageError: the disk refuses; nothing was said.
        """
        taking_part = cls(member, offer, weights.decode(model))
        if member.privacy is None:
            taking_part._trained = taking_part._train(progress)
        store = member.store
        (store.models / "round.safetensors").write_bytes(model)
        with store.transaction():
            store.forget_round()
            taking_part._session = ClientSession(
                taking_part.config,
                member.site,
                policy=member.limits,
                identity=member.identity.secret,
                ledger=store,
                data_version=offer.model.hex(),
                privacy=member.privacy,
            )
            taking_part._note([taking_part._session.start()])
        return taking_part

    @classmethod
    def resume(cls, member: Member) -> SiteRound | None:
        """Go on after a restart with the attempt that the store knows, if there is one that can be gone on with."""
        store = member.store
        state, snapshot = store.fact("round"), store.fact("snapshot")
        if state is None or snapshot is None:
            return None
        known = msgspec.msgpack.decode(state, type=RoundState)
        path = store.models / "round.safetensors"
        model = path.read_bytes() if path.exists() else b""
        if known.study != member.study.hash or weights.digest(model) != known.offer.model:
            return None  # the study was signed again, or power was lost before the weights were on disk
        taking_part = cls(member, known.offer, weights.decode(model))
        taking_part._have = known.have
        taking_part._session = ClientSession.restore(
            taking_part.config,
            member.site,
            snapshot,
            ledger=store,
            data_version=known.offer.model.hex(),
            privacy=member.privacy,
        )
        return taking_part

    @property
    def cursor(self) -> Cursor:
        """Where this site is."""
        return Cursor(self.offer.round, self.offer.attempt, busy=True, have=self._have)

    def take(self, frame: Frame, progress: Callable[[float], None]) -> None:
        """Take one frame of the coordinator's; the answer is in the outbox afterwards.

        The ledger's entry, the machine's new state and the answer are one transaction: after a crash either all of
        them are there, and the answer is sent byte for byte, or none is, and nothing was said.

        Raises:
            protocols.ProtocolError: the coordinator broke a rule; nothing was said and nothing changed on disk.
            StorageError: the disk refuses; nothing was said.
        """
        if (frame.round, frame.attempt, frame.number) != (self.offer.round, self.offer.attempt, self._have):
            return  # an answer to an older question
        if self._trained is None and self._member.privacy is None and self._may_want_input():
            self._trained = self._train(progress)
        store = self._member.store
        with store.transaction():
            store.took(frame.data)
            replies = list(self._session.receive(frame.data))
            spent = None
            if self._session.wants_input:
                replies += self._masked(progress)
                spent = self._spent()
            self._have += 1
            self._note(replies, self._receipt(replies), spent)

    def _may_want_input(self) -> bool:
        """Tell whether the next frame may ask for input: train before the transaction, not in it."""
        return not self._session.has_sent_input

    def _masked(self, progress: Callable[[float], None]) -> list[bytes]:
        if self._member.privacy is not None:
            # The ledger's own file has the charge, and the noise is drawn, before the function is called.
            contribution = self._session.prepare(lambda: self._private(progress))
        else:
            trained = self._trained
            if trained is None:
                raise RuntimeError("the machine wants input before anything was trained")
            contribution = self._session.prepare(trained.update, trained.weight, trained.counters)
        self._trained = None
        return list(self._session.submit(contribution, self.offer.model))

    def _note(self, frames: list[bytes], receipt: Receipt | None = None, spent: Spent | None = None) -> None:
        store = self._member.store
        store.post(frames, receipt, spent)
        store.set_fact("snapshot", self._session.snapshot())
        store.set_fact("round", msgspec.msgpack.encode(RoundState(self.offer, self._have, self._member.study.hash)))

    def _spent(self) -> Spent | None:
        """State what the privacy ledger holds, this round included, for the coordinator to countersign."""
        if self._member.privacy is None:
            return None
        return Spent(*receipts.issue(self._member.privacy.ledger, self._member.identity.secret.reveal()))

    def _receipt(self, replies: list[bytes]) -> Receipt | None:
        """Sign what this site saw and said, once it has answered; it is worked out from the journal."""
        if not self._session.over or not replies:
            return None
        store, logged = self._member.store, self.offer.logged
        keeper = ReceiptKeeper(
            self.config.params, self._member.site, NOTHING if logged is None else receipt_hash(logged)
        )
        for frame in store.inbox():
            keeper.received(frame)
        for frame in (*store.outbox(), *replies):
            keeper.sent(frame)
        if not keeper.answered:
            return None
        attests = ("encoded",) if self._member.privacy is None else ("encoded", "noise")
        made = keeper.receipt(self._member.identity.secret, attests=attests)
        store.keep_own_receipt(made)
        return made

    def _private(self, progress: Callable[[float], None]) -> Any:
        member, context = self._member, self._context(progress)
        if self._query is not None:
            return self._query.contribute(task.columns(member.task, context), private=True)
        unit = "site" if member.study.privacy is None else member.study.privacy.unit
        return task.private_contribution(member.task, dict(self._model), context, self.config.layout, unit)

    def _context(self, progress: Callable[[float], None]) -> Context:
        member = self._member
        return Context(
            study=member.study.name,
            site=member.site,
            sites=self.offer.clients,
            round=self.offer.round,
            rounds=member.study.training.rounds,
            options=member.study.task,
            progress=progress,
        )

    def _train(self, progress: Callable[[float], None]) -> Trained:
        member, context = self._member, self._context(progress)
        if self._query is not None:
            return Trained(self._query.contribute(task.columns(member.task, context)), None, {})
        counters = task.counters(member.task, dict(self._model), context)
        update, weight = task.contribution(member.task, dict(self._model), context, member.study.training.max_examples)
        self.config.layout.flatten(update)  # refuse a useless update before the round begins
        return Trained(update, weight, counters)
