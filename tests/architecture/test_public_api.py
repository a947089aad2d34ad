"""Whatever ``__all__`` promises exists and is explained."""

import enum
import importlib
import inspect
import types
from collections.abc import Iterator

import pytest

from tests.architecture import rules

pytestmark = pytest.mark.fast


def unexplained(module: types.ModuleType) -> Iterator[str]:
    """Names in ``__all__`` that are missing, or are a class, function or module without its own docstring.

    Constants and type aliases cannot carry one.
    """
    for name in module.__all__:
        if not hasattr(module, name):
            yield f"{module.__name__}.{name} does not exist"
            continue
        value = getattr(module, name)
        can_explain = inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)
        if can_explain and not own_doc(value):
            yield f"{module.__name__}.{name} has no docstring"


def own_doc(value: object) -> str:
    """The docstring somebody wrote: what a dataclass or an enum generates for itself does not count."""
    doc = getattr(value, "__doc__", None) or ""
    if inspect.isclass(value):
        doc = vars(value).get("__doc__") or ""
        generated = doc.startswith(f"{value.__name__}(") or doc in (enum.Enum.__doc__, "An enumeration.")
        return "" if generated else doc
    return doc


def load(name: str) -> types.ModuleType:
    """Import a module of ours; skip when it belongs to an extra that is not installed here."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.split(".")[0] in rules.PACKAGES:
            raise
        pytest.skip(f"{name} needs {missing.name}, which is not installed")


NAMES = [module.name for module in rules.modules() if not module.name.endswith("__main__")]


@pytest.mark.parametrize("name", NAMES)
def test_public_names_exist_and_are_explained(name):
    module = load(name)
    assert module.__doc__, f"{name} has no docstring"
    if hasattr(module, "__all__"):
        assert list(unexplained(module)) == []
        assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("name", rules.PACKAGES)
def test_package_names_its_public_api(name):
    assert getattr(load(name), "__all__", ()), f"{name}/__init__.py must say what is public in __all__"


def test_types_see_what_is_public():
    """Type checkers read ``secagg.library``; who runs the code is given what ``__all__`` says."""
    library = load("secagg.library")
    assert {name for name in vars(library) if not name.startswith("_")} == set(load("secagg").__all__)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "planted.thing does not exist"),
        ("def thing(): ...", "planted.thing has no docstring"),
        ("class thing: ...", "planted.thing has no docstring"),
        ("class Base:\n    'Said.'\nclass thing(Base): ...", "planted.thing has no docstring"),
        (
            "import dataclasses\n@dataclasses.dataclass\nclass thing:\n    x: int",
            "planted.thing has no docstring",
        ),
        ("import enum\nclass thing(enum.Enum):\n    A = 1", "planted.thing has no docstring"),
        ("import msgspec\nclass thing(msgspec.Struct):\n    x: int", "planted.thing has no docstring"),
    ],
)
def test_planted_omission_is_seen(source, says):
    module = types.ModuleType("planted")
    module.__all__ = ["thing"]
    exec(source, vars(module))
    assert list(unexplained(module)) == [says]


@pytest.mark.parametrize("source", ["def thing():\n    'Said.'", "class thing:\n    'Said.'", "thing = 3"])
def test_explained_names_pass(source):
    module = types.ModuleType("planted")
    module.__all__ = ["thing"]
    exec(source, vars(module))
    assert list(unexplained(module)) == []
