"""A function over a list as Ray tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import ray

from secagg.errors import UsageError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ray_map(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, in_flight: int | None = None
) -> Iterator[_Result]:
    """Run ``function`` over ``items``, one Ray task each, and give the results in order as they are wanted.

    Arrays of an item arrive in a worker as read-only views of Ray's shared memory. A task that fails because its worker
    died is run again by Ray, on the same item; it raises here if it fails for good.

    Args:
        function: of this project or of a module that workers can import.
        items: what it is called with; they are pickled, so they hold no ``Secret``.
        in_flight: tasks that wait or run at a time, which bounds memory; by default twice the cluster's processors.

    Raises:
        UsageError: Ray was not initialized, which chooses the cluster: call ``ray.init`` first.
    """
    cluster: Any = ray  # partly typed
    if not cluster.is_initialized():
        raise UsageError("there is no Ray cluster yet: call ray.init() first, which says which one")
    most = in_flight or 2 * max(1, int(cluster.cluster_resources().get("CPU", 1)))
    return _in_order(cluster.remote(function), iter(items), most)


def _in_order(task: Any, items: Iterator[Any], most: int) -> Iterator[Any]:
    """Keep ``most`` tasks under way; results are taken in order, and let go of at once."""
    waiting: list[Any] = []
    for item in items:
        waiting.append(task.remote(item))
        if len(waiting) >= most:
            yield ray.get(waiting.pop(0))
    while waiting:
        yield ray.get(waiting.pop(0))
