"""A site's own training code: a Python function that secagg calls, and knows nothing else of."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import quant
from secagg.errors import UsageError
from secagg.privacy import PatientUpdates
from secagg.study.rounds import LOSS_SCALE
from secagg.study.weights import Weights


@dataclass(frozen=True)
class Context:
    """What a task is told besides the weights.

    Attributes:
        study: name of the study.
        site: this site's id.
        sites: ids of the sites invited to the round.
        round: number of the round, from 0.
        rounds: rounds of the study.
        options: the ``[task]`` table of the study, which all sites signed.
        progress: call it with a fraction from 0 to 1 to move the bars.
    """

    study: str
    site: int
    sites: tuple[int, ...]
    round: int
    rounds: int
    options: Mapping[str, Any]
    progress: Callable[[float], None] = field(default=lambda _: None, repr=False)


@dataclass(frozen=True)
class Task:
    """The functions of a task.

    Attributes:
        train: (weights, context) -> update, or (update, examples) in a study that weighs sites by their examples. The
            update is the change of the weights: names to numpy arrays or torch tensors. In a private study of unit
            patient it is ``PatientUpdates``, or (patient, update) pairs. In a study of kind analytics the function is
            (context) -> columns of rows.
        evaluate: (weights, context) -> ``{"examples": n, "correct": c, "loss": sum of losses}`` on validation data, or
            ``None`` if the task has none. Whole-study sums are all that leaves the site.
        initial: (options) -> weights, for the lead.
    """

    train: Callable[[Weights, Context], Any]
    evaluate: Callable[[Weights, Context], Mapping[str, float]] | None
    initial: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None


def call_initial(spec: str, home: Path, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run ``package.module:initial``, found from the folder ``home`` or the environment, and return its weights.

    Raises:
        UsageError: no such function.
    """
    _make_importable(home.resolve())
    try:
        made = pkgutil.resolve_name(spec)(options)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"cannot make the initial weights with {spec!r}: {error}") from None
    if not isinstance(made, Mapping):
        raise UsageError(f"{spec!r} returns a dict of names to arrays, not {type(made).__name__}")
    return made


def _make_importable(home: Path) -> None:
    if str(home) not in sys.path:
        sys.path.insert(0, str(home))


def load(spec: str) -> Task:
    """Find ``package.module:train``, from the present folder or the environment.

    ``evaluate`` and ``initial`` are taken from the same module if it has them.

    Raises:
        UsageError: no such module or function, or the module fails to load.
    """
    module, colon, name = spec.partition(":")
    if not colon or not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"write the task as package.module:function (such as task:train), not {spec!r}")
    here = Path.cwd()
    _make_importable(here)
    try:
        train = pkgutil.resolve_name(spec)
        evaluate, initial = (_optional(f"{module}:{part}") for part in ("evaluate", "initial"))
    except (ImportError, AttributeError) as error:
        raise UsageError(f"cannot load the task {spec!r} from {here}: {error}") from None
    if not callable(train):
        raise UsageError(f"{spec!r} is not a function")
    return Task(train, evaluate, initial)


def _optional(spec: str) -> Any:
    try:
        return pkgutil.resolve_name(spec)
    except AttributeError:
        return None


def counters(task: Task, weights: Weights, context: Context) -> dict[str, int]:
    """Validate ``weights`` on this site's data and return the round's counters; zeros without ``evaluate``.

    Raises:
        UsageError: ``evaluate`` returns something else than its three numbers.
    """
    if task.evaluate is None:
        return {"validated": 0, "correct": 0, "loss_millionths": 0}
    found = task.evaluate(weights, context)
    try:
        examples, correct, loss = int(found["examples"]), int(found["correct"]), float(found["loss"])
        millionths = round(loss * LOSS_SCALE)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise UsageError(f"evaluate returns numbers under 'examples', 'correct' and 'loss': {error!r}") from None
    return {"validated": examples, "correct": correct, "loss_millionths": millionths}


def private_contribution(task: Task, weights: Weights, context: Context, layout: quant.Layout, unit: str) -> Any:
    """Train in a private round: ``PatientUpdates`` for unit patient, else an update.

    Raises:
        UsageError: ``train`` returns something else.
    """
    result = task.train(weights, context)
    if unit != "patient":
        return result[0] if isinstance(result, tuple) else result
    if isinstance(result, PatientUpdates):
        return result
    try:
        return PatientUpdates.of(result, layout)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"with unit patient, train returns PatientUpdates, or pairs of a patient's id and update: {error}"
        ) from None


def columns(task: Task, context: Context) -> Any:
    """Return the site's rows for a study of kind analytics, where the task's function is called with the context."""
    found: Any = task.train
    return found(context)


def contribution(task: Task, weights: Weights, context: Context, max_examples: int | None) -> tuple[Any, int | None]:
    """Train, and return (update, weight); the weight is ``None`` in a study where all sites weigh the same.

    Raises:
        UsageError: no number of examples where one is needed, or more than the study allows.
    """
    result = task.train(weights, context)
    if not isinstance(result, tuple):
        if max_examples is not None:
            raise UsageError("this study weighs sites by their examples: train returns (update, examples)")
        return result, None
    if len(result) != 2:
        raise UsageError("train returns the update, or the pair (update, examples)")
    update, examples = result
    if max_examples is None:
        return update, None
    if not isinstance(examples, int) or not 0 <= examples <= max_examples:
        raise UsageError(f"train claims {examples!r} examples; the study allows whole numbers up to {max_examples}")
    return update, examples
