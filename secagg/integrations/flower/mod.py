"""The client side: a Flower mod between the messages of the server and the app of the researcher.

A mod rides in the researcher's app, so it protects a site from the server and not from the app: whoever writes the app
may leave it out. It declares masking; it cannot enforce it (see ``secagg/integrations/README.md``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from protocols import Secret
from protocols.pairwise import LocalPolicy
from protocols.primitives import signing
from secagg.config import RoundConfig
from secagg.errors import UsageError
from secagg.integrations.flower import records
from secagg.integrations.member import MemberRounds, own_ledger
from secagg.integrations.parcel import Parcel
from secagg.integrations.training import cut_weight
from secagg.privacy import SitePrivacy

LOG = logging.getLogger("secagg.flower")


class SecAggMod:
    """Masks what a ``ClientApp`` answers to train and evaluate messages, and does the protocol's other phases itself.

    Messages that do not ask for a masked answer are refused, but for queries: they are the app's own.

    Args:
        policy: what this site insists on; ``LocalPolicy()`` by default, ``adversary="active"`` and a roster where
            there is one.
        identity: gives the 32-byte Ed25519 secret of this site's identity on the roster, for rounds against an active
            server; called when it is needed, since secrets do not travel with an app.
        privacy: gives this site's privacy ledger and policy, called likewise; with it, the site takes part in private
            rounds only.
        folder: gives a folder of this site's own, outside of Flower, for its ledger of what it said. Flower itself runs
            two messages at once on one state, and may lose it: needed against an active server.

    Raises:
        UsageError: an active server, and no folder.
    """

    masked_by_the_site: ClassVar[bool] = False
    """Set by the site's launcher in the process of an app: what this app answers is masked there, so its mod stands by.

    No message of a server reaches it; an app that sets it itself could as well leave the mod out.
    """

    def __init__(
        self,
        policy: LocalPolicy | None = None,
        identity: Callable[[Context], Secret] | None = None,
        privacy: Callable[[Context], SitePrivacy] | None = None,
        folder: Callable[[Context], Path] | None = None,
    ) -> None:
        self._policy = policy or LocalPolicy()
        if self._policy.adversary == "active" and folder is None:
            raise UsageError(
                "an active server can ask twice at once, and Flower forgets what was said: give SecAggMod a folder"
            )
        self._identity = identity
        self._privacy = privacy
        self._folder = folder

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Handle one message of the server.

        Raises:
            UsageError: a message that asks for an answer in clear, or an answer that cannot be masked.
            protocols.RemoteProtocolError: the policy refuses the round, or the server broke a rule.
        """
        if self.masked_by_the_site:
            return call_next(message, context)
        if records.WHO in message.content.config_records:
            return self._introduce(message, context)
        parcels = records.unpack(message.content)
        if not parcels:
            return self._outside(message, context, call_next)
        identity = None if self._identity is None else self._identity(context)
        privacy = None if self._privacy is None else self._privacy(context)
        with own_ledger(None if self._folder is None else self._folder(context)) as ledger:
            rounds = MemberRounds(records.RecordStore(context.state), self._policy, identity, privacy, ledger)
            return self._answer(rounds, parcels, message, context, call_next)

    def _answer(
        self,
        rounds: MemberRounds,
        parcels: list[Parcel],
        message: Message,
        context: Context,
        call_next: ClientAppCallable,
    ) -> Message:
        answers = rounds.answer_all(parcels)
        failed = False
        for place, parcel in enumerate(parcels):
            if rounds.waiting(parcel.round):
                try:
                    self._check_run(message, context)
                    answers[place] = _masked(rounds, parcel.round, message, context, call_next)
                except Exception:
                    # The site leaves this round, not the next one. What went wrong, down to the kind of error, may tell
                    # of data: it stays here.
                    LOG.exception("round %s goes on without this site", parcel.round)
                    failed = True
        rounds.save()
        content = RecordDict()
        records.pack(content, answers, **({"failed": "no update"} if failed else {}))
        return Message(content, reply_to=message)

    def _check_run(self, message: Message, context: Context) -> None:
        """Refuse another configuration of the run than the other sites have; the text is bound into the masks."""
        text = message.content.config_records[records.PARCELS].get("run-config")
        if text is None and self._policy.adversary == "active" and context.run_config:
            raise UsageError("the server does not name the run's configuration: give SecAgg run_config")
        if text is not None and text != records.config_text(context.run_config):
            raise UsageError("the server names another configuration of the run than this site was given")

    def _introduce(self, message: Message, context: Context) -> Message:
        """Tell the server which member of the roster this node is; signatures will prove it."""
        if self._identity is None or self._policy.roster is None:
            raise UsageError(
                "the server wants members of a roster: give SecAggMod an identity and a policy with a roster"
            )
        key = signing.public_key(self._identity(context).reveal())
        ids = [client for client, known in self._policy.roster.members if known == key]
        if not ids:
            raise UsageError("this node's identity is not on the roster of its policy")
        return Message(RecordDict({records.WHO: ConfigRecord({"member": ids[0]})}), reply_to=message)

    @staticmethod
    def _outside(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if message.metadata.message_type.split(".")[0] == "query":
            return call_next(message, context)
        raise UsageError("this site answers only inside secure sums: wrap the server's strategy with SecAgg")


def _masked(
    rounds: MemberRounds, name: str, message: Message, context: Context, call_next: ClientAppCallable
) -> Parcel:
    """Let the app train or evaluate, and mask what it answers."""
    received = message.content
    beside, config = received.config_records[records.PARCELS], rounds.config(name)
    told = {key: str(beside[key]) for key in records.TOLD if key in beside}
    message.content = records.without_parcels(received)
    asked = records.asked_hash(message.content, message.metadata.message_type, told)
    before = records.numpy_arrays(_only(message.content.array_records, "ArrayRecord", "message"))
    reply = call_next(message, context)
    message.content = received
    if reply.has_error():
        raise UsageError(f"the app answered with an error: {reply.error.reason}")
    numbers = _only(reply.content.metric_records, "MetricRecord", "reply")
    weight = None if config.max_weight is None else cut_weight(_weight(numbers, told["weight-key"]), config.max_weight)
    metrics = {key: _scalar(numbers, key) for key in config.metrics}
    for key in config.metric_grid.cut(metrics):
        LOG.warning("metric %r lies beyond its bound and was cut to it", key)
    if told["payload"] == "update":
        update = _difference(config, _only(reply.content.array_records, "ArrayRecord", "reply"), before)
    else:
        update = records.NOTHING
    parcel, saturated = rounds.contribute(name, update, asked, weight, metrics)
    if saturated:
        LOG.warning("%d coordinates lay beyond the range of the quantization and were cut to it", saturated)
    return parcel


def _difference(
    config: RoundConfig, after: ArrayRecord, before: dict[str, records.AnyArray]
) -> dict[str, records.AnyArray]:
    """Return what training changed, leaf by leaf of the layout: differences are small, and grids like small numbers."""
    update = {}
    for leaf in config.layout.leaves:
        if leaf.name not in after or after[leaf.name].shape != leaf.shape:
            raise UsageError(f"the app's answer lacks the array {leaf.name!r} of shape {leaf.shape}")
        update[leaf.name] = np.subtract(after[leaf.name].numpy(), before[leaf.name], dtype=config.layout.dtype)
    return update


def _only(found: Mapping[str, records.AnyRecord], kind: str, where: str) -> records.AnyRecord:
    """Return the one record of its kind."""
    if len(found) != 1:
        raise UsageError(f"a {where} inside a secure sum has one {kind}, not {len(found)}")
    return next(iter(found.values()))


def _weight(numbers: MetricRecord, key: str) -> int:
    value = _scalar(numbers, key)
    if value != int(value):
        raise UsageError(f"{key!r} must be a whole number, not {value}")
    return int(value)


def _scalar(numbers: MetricRecord, key: str) -> float:
    value = numbers.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"the app's MetricRecord needs a number {key!r}, not {value!r}")
    return value


secagg_mod = SecAggMod()
"""The mod of a site with the default policy: at least three inputs in a sum, a server that is curious."""
