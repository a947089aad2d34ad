"""Leaves: single arrays and tensors, read and written without importing their frameworks.

An update is an array, or lists, tuples and mappings of arrays, nested as deep as you like. A leaf is anything with a
``dtype``, a ``shape`` and a way to numpy: numpy arrays and scalars, torch tensors on any device (known by ``detach``),
arrays with ``__array__``. bfloat16, which numpy lacks, travels as float32, which holds all of it.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.errors import InputError

Path = tuple[tuple[str, str], ...]
"""Where a leaf lives: (container kind, key) from the outside in; kinds are ``dict``, ``list``, ``tuple``."""

FLOAT_MAX = {
    "bfloat16": (2 - 2.0**-7) * 2.0**127,
    "float16": 65504.0,
    "float32": float(np.finfo(np.float32).max),
    "float64": float(np.finfo(np.float64).max),
}
"""The float types of leaves, by the name that numpy and torch share, with their largest finite value."""

COUNTED = ("int", "uint", "bool")
"""How the names of types begin that are counters or masks: never averaged."""


def path_name(path: Path) -> str:
    """Join the keys of a path by dots; a bare array is called ``update``."""
    return ".".join(key for _, key in path) or "update"


def children(node: Any) -> tuple[str, Iterator[tuple[str, Any]]] | None:
    """Give (kind, named children) of a container; None for anything else."""
    if isinstance(node, Mapping):
        return "dict", iter(node.items())
    if isinstance(node, list | tuple):
        kind = "tuple" if isinstance(node, tuple) else "list"
        return kind, ((str(index), child) for index, child in enumerate(node))
    return None


def walk(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Give every leaf with its path, in the order of the containers.

    Raises:
        InputError: a key that is no text, or a value that is neither container nor array.
    """
    container = children(node)
    if container is None:
        if not hasattr(node, "dtype") or not hasattr(node, "shape"):
            raise InputError(
                f"{path_name(path)!r} is of type {type(node).__name__}; "
                "an update consists of arrays or tensors, in lists, tuples and dicts"
            )
        yield path, node
        return
    kind, items = container
    for key, child in items:
        if not isinstance(key, str):
            raise InputError(f"{path_name(path)!r} has the key {key!r}; keys of an update must be text")
        yield from walk(child, (*path, (kind, key)))


def dtype_name(leaf: Any) -> str:
    """Give the type of a leaf by the name that numpy and torch share, such as ``float32``, whatever its byte order."""
    name = getattr(leaf.dtype, "name", None) or str(leaf.dtype)
    return str(name).removeprefix("torch.")


def to_numpy(leaf: Any, name: str) -> NDArray[Any]:
    """Give a leaf as a numpy array in main memory; float types keep their width, bfloat16 becomes float32.

    Raises:
        InputError: a tensor without dense data (sparse, meta), or a masked array.
    """
    try:
        if hasattr(leaf, "detach"):
            tensor = leaf.detach().cpu()
            return np.asarray((tensor.float() if dtype_name(leaf) == "bfloat16" else tensor).numpy())
        if isinstance(leaf, np.ma.MaskedArray):
            raise TypeError("masked array: fill it first")
        return np.asarray(leaf)
    except (TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{name!r} cannot be read as a dense array: {reason}") from error


def like_leaf(values: NDArray[Any], leaf: Any, name: str) -> Any:
    """Give ``values`` (float64 or float32) as the kind of array that ``leaf`` is: framework, dtype, device.

    Raises:
        InputError: a value is beyond the range of the type of ``leaf``.
    """
    if hasattr(leaf, "new_tensor"):
        check_range(values, dtype_name(leaf), name)
        return leaf.new_tensor(values)
    return to_dtype(values, dtype_name(leaf), name)


def to_dtype(values: NDArray[Any], dtype: str, name: str) -> NDArray[Any]:
    """Give ``values`` as a numpy array of their own of the named type, or float32 for bfloat16.

    Raises:
        InputError: a value is beyond the range of that type.
    """
    check_range(values, dtype, name)
    with np.errstate(under="ignore"):
        return values.astype(np.float32 if dtype == "bfloat16" else np.dtype(dtype))


def check_range(values: NDArray[Any], dtype: str, name: str) -> None:
    """Refuse NaN, infinities, and what the named float type cannot hold; never warns.

    Raises:
        InputError: naming the leaf and how many values.
    """
    most = FLOAT_MAX[dtype]
    if not values.size:
        return
    with np.errstate(invalid="ignore"):
        if float(values.min()) >= -most and float(values.max()) <= most:  # false for NaN
            return
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise InputError(f"{name!r} holds {bad} values that are NaN or infinite, of {values.size}")
    beyond = int(np.count_nonzero(np.abs(values.astype(np.float64)) > most))
    raise InputError(f"{name!r} holds {beyond} values beyond the range of {dtype} (+-{most:g}), of {values.size}")


def build(items: Sequence[tuple[Path, Any]]) -> Any:
    """Build plain containers from leaves with their paths."""
    if not items[0][0]:
        return items[0][1]
    kind = items[0][0][0][0]
    groups: dict[str, list[tuple[Path, Any]]] = {}
    for path, leaf in items:
        groups.setdefault(path[0][1], []).append((path[1:], leaf))
    return _plain(kind, {key: build(group) for key, group in groups.items()})


def rebuild(node: Any, new: Mapping[str, Any], path: Path = ()) -> Any:
    """Copy the containers of ``node``, with the leaves of ``new`` by name and the rest passed through."""
    container = children(node)
    if container is None:
        return new.get(path_name(path), node)
    kind, items = container
    built = {key: rebuild(child, new, (*path, (kind, key))) for key, child in items}
    if isinstance(node, dict):
        copied = copy.copy(node)  # keeps OrderedDict, and what torch hangs on a state_dict
        copied.update(built)
        return copied
    if hasattr(node, "_make"):  # a named tuple
        return node._make(built.values())
    return _plain(kind, built)


def _plain(kind: str, built: dict[str, Any]) -> Any:
    """Give named children as the plain container of a kind."""
    if kind == "dict":
        return built
    return tuple(built.values()) if kind == "tuple" else list(built.values())
