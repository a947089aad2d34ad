"""A site's side of many rounds: which are open, what they wait for, and what must outlive the process."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

import quant
from protocols import SecAggError, Secret
from protocols.pairwise import LocalPolicy
from protocols.pairwise.ledger import Ledger, Participation
from secagg.config import RoundConfig
from secagg.errors import UsageError
from secagg.integrations.parcel import Parcel
from secagg.integrations.proposal import read_proposal
from secagg.privacy import SitePrivacy
from secagg.session import ClientSession
from secagg.site.folder_lock import locked
from secagg.site.store import SiteStore

LOG = logging.getLogger("secagg.integrations")

LEDGER = "ledger"
KEPT_ROUNDS = 6
"""Rounds that are open at a time; of more, the oldest are forgotten: their server has given up on them."""

Store = MutableMapping[str, bytes]
"""Where a site keeps its rounds between messages: it holds the secrets of open rounds, so it must stay at the site."""


class StoredLedger:
    """A ledger in a store, one entry after the other."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def entries(self) -> Sequence[Participation]:
        """Return all entries, oldest first."""
        packed = self._store.get(LEDGER, b"")
        return msgspec.msgpack.decode(packed, type=list[Participation]) if packed else []

    def append(self, entry: Participation) -> None:
        """Add one entry."""
        self._store[LEDGER] = msgspec.msgpack.encode([*self.entries(), entry])


@contextmanager
def own_ledger(folder: Path | None) -> Iterator[Ledger | None]:
    """Hold a site's own folder for one message and give the ledger in it; without a folder, nothing.

    A stack may lose what it keeps for a site, give it back as it was, or hand it to two messages at once. What was said
    then stands here: a second process waits for nobody, and is refused.

    Raises:
        UsageError: another message of this site is being answered, or the disk refuses.
    """
    if folder is None:
        yield None
        return
    with locked(folder), closing(SiteStore(folder)) as store:
        yield store


REFUSING = ("exact_low", "exact_high", "modulus_bits")
"""Settings of grids that refuse an update for its values, where others cut it to their range."""


def check_grid(config: RoundConfig) -> None:
    """Refuse a grid that refuses updates: who leaves the round would tell the server whose values are beyond it.

    It is the server that proposes grids, one a round, and for single coordinates if it likes. A policy that names its
    ``task`` has chosen the grid itself.

    Raises:
        UsageError: naming the setting.
    """
    found = [name for name in REFUSING if config.codec.config().get(name) is not None]
    if found:
        raise UsageError(
            f"this site takes no grid with {found[0]} from a server: whether an update fits would be seen; take "
            "levels and a range, or name the task in the site's policy"
        )


@dataclass
class _Open:
    session: ClientSession
    client: int


class MemberRounds:
    """Answers the parcels of a server and masks this site's updates.

    Between two messages everything stands in ``store``; within one, sessions are objects. Call ``save`` once the
    message was handled: a message that fails halfway leaves the store as it was, but for the ledger.

    Args:
        store: this site's memory of the run.
        policy: what this site insists on.
        identity: 32-byte Ed25519 secret of the roster identity, against an active server.
        privacy: the site's privacy ledger and policy; without them a private round is refused. With them,
            every other round is.
        ledger: of what this site said, where it has one of its own; by default it stands in ``store`` and is as good.
    """

    def __init__(
        self,
        store: Store,
        policy: LocalPolicy,
        identity: Secret | None = None,
        privacy: SitePrivacy | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._store = store
        self._policy = policy
        self._identity = identity
        self._privacy = privacy
        self._ledger = StoredLedger(store) if ledger is None else ledger
        self._open: dict[str, _Open] = {}

    def answer(self, parcel: Parcel) -> Parcel:
        """Take a parcel and return what to send back, which may be nothing yet (see ``waiting``).

        Raises:
            protocols.RemoteProtocolError: the policy refuses the round, or the server broke a rule.
            secagg.UsageError: a parcel of a round that this site does not know, or a grid that it does not take.
        """
        frames: list[bytes] = []
        if parcel.proposal:
            frames.append(self._begin(parcel).start())
        session = self._session(parcel.round).session
        for frame in parcel.frames:
            frames.extend(session.receive(frame))
        return Parcel(parcel.round, parcel.client, tuple(frames))

    def answer_all(self, parcels: Sequence[Parcel]) -> list[Parcel]:
        """Take the parcels of one message; a round that is refused does not keep this site out of the others.

        Raises:
            protocols.SecAggError, quant.QuantError: the message was about one round alone, and that was refused.
        """
        answers = []
        for parcel in parcels:
            try:
                answers.append(self.answer(parcel))
            except (SecAggError, quant.QuantError) as error:
                if len(parcels) == 1:
                    raise
                LOG.warning("round %s is refused: %s", parcel.round, error)
                answers.append(Parcel(parcel.round, parcel.client))
        return answers

    def waiting(self, name: str) -> bool:
        """Tell whether the round waits for this site's update."""
        known = name in self._open or f"{name}/state" in self._store
        return known and self._session(name).session.wants_input

    def contribute(
        self,
        name: str,
        update: quant.Update,
        model_hash: bytes,
        weight: int | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> tuple[Parcel, int]:
        """Mask an update; returns the parcel to send and how many coordinates lay beyond the grid's range.

        Raises:
            quant.InputError: an update that is not finite, or a weight that the round cannot take.
            secagg.UsageError: other metrics than the round's.
            protocols.RemoteProtocolError: the server speaks of another model (rule C20).
        """
        entry = self._session(name)
        contribution = entry.session.prepare(update, weight, metrics=metrics)
        frames = tuple(entry.session.submit(contribution, model_hash))
        return Parcel(name, entry.client, frames), contribution.saturated

    def save(self) -> None:
        """Write every open round to the store, and take those that are over out of it."""
        for name, entry in self._open.items():
            if entry.session.over:
                self._forget(name)
            else:
                self._store[f"{name}/state"] = entry.session.snapshot()
        self._open.clear()
        kept = [key.removesuffix("/state") for key in self._store if key.endswith("/state")]
        for name in kept[:-KEPT_ROUNDS]:
            self._forget(name)

    def _begin(self, parcel: Parcel) -> ClientSession:
        if f"{parcel.round}/state" in self._store:
            raise UsageError(f"round {parcel.round!r} was proposed before")
        config = read_proposal(parcel.proposal)
        if self._privacy is not None and config.privacy is None:
            raise UsageError("this site takes part in private rounds only, and the round that is proposed is not one")
        if self._policy.task is None:
            check_grid(config)
        session = ClientSession(
            config,
            parcel.client,
            policy=self._policy,
            identity=self._identity,
            ledger=self._ledger,
            privacy=self._privacy,
        )
        self._store[f"{parcel.round}/proposal"] = parcel.proposal.encode()
        self._store[f"{parcel.round}/client"] = str(parcel.client).encode()
        self._open[parcel.round] = _Open(session, parcel.client)
        return session

    def _session(self, name: str) -> _Open:
        if name not in self._open:
            if f"{name}/state" not in self._store:
                raise UsageError(f"this site does not know round {name!r}: it was never proposed, or is over")
            client = int(self._store[f"{name}/client"])
            session = ClientSession.restore(
                self.config(name), client, self._store[f"{name}/state"], ledger=self._ledger, privacy=self._privacy
            )
            self._open[name] = _Open(session, client)
        return self._open[name]

    def config(self, name: str) -> RoundConfig:
        """Return the configuration of an open round."""
        return read_proposal(self._store[f"{name}/proposal"].decode())

    def _forget(self, name: str) -> None:
        for part in ("state", "proposal", "client"):
            self._store.pop(f"{name}/{part}", None)
