"""Secure rounds of one purpose (training, evaluating) between the two halves of Flower's own loop.

Flower calls ``configure``, sends what it gets, and calls ``aggregate`` with the answers. The phases before are done in
``ask``, inside the former; those after it in ``sum``, inside the latter; and setting up the next round rides on both.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from flwr.app import Message, RecordDict, UserConfig
from flwr.serverapp import Grid

from protocols import SystemEntropy
from protocols.pairwise import Roster
from secagg.errors import RoundRefused, UsageError
from secagg.integrations.flower import records
from secagg.integrations.flower.cohort import Cohort
from secagg.integrations.parcel import Mail, Parcel, merge
from secagg.integrations.series import Configure, RoundSeries
from secagg.opened import Opened

LOG = logging.getLogger("secagg.flower")


Kind = Literal["train", "evaluate"]


class SecurePhases:
    """One purpose's rounds.

    Args:
        kind: Flower's message type; training sums updates and metrics, evaluating metrics alone.
        weight_key: under which metric the app says how many examples it used.
        configure: makes the configuration of a round.
        cohort: nodes and clients.
        roster: identities, against an active server.
        workers: threads that take off masks.
        ahead: set the next round up while the present one is running.
        run_config: of the run, which sites then compare with theirs.

    Attributes:
        series: the rounds.
    """

    def __init__(
        self,
        kind: Kind,
        weight_key: str,
        configure: Configure,
        cohort: Cohort,
        roster: Roster | None,
        workers: int,
        ahead: bool,
        run_config: UserConfig | None = None,
    ) -> None:
        self._told = {"payload": "update" if kind == "train" else "metrics", "weight-key": weight_key}
        if run_config is not None:
            self._told["run-config"] = records.config_text(run_config)
        self._type: str = kind
        self._cohort = cohort
        self._ahead = ahead
        self.series = RoundSeries(kind, configure, self._exchange, roster, workers)

    def ask(
        self, server_round: int, plain: Sequence[Message], grid: Grid, fraction: float, least: int, *, last: bool
    ) -> list[Message]:
        """Turn the messages that a strategy would send into those of a secure round.

        Args:
            server_round: Flower's number of the round.
            plain: what the strategy would send: the same content to some nodes.
            grid: to see who is connected.
            fraction: of the connected nodes that the next round is to have.
            least: nodes that the next round is to have at least.
            last: there is no next round.

        Raises:
            UsageError: the strategy tells different nodes different things.
            RoundRefused: too few clients took part in setting up.
        """
        content = _one_content(plain)
        self._type = plain[0].metadata.message_type  # it may name an action, such as "train.local"
        connected = list(grid.get_node_ids())
        nodes = {message.metadata.dst_node_id for message in plain}
        clients = self.series.keyed_for(server_round) or self._cohort.clients(nodes, self._type)
        self._cohort.failures.clear()
        requests = self.series.begin(server_round, clients, records.asked_hash(content, self._type, self._told))
        proposals: Mail = {}
        strangers = self._cohort.strangers(connected)
        if self._ahead and not last:
            following = _sample([node for node in connected if node not in strangers], fraction, least)
            proposals = self.series.prepare(server_round + 1, self._cohort.clients(following, self._type))
        return self._cohort.questions(strangers, self._type) + [
            self._message(client, parcels, content if client in requests else RecordDict())
            for client, parcels in merge(requests, proposals).items()
            if self._cohort.node(client) in connected
        ]

    def sum(self, replies: Iterable[Message]) -> Opened:
        """Take the answers to what ``ask`` gave, and run the round to its end.

        Raises:
            RoundRefused: too few clients stayed, or a rule was broken.
        """
        self.series.take(self._cohort.answers(replies))
        try:
            return self.series.finish()
        finally:
            for client, reason in self._cohort.failures:
                LOG.info("client %d dropped out: %s", client, reason)
            for client, reason in ({} if self.series.current is None else self.series.current.refused).items():
                LOG.warning("client %d was left out: %s", client, reason)

    def _message(self, client: int, parcels: Sequence[Parcel], content: RecordDict) -> Message:
        packed = RecordDict(dict(content.items()))
        records.pack(packed, parcels, **self._told)
        return Message(packed, dst_node_id=self._cohort.node(client), message_type=self._type)

    def _exchange(self, mail: Mail) -> Mail:
        return self._cohort.exchange(mail, self._type)


def _one_content(plain: Sequence[Message]) -> RecordDict:
    """Return what all nodes are told; sites that trained different models could not be added up."""
    if not plain:
        raise RoundRefused("the strategy asks no node")
    if any(message.content != plain[0].content for message in plain):
        raise UsageError("the strategy tells different nodes different things: a secure sum needs one model for all")
    return plain[0].content


def _sample(nodes: Sequence[int], fraction: float, least: int) -> list[int]:
    """Choose nodes for a round in the way of Flower's FedAvg, with randomness from the operating system."""
    size = min(max(int(len(nodes) * fraction), least), len(nodes))
    keys = np.frombuffer(SystemEntropy().take(16 * len(nodes), "sample"), dtype="<u8").reshape(-1, 2)
    return [nodes[place] for place in np.lexsort((keys[:, 0], keys[:, 1]))[:size]]
