"""Which node is which client, and the exchange of parcels over Flower's ``Grid``."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from secagg.errors import UsageError
from secagg.integrations.flower import records
from secagg.integrations.parcel import Mail

LOG = logging.getLogger("secagg.flower")


class Cohort:
    """The nodes of a run under the protocol's client ids, which are from 1 to 65535 and stay the same.

    Args:
        grid: of the server app.
        timeout: seconds to wait for answers in the phases between training and sum.
        roster: whether ids are those of a roster, which nodes are asked for.

    Attributes:
        failures: (client, reason) of answers that were errors, in the present round.
    """

    def __init__(self, grid: Grid, timeout: float, *, roster: bool) -> None:
        self._grid = grid
        self._timeout = timeout
        self._roster = roster
        self._client_of: dict[int, int] = {}
        self._node_of: dict[int, int] = {}
        self.failures: list[tuple[int, str]] = []

    def clients(self, nodes: Iterable[int], message_type: str) -> tuple[int, ...]:
        """Return the client ids of nodes; with a roster, of those nodes that are members of it, asking new ones."""
        wanted = sorted(nodes)
        unknown = [node for node in wanted if node not in self._client_of]
        if self._roster and unknown:
            self.answers(self._grid.send_and_receive(self.questions(unknown, message_type), timeout=self._timeout))
        elif unknown:
            for node in unknown:
                self._learn(node, len(self._client_of) + 1)
        return tuple(sorted(self._client_of[node] for node in wanted if node in self._client_of))

    def strangers(self, nodes: Iterable[int]) -> list[int]:
        """Return the nodes that must be asked who they are; their answers may come with any others."""
        return [node for node in nodes if self._roster and node not in self._client_of]

    def questions(self, nodes: Iterable[int], message_type: str) -> list[Message]:
        """Return messages that ask nodes who they are."""
        return [_message(RecordDict({records.WHO: ConfigRecord()}), message_type, node) for node in nodes]

    def node(self, client: int) -> int:
        """Return the node behind a client id."""
        return self._node_of[client]

    def exchange(self, mail: Mail, message_type: str) -> Mail:
        """Send parcels and bring back the answers."""
        messages = []
        for client, parcels in mail.items():
            content = RecordDict()
            records.pack(content, parcels)
            messages.append(_message(content, message_type, self._node_of[client]))
        return self.answers(self._grid.send_and_receive(messages, timeout=self._timeout))

    def answers(self, replies: Iterable[Message]) -> Mail:
        """Read the parcels of replies, and who strangers are; a node that answers with an error has dropped out."""
        mail: Mail = {}
        for reply in replies:
            if self._failed(reply):
                continue
            if who := reply.content.config_records.get(records.WHO):
                member = who.get("member")
                if isinstance(member, int) and 0 < member < 1 << 16:
                    self._learn(reply.metadata.src_node_id, member)
                continue
            client = self._client_of.get(reply.metadata.src_node_id)
            if client is None:
                LOG.warning("node %d does not say which member it is", reply.metadata.src_node_id)
                continue
            try:
                mail[client] = records.unpack(reply.content)
                if failed := reply.content.config_records[records.PARCELS].get("failed"):
                    self.failures.append((client, str(failed)))
            except (KeyError, UsageError) as error:
                self.failures.append((client, str(error)))
        return mail

    def _failed(self, reply: Message) -> bool:
        if not reply.has_error():
            return False
        client = self._client_of.get(reply.metadata.src_node_id, 0)
        self.failures.append((client, reply.error.reason or "no reason given"))
        return True

    def _learn(self, node: int, client: int) -> None:
        if client in self._node_of or node in self._client_of:
            LOG.warning("node %d says it is member %d, and one of them is known already: it is left out", node, client)
            return
        self._client_of[node], self._node_of[client] = client, node


def _message(content: RecordDict, message_type: str, node: int) -> Message:
    return Message(content, dst_node_id=node, message_type=message_type)
