"""The child process of the launcher: the researcher's app, one message, one answer.

Standard input holds the app and what it is asked, standard output is for the answer alone. Whatever runs here is not
trusted: the launcher reads the answer as it would read a stranger's.
"""

from __future__ import annotations

import os
import sys

import msgspec
from flwr.cli.install import install_from_fab
from flwr.clientapp.utils import get_load_client_app_fn
from flwr.common.serde import context_from_proto, message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Context as ProtoContext
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.supercore.task_identity import TaskIdentity

from secagg.integrations.flower.mod import SecAggMod

if __name__ == "__main__":
    answer = os.dup(1)
    os.dup2(2, 1)  # what the app prints is no answer
    fab_id, version, fab_hash, fab, asked, told = msgspec.msgpack.decode(sys.stdin.buffer.read())
    SecAggMod.masked_by_the_site = True
    install_from_fab(fab, skip_prompt=True)
    app = get_load_client_app_fn(default_app_ref="", app_path=None, multi_app=True)(fab_id, version, fab_hash)
    context = context_from_proto(ProtoContext.FromString(told))
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 0, context.run_id, context.node_id
    reply = app(message_from_proto(ProtoMessage.FromString(asked)), context)
    with os.fdopen(answer, "wb") as out:
        out.write(msgspec.msgpack.encode(message_to_proto(reply).SerializeToString()))
