"""A Flower app: a CNN on digits, trained with and without secure sums.

Run as a program it goes through Flower's own simulation engine and prints one JSON object:

python -m tests.integrations.flower.digits_simulation [NODES] [ROUNDS]
"""

from __future__ import annotations

import json
import sys
import time

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import nn

from secagg.integrations.flower import SecAgg, secagg_mod
from tests.support.digits import accuracy, data, model

VANISHES = 1
"""Partition of the node that fails in every second round."""

app = ClientApp()


def train(message: Message, context: Context) -> Message:
    torch.set_num_threads(1)
    place, turn = context.node_config["partition-id"], message.content["config"]["server-round"]
    if place == VANISHES and turn % 2 == 0:
        raise RuntimeError("this hospital is closed")
    images, labels, order = data()
    mine = order[:1000][place :: context.node_config["num-partitions"]]
    net = model()
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.5)
    torch.manual_seed(turn)
    for _ in range(3):
        for batch in mine[torch.randperm(len(mine))].split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
    metrics = MetricRecord({"num-examples": len(mine), "train_loss": loss.item()})
    content = RecordDict({"arrays": ArrayRecord(net.state_dict()), "metrics": metrics})
    return Message(content, reply_to=message)


app.train(mods=[secagg_mod])(train)
app.train("plain")(train)


class InClear(FedAvg):
    """FedAvg whose messages go to the handler without the mod."""

    def configure_train(self, *args: object) -> list[Message]:
        messages = super().configure_train(*args)
        return [Message(each.content, each.metadata.dst_node_id, "train.plain") for each in messages]


def tested(arrays: ArrayRecord) -> float:
    net = model()
    net.load_state_dict(arrays.to_torch_state_dict())
    return accuracy(net)


def strategies(nodes: int) -> dict[str, FedAvg | SecAgg]:
    settings = {"fraction_evaluate": 0.0, "min_available_nodes": nodes, "min_train_nodes": nodes}
    metrics = {"train_loss": 5.0}
    return {"plain": InClear(**settings), "secure": SecAgg(FedAvg(**settings), max_examples=170, metrics=metrics)}


def compare(grid: Grid, nodes: int, rounds: int) -> dict[str, dict[str, object]]:
    """Train twice on one grid, without masks and with them."""
    report = {}
    for name, strategy in strategies(nodes).items():
        started = time.perf_counter()
        result = strategy.start(grid, ArrayRecord(model().state_dict()), num_rounds=rounds)
        report[name] = {
            "accuracy": tested(result.arrays),
            "rounds": sorted(result.train_metrics_clientapp),
            "seconds": time.perf_counter() - started,
        }
    return report


server = ServerApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    sys.stdout.write(json.dumps(compare(grid, *arguments())) + "\n")
    sys.stdout.flush()


def arguments() -> tuple[int, int]:
    """Nodes and rounds."""
    nodes, rounds = sys.argv[1:] if len(sys.argv) == 3 else ("6", "6")
    return int(nodes), int(rounds)


if __name__ == "__main__":
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0}}
    run_simulation(server, app, num_supernodes=arguments()[0], backend_config=resources)
