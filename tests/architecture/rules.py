"""The rules of the tree, each a pure function from one module to its violations.

The tables at the top are the architecture; the functions below only read them. To add a rule: write a
function ``(Module) -> Iterator[Violation]``, add it to ``RULES``, and plant one violation of it in
``test_rules.py``.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("protocols", "quant", "secagg")

# --- who may import what --------------------------------------------------------------------------

OS_RANDOMNESS = frozenset({"os", "secrets", "uuid"})
IMPURE = OS_RANDOMNESS | {
    *("asyncio", "http", "select", "selectors", "socket", "socketserver", "ssl", "urllib"),
    *("concurrent", "multiprocessing", "signal", "subprocess", "threading"),
    *("datetime", "time"),
    *("glob", "logging", "pathlib", "shutil", "sqlite3", "tempfile"),
    "random",
}


@dataclass(frozen=True)
class Room:
    """What the modules below one dotted prefix may import.

    The longest prefix wins; the standard library is free.

    Args:
        may: prefixes from outside the standard library, our own packages included.
        never: prefixes that are refused even so.
        lazily: prefixes that are welcome inside functions only.
    """

    may: frozenset[str]
    never: frozenset[str] = frozenset()
    lazily: frozenset[str] = frozenset()


NUMERIC = frozenset({"numpy", "quant"})
CRYPTO = frozenset({"numpy", "cryptography", "msgspec", "protocols"})
PRODUCT = NUMERIC | CRYPTO | {"typer", "rich", "secagg"}
SERVER = frozenset({"starlette", "uvicorn", "jinja2", "markupsafe", "prometheus_client"})
ADAPTERS = frozenset({"secagg.integrations"})


def _adapter(name: str, *frameworks: str) -> Room:
    """An adapter sees its own framework and the product, but no other adapter."""
    others = {f"secagg.integrations.{other}" for other in FRAMEWORKS if other != name}
    return Room(PRODUCT.union(frameworks), never=frozenset(others))


# What the benchmarks measure against, where it is installed.
PEERS = frozenset({"flwr", "tenseal", "fedbiomed", "opendp"})

# Adapter -> the framework it adapts. An adapter is a module or a folder of this name.
FRAMEWORKS = {
    "flower": ("flwr",),
    "nvflare": ("nvflare",),
    "ray": ("ray",),
    "torch_updates": ("torch",),
    "opacus": ("opacus", "torch"),
}

ROOMS = {
    "quant": Room(NUMERIC, never=IMPURE),
    "quant.streams": Room(NUMERIC, never=IMPURE - OS_RANDOMNESS),
    "protocols": Room(CRYPTO, never=IMPURE),
    "protocols.entropy": Room(CRYPTO, never=IMPURE - OS_RANDOMNESS),
    # Shared by all families, so it knows none of them.
    "protocols.primitives": Room(CRYPTO, never=IMPURE | {"protocols.pairwise"}),
    "secagg": Room(PRODUCT, never=ADAPTERS),
    "secagg.plots": Room(PRODUCT | {"matplotlib"}, never=ADAPTERS),
    "secagg.cli": Room(PRODUCT, lazily=ADAPTERS),
    "secagg.demo": Room(PRODUCT | {"torch", "sklearn", "matplotlib"}, never=ADAPTERS),
    "secagg.attack": Room(PRODUCT, never=ADAPTERS | {"secagg.coordinator", "secagg.site"}),
    "secagg.attack.inversion": Room(PRODUCT | {"torch"}, never=ADAPTERS, lazily=frozenset({"torch"})),
    "secagg.bench": Room(PRODUCT | {"matplotlib"} | PEERS, never=ADAPTERS, lazily=PEERS),
    "secagg.plan": Room(PRODUCT | {"optuna"}, never=ADAPTERS, lazily=frozenset({"optuna"})),
    # Accounts for what others do, and depends on none of them: a site's budget must not hang on a framework.
    "secagg.privacy": Room(CRYPTO | NUMERIC | {"secagg.privacy", "secagg.errors"}, never=ADAPTERS),
    "secagg.study": Room(PRODUCT | {"safetensors"}, never=ADAPTERS | {"secagg.coordinator", "secagg.site"}),
    # The two ends of a wire meet on the wire only: in what these two rooms say of it.
    "secagg.transport": Room(PRODUCT, never=ADAPTERS | {"secagg.coordinator", "secagg.site"}),
    "secagg.coordinator": Room(PRODUCT | SERVER, never=ADAPTERS | {"secagg.site"}),
    "secagg.site": Room(PRODUCT, never=ADAPTERS | {"secagg.coordinator"}),
    # An auditor does not trust the code it audits: of secagg it sees the form of records only, of protocols the
    # primitives, the parameters and the arithmetic of graphs, of privacy the accountant and nothing that a site decides
    # with. It computes the rest itself.
    "secagg.audit": Room(
        NUMERIC
        | {"msgspec", "protocols.primitives", "protocols.suites"}
        | {"protocols.pairwise.params", "protocols.pairwise.finder"}
        | {"rich", "typer", "secagg.audit", "secagg.errors", "secagg.theme"}
        | {"secagg.transcript.records", "secagg.transcript.receipts"}
        | {f"secagg.privacy.{name}" for name in ("calibration", "errors", "mechanism", "sensitivity", "shared")}
    ),
    "secagg.integrations": Room(PRODUCT),
    **{f"secagg.integrations.{name}": _adapter(name, *FRAMEWORKS[name]) for name in FRAMEWORKS},
}

# --- who may do what ------------------------------------------------------------------------------

# All else draws from a cryptographic stream. These two make inputs, never masks, keys, dither or noise.
SYNTHETIC_DATA = {
    "secagg.demo": "--seed fixes how the patients are split over the sites and the batches shuffled",
    "secagg.bench": "made-up updates, vectors whose mean is estimated, share points of a cohort too large to run",
    "secagg.attack": "made-up updates of a rehearsal, and the data that an attacker tries to find again",
    "secagg.simulate": "--seed fixes the synthetic vectors and the drop-out schedule",
}
MAY_DRAW_FROM_OS = ("protocols.entropy", "quant.streams")
MAY_PRINT = ("secagg.cli", "secagg.__main__")
UNSAFE_LOADERS = ("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib")
BANNED_NAMES = {
    *("util", "utils", "helper", "helpers", "common", "manager", "managers"),
    *("misc", "handler", "handlers", "core"),
}
MAX_LINES = 400


class Violation(NamedTuple):
    """One broken rule, printed as ``module:line: what``."""

    module: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.what}"


@dataclass(frozen=True)
class Module:
    """One source file under its dotted name; ``is_package`` for an ``__init__.py``."""

    name: str
    source: str
    is_package: bool = False
    tree: ast.Module = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tree", ast.parse(self.source, self.name))

    def violation(self, node: ast.AST | int, what: str) -> Violation:
        return Violation(self.name, node if isinstance(node, int) else getattr(node, "lineno", 1), what)


class Import(NamedTuple):
    """One imported dotted name; ``lazy`` when it stands inside a function."""

    line: int
    target: str
    lazy: bool


def modules() -> list[Module]:
    """Every module of the three packages, as it stands on disk."""
    found = []
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found.append(Module(name, path.read_text(encoding="utf-8"), is_package))
    return found


def within(name: str, prefixes: frozenset[str] | dict[str, str] | tuple[str, ...]) -> bool:
    """Whether the dotted ``name`` is one of ``prefixes`` or lies below one."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def room_of(name: str) -> Room:
    return ROOMS[max((prefix for prefix in ROOMS if within(name, (prefix,))), key=len)]


def imports(module: Module) -> Iterator[Import]:
    """Every import statement at any depth, and ``import_module``/``__import__`` of a literal."""

    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            for target in _targets(module, child):
                yield Import(child.lineno, target, lazy)  # type: ignore[attr-defined]
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from visit(child, lazy or inside)

    return visit(module.tree, False)


def _targets(module: Module, node: ast.AST) -> list[str]:
    """The dotted names one node imports; ``from a import b`` gives ``a.b``, for ``b`` may be a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = module.name.split(".")
            kept = parts[: len(parts) - node.level + (1 if module.is_package else 0)]
            base = ".".join([*kept, *([node.module] if node.module else [])])
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and _called(node) in (
        "__import__",
        "import_module",
        "importlib.import_module",
    ):
        literal = node.args[0] if node.args else None
        known = isinstance(literal, ast.Constant) and isinstance(literal.value, str)
        return [literal.value if known else "<computed>"]  # type: ignore[union-attr,list-item]
    return []


def _called(call: ast.Call) -> str:
    return _dotted(call.func)


def _dotted(node: ast.AST) -> str:
    """``a.b.c`` for a chain of attributes on a name, otherwise the empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := _dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


# --- the rules ------------------------------------------------------------------------------------


def imports_follow_the_table(module: Module) -> Iterator[Violation]:
    room = room_of(module.name)
    for line, target, lazy in imports(module):
        root = target.split(".")[0]
        if target == "<computed>":
            yield module.violation(line, "imports a computed name, which no table can check")
        elif within(target, room.never):
            yield module.violation(line, f"must never import {target}")
        elif within(target, room.lazily) and not lazy:
            yield module.violation(line, f"may import {target} inside a function only")
        elif root not in sys.stdlib_module_names and not within(target, room.may):
            yield module.violation(line, f"may not import {target} (see ROOMS)")


def names_say_what_is_inside(module: Module) -> Iterator[Violation]:
    for word in module.name.split(".")[-1].split("_"):
        if word in BANNED_NAMES:
            yield module.violation(1, f"the name {word!r} says nothing; take the paper's noun or the phase")


def modules_are_short(module: Module) -> Iterator[Violation]:
    lines = len(module.source.splitlines())
    if lines > MAX_LINES:
        yield module.violation(lines, f"has {lines} lines, past {MAX_LINES} a module wants a second room")


def calls_are_safe(module: Module) -> Iterator[Violation]:
    pure = within(module.name, ("protocols", "quant"))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assert):
            yield module.violation(node, "assert vanishes under -O; raise a typed error")
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            yield module.violation(node, "bare except also swallows KeyboardInterrupt; name the error")
        elif isinstance(node, ast.Call):
            called = _called(node)
            if called in ("eval", "exec"):
                yield module.violation(node, f"{called}() runs data as code")
            elif called == "print" and not within(module.name, MAY_PRINT):
                yield module.violation(node, "print() outside the command line")
            elif called in ("open", "input") and pure:
                yield module.violation(node, f"{called}() does IO in a pure package")
    for line, target, _ in imports(module):
        if within(target, UNSAFE_LOADERS):
            yield module.violation(line, f"{target} runs what it loads")


def randomness_has_one_door(module: Module) -> Iterator[Violation]:
    """OS randomness through the named modules only; float generators for synthetic data only."""
    may_seed = within(module.name, SYNTHETIC_DATA)
    may_draw = within(module.name, MAY_DRAW_FROM_OS)
    numpys = {alias.asname or "numpy" for alias in _aliases(module, "numpy")}
    for line, target, _ in imports(module):
        if within(target, ("random", "numpy.random")) and not may_seed:
            yield module.violation(line, f"{target} is not a cryptographic stream (see SYNTHETIC_DATA)")
        if within(target, ("secrets", "os.urandom", "os.getrandom")) and not may_draw:
            yield module.violation(line, f"{target}: take an Entropy argument instead (see MAY_DRAW_FROM_OS)")
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Attribute):
            continue
        name = _dotted(node)
        if name in {f"{numpy}.random" for numpy in numpys} and not may_seed:
            yield module.violation(node, f"{name} is not a cryptographic stream (see SYNTHETIC_DATA)")
        if name in ("os.urandom", "os.getrandom") and not may_draw:
            yield module.violation(node, f"{name}: take an Entropy argument instead (see MAY_DRAW_FROM_OS)")
        if name.endswith((".generate_key", "PrivateKey.generate")) and not may_draw:
            yield module.violation(node, f"{name} asks the OS for randomness; use Entropy bytes")


def _aliases(module: Module, package: str) -> Iterator[ast.alias]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias for alias in node.names if alias.name == package)


RULES: tuple[Callable[[Module], Iterator[Violation]], ...] = (
    imports_follow_the_table,
    names_say_what_is_inside,
    modules_are_short,
    calls_are_safe,
    randomness_has_one_door,
)
