"""Layout: named arrays to one flat vector, and back with container, dtypes and shapes kept.

A layout is public: names, shapes and types, never values. All sites of a round use the same one; it decides which
coordinate means what, and its `Layout.config` is hashed into the round by whoever runs it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from quant.checks import whole_number
from quant.errors import ConfigurationError, InputError
from quant.leaves import (
    COUNTED,
    FLOAT_MAX,
    Path,
    build,
    check_range,
    dtype_name,
    like_leaf,
    path_name,
    rebuild,
    to_dtype,
    to_numpy,
    walk,
)
from quant.vectors import FloatVector, as_vector

Update = Any
"""An array or tensor, or lists, tuples and mappings of them (such as a torch ``state_dict``)."""

MAX_SIZE = 2**40
KINDS = ("dict", "list", "tuple")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One averaged array: its path in the update, shape, and dtype by name (``bfloat16``, ``float16``, ...)."""

    path: Path
    shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        """Refuse what no array can be."""
        if self.dtype not in FLOAT_MAX:
            known = ", ".join(FLOAT_MAX)
            raise ConfigurationError(f"{self.name!r} is of type {self.dtype}; only {known} can be averaged")
        for length in self.shape:
            whole_number(length, f"a length of {self.name!r}", 0, MAX_SIZE)

    @property
    def name(self) -> str:
        """The keys of the path, joined by dots."""
        return path_name(self.path)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """Which leaf of an update lies where in the flat vector.

    Leaves lie one after the other in the order of the update that the layout was made of, each in C order. Integer and
    boolean leaves, and leaves outside of ``include``, are never averaged: ``excluded`` names them.
    """

    leaves: tuple[Leaf, ...]
    excluded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an empty layout, and names that stand for two leaves."""
        names = [*self.names, *self.excluded]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigurationError(f"two leaves are called {twice!r}; rename one")
        _check_tree(self.leaves)
        if not self.leaves or self.dim == 0:
            raise ConfigurationError("the layout has no coordinates: no leaf, or only empty ones, would be averaged")
        whole_number(self.dim, "the dimension of the layout", 1, MAX_SIZE)

    @classmethod
    def of(cls, update: Update, include: str | Sequence[str] | None = None) -> "Layout":
        """Describe an update: a flat or shaped array, or lists, tuples and dicts of arrays or tensors, nested at will.

        Args:
            update: numpy arrays or torch tensors, on any device; only dtypes and shapes are read.
            include: one or more shell patterns on names, such as ``head.*``; None for every leaf. Patterns see case.

        Raises:
            InputError: no float leaf, a leaf of another kind (complex, text), keys that are no text.
            ConfigurationError: ``include`` matches no float leaf, or two leaves have the same name.
        """
        patterns = [include] if isinstance(include, str) else include
        leaves, excluded = [], []
        for path, leaf in walk(update):
            name, dtype = path_name(path), dtype_name(leaf)
            if dtype.startswith(COUNTED) or not _included(name, patterns):
                excluded.append(name)
                continue
            if dtype not in FLOAT_MAX:
                raise InputError(f"{name!r} is of type {dtype}; only {', '.join(FLOAT_MAX)} can be averaged")
            leaves.append(Leaf(path, tuple(int(length) for length in leaf.shape), dtype))
        if not leaves and patterns is not None:
            shown = ", ".join(excluded[:8]) + (", ..." if len(excluded) > 8 else "")
            raise ConfigurationError(f"include={include!r} matches no float leaf; the update has: {shown or 'none'}")
        if not sum(leaf.size for leaf in leaves):
            raise InputError("the update is empty: it has no coordinates of a float type")
        return cls(tuple(leaves), tuple(excluded))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the averaged leaves, in order."""
        return tuple(leaf.name for leaf in self.leaves)

    @property
    def dim(self) -> int:
        """Number of coordinates of the flat vector."""
        return sum(leaf.size for leaf in self.leaves)

    @property
    def dtype(self) -> "np.dtype[np.float32] | np.dtype[np.float64]":
        """Type of the flat vector: float64 if any averaged leaf is, else float32."""
        wide = any(leaf.dtype == "float64" for leaf in self.leaves)
        return np.dtype(np.float64) if wide else np.dtype(np.float32)

    def flatten(self, update: Update, *, refuse: bool = True) -> FloatVector:
        """Copy the averaged leaves into one new vector of shape (dim,) and type ``dtype``; excluded ones are ignored.

        Other float types than the layout's are converted. Exact unless a float64 leaf meets a float32 layout, which
        rounds to nearest. Byte order and strides do not matter. Never warns.

        Args:
            update: of this layout.
            refuse: whether values can be refused. If not, NaN and infinity stay, and so does what is beyond float32 in
                a float32 layout, as infinity: for callers whose errors must not depend on data.

        Raises:
            InputError: other names or shapes than the layout (naming the first), a leaf that is not of a float type,
                NaN or infinity (naming the leaf and how many), or a value beyond float32 in a float32 layout.
        """
        found = self._match(update)
        vector = np.empty(self.dim, self.dtype)
        for leaf, run in self._runs():
            values = to_numpy(found[leaf.name], leaf.name)
            if refuse:
                check_range(values, self.dtype.name, leaf.name)
            with np.errstate(under="ignore", over="ignore"):
                vector[run].reshape(leaf.shape)[...] = values
        return vector

    def unflatten(self, vector: FloatVector, like: Update = None) -> Update:
        """Give the update that a vector of shape (dim,) stands for, with the shapes and dtypes of the layout.

        With ``like`` (an update of this layout) the result has its containers, frameworks, dtypes and devices, and the
        excluded leaves are the very objects in ``like``. Without, it has plain dicts, lists and tuples of numpy
        arrays (float32 where the layout says bfloat16), of the averaged leaves only. Values are rounded to the dtype.

        Raises:
            InputError: a vector that is not of shape (dim,) or not finite, a ``like`` of another layout, or a value
                beyond the range of its leaf's type.
        """
        vector = as_vector(vector, self.dim)
        if like is None:
            arrays = ((leaf, vector[run].reshape(leaf.shape)) for leaf, run in self._runs())
            return build([(leaf.path, to_dtype(values, leaf.dtype, leaf.name)) for leaf, values in arrays])
        found = self._match(like)
        new = {
            leaf.name: like_leaf(vector[run].reshape(leaf.shape), found[leaf.name], leaf.name)
            for leaf, run in self._runs()
        }
        return rebuild(like, new)

    def config(self) -> dict[str, object]:
        """Give the public description, JSON-able: equal if and only if the layouts are."""
        leaves = [
            {"path": [list(part) for part in leaf.path], "shape": list(leaf.shape), "dtype": leaf.dtype}
            for leaf in self.leaves
        ]
        return {"leaves": leaves, "excluded": list(self.excluded)}

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "Layout":
        """Read what ``config`` gave, strictly; also from JSON of somebody else.

        Raises:
            ConfigurationError: anything that ``config`` would not have written.
        """
        try:
            entries: Any = config["leaves"]
            excluded: Any = config["excluded"]
            leaves = tuple(_read_leaf(entry) for entry in entries)
            layout = cls(leaves, tuple(str(name) for name in excluded))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(f"not the description of a layout: {error}") from error
        if layout.config() != dict(config):
            raise ConfigurationError("not the description of a layout: unknown keys or another form")
        return layout

    def _runs(self) -> Iterator[tuple[Leaf, slice]]:
        """Every leaf with the stretch of the vector that it fills."""
        start = 0
        for leaf in self.leaves:
            yield leaf, slice(start, start + leaf.size)
            start += leaf.size

    def _match(self, update: Update) -> dict[str, Any]:
        """Give the averaged leaves of ``update`` by name, if it is an update of this layout."""
        found: dict[str, Any] = {}
        known = {*self.names, *self.excluded}
        for path, node in walk(update):
            name = path_name(path)
            if name in found:
                raise InputError(f"the update has two leaves called {name!r}")
            if name not in known:
                raise InputError(f"the update has a leaf {name!r} that the layout does not know")
            found[name] = node
        for leaf in self.leaves:
            if leaf.name not in found:
                raise InputError(f"the update lacks the leaf {leaf.name!r}")
            shape, dtype = tuple(found[leaf.name].shape), dtype_name(found[leaf.name])
            if shape != leaf.shape:
                raise InputError(f"{leaf.name!r} has shape {shape}, the layout says {leaf.shape}")
            if dtype not in FLOAT_MAX:
                raise InputError(f"{leaf.name!r} is of type {dtype}, the layout says {leaf.dtype}")
        return found


def _included(name: str, patterns: Sequence[str] | None) -> bool:
    """Whether a leaf is asked for."""
    return patterns is None or any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_tree(leaves: Sequence[Leaf]) -> None:
    """Refuse paths that no single update can have: a leaf that is also a container, or a container of two kinds."""
    kinds: dict[tuple[str, ...], str] = {}
    for leaf in leaves:
        keys = tuple(key for _, key in leaf.path)
        for depth, kind in enumerate([*(kind for kind, _ in leaf.path), "leaf"]):
            if kinds.setdefault(keys[:depth], kind) != kind:
                raise ConfigurationError(f"{'.'.join(keys[:depth]) or 'the update'!r} is two things at once")


def _read_leaf(entry: Any) -> Leaf:
    """Read one leaf of a description; `Layout.from_config` compares with what would be written."""
    path = tuple((kind, key) for kind, key in entry["path"])
    for kind, key in path:
        if kind not in KINDS or not isinstance(key, str):
            raise ValueError(f"{(kind, key)!r} is no step of a path")
    return Leaf(path, tuple(entry["shape"]), str(entry["dtype"]))
