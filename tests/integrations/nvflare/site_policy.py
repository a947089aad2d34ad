"""A site's ``privacy.json`` through FLARE's own loader and filter chain, against a job that wants weights in clear.

Prints one JSON object.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_constant import FilterKey, FLContextKey, ReservedTopic
from nvflare.apis.fl_context import FLContextManager
from nvflare.apis.fl_exception import UnsafeComponentError
from nvflare.apis.shareable import ReservedHeaderKey, Shareable
from nvflare.apis.utils.task_utils import apply_filters
from nvflare.apis.workspace import Workspace
from nvflare.app_common.widgets.component_path_authorizer import ComponentPathAuthorizer
from nvflare.private.fed.app.fl_conf import create_privacy_manager
from nvflare.private.privacy_manager import Scope

import quant
from secagg import RoundConfig
from secagg.integrations.letters import read_letters, write_letters
from secagg.integrations.nvflare.site_filter import LETTERS
from secagg.integrations.series import HostedRound

FILTER = {
    "path": "secagg.integrations.nvflare.site_filter.SecureSums",
    "args": {"min_clients": 4},
    "direction": "inout",
}
POLICY = {
    "scopes": [{"name": "hospital", "task_data_filters": [FILTER], "task_result_filters": [FILTER]}],
    "default_scope": "hospital",
}

ALLOWED = ["secagg.integrations.nvflare.classic.Silent", "nvflare.app_common.np.np_trainer.NPTrainer"]
RESOURCES = {"class_allow_list": ALLOWED, "allow_log_streaming": False}
BUILT_IN = [
    "nvflare.app_common.logging.job_log_streamer.JobLogStreamer",
    "nvflare.app_common.widgets.convert_to_fed_event.ConvertToFedEvent",
    "nvflare.app_common.ccwf.SwarmClientController",
]
"""They send past the filters, and FLARE's own list allows them to jobs that bring no code."""


def attempt(scope: Scope, task_data: Shareable) -> str:
    """Let a task through the site, whose executor answers with weights in clear, and say what leaves."""
    context = FLContextManager(identity_name="site-1", job_id="job").new_context()
    context.set_prop(FLContextKey.SCOPE_OBJECT, scope, private=True, sticky=False)
    try:
        apply_filters(Scope.TASK_DATA_FILTERS_NAME, task_data, context, {}, "train", FilterKey.IN)
        result = DXO(DataKind.WEIGHTS, data={"w": np.full(4, 0.25, np.float32)}).to_shareable()
        left = apply_filters(Scope.TASK_RESULT_FILTERS_NAME, result, context, {}, "train", FilterKey.OUT)
    except Exception as error:  # noqa: BLE001  FLARE's runner catches as widely
        return f"{type(error).__name__}: {error}"
    return ",".join(str(len(parcel.frames)) for parcel in read_letters(left[LETTERS])) + f" {sorted(left)}"


def to_another_site(scope: Scope) -> str:
    """Give a task to another site, with what was trained, as FLARE's swarm and cyclic workflows do."""
    context = FLContextManager(identity_name="site-1", job_id="job").new_context()
    context.set_prop(FLContextKey.SCOPE_OBJECT, scope, private=True, sticky=False)
    task = DXO(DataKind.WEIGHTS, data={"w": np.full(4, 0.25, np.float32)}).to_shareable()
    try:
        left = apply_filters(Scope.TASK_DATA_FILTERS_NAME, task, context, {}, "learn", FilterKey.OUT)
    except Exception as error:  # noqa: BLE001  FLARE's runner catches as widely
        return f"{type(error).__name__}: {error}"
    return str(sorted(left))


def components(folder: str, paths: list[str]) -> list[str]:
    """Which components FLARE lets a job without code of its own have here."""
    taken = []
    for path in paths:
        with contextlib.suppress(UnsafeComponentError):
            ComponentPathAuthorizer().authorize_component_config({"path": path}, workspace=Workspace(folder, "site-1"))
            taken.append(path.rsplit(".", 1)[1])
    return taken


def letter(clients: int, topic: str = "") -> Shareable:
    config = RoundConfig(tuple(range(1, clients + 1)), quant.Layout.of({"w": np.zeros(4, np.float32)}))
    data = DXO(DataKind.WEIGHTS, data={"w": np.zeros(4, np.float32)}).to_shareable()
    data[LETTERS] = write_letters(HostedRound("r", config).proposals()[1])
    if topic:  # as FLARE's aux channel sets it, over which sites reach each other
        data.set_header(ReservedHeaderKey.TOPIC, topic)
    return data


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for part in ("startup", "local"):
            (Path(folder) / part).mkdir()
        (Path(folder) / "local" / "privacy.json").write_text(json.dumps(POLICY))
        scope = create_privacy_manager(Workspace(folder, "site-1"), names_only=False).get_scope(None)
        in_clear = DXO(DataKind.WEIGHTS, data={"w": np.zeros(4, np.float32)}).to_shareable()
        (Path(folder) / "local" / "resources.json").write_text(json.dumps(RESOURCES))
        told = {
            "to another site": to_another_site(scope),
            "components": components(folder, [*ALLOWED, *BUILT_IN]),
            "in clear": attempt(scope, in_clear),
            "3 sites": attempt(scope, letter(3)),
            "5": attempt(scope, letter(5)),
            "of another site": attempt(scope, letter(5, ReservedTopic.DO_TASK)),
        }
        sys.stdout.write("\nREPORT " + json.dumps(told) + "\n")
