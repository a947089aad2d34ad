"""Flower's ``Grid`` in one process: real messages, serialized both ways, real ``ClientApp``s, real contexts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from types import SimpleNamespace

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

logging.getLogger("flwr").setLevel(logging.ERROR)

Vanishes = Callable[[int, int, Message], bool]
"""Whether a node's answer gets lost: (number of the exchange, node, message)."""


class LocalGrid(Grid):
    """Nodes 101, 102, ... that run ``app``.

    Attributes:
        exchanges: the messages of every exchange that carried any, with their answers.
        contexts: of every node; ``node_config["partition-id"]`` counts from 0.
    """

    def __init__(self, app: ClientApp, nodes: int, vanishes: Vanishes = lambda exchange, node, message: False) -> None:
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 7, 1  # the server app's
        self.app = app
        self.vanishes = vanishes
        self.exchanges: list[tuple[list[Message], list[Message]]] = []
        self.contexts = {
            101 + place: Context(7, 101 + place, {"partition-id": place, "num-partitions": nodes}, RecordDict(), {})
            for place in range(nodes)
        }

    def set_run(self, run: object) -> None: ...

    @property
    def run(self) -> SimpleNamespace:  # type: ignore[override]
        return SimpleNamespace(run_id=7)

    def create_message(self, *args: object, **more: object) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        return list(self.contexts)

    def get_nodes(self) -> list[object]:  # type: ignore[override]
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        raise NotImplementedError

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        sent = list(messages)
        if not sent:
            return []
        number = len(self.exchanges)
        replies = [self._deliver(message) for message in sent if not self._lost(number, message)]
        self.exchanges.append((sent, replies))
        return replies

    def _lost(self, number: int, message: Message) -> bool:
        return self.vanishes(number, message.metadata.dst_node_id, message)

    def _deliver(self, message: Message) -> Message:
        arrived = message_from_proto(message_to_proto(message))
        node = message.metadata.dst_node_id
        try:
            reply = self.app(arrived, self.contexts[node])
        except Exception as error:  # noqa: BLE001  what Flower's runtime does with an app that raises
            reply = Message(Error(code=2, reason=str(error)), reply_to=arrived)
        return message_from_proto(message_to_proto(reply))
