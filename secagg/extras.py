"""Packages that only some commands need: asked for before anything is begun, with the words that install them."""

from importlib.util import find_spec

from secagg.errors import UsageError


def require(what: str, extras: str, *packages: str) -> None:
    """Refuse unless every one of ``packages`` can be imported; none of them is loaded.

    Args:
        what: what needs them, such as ``secagg serve``.
        extras: the extras of this distribution that bring them, such as ``demo,server``.
        packages: top-level import names.

    Raises:
        UsageError: some are missing; it names them, and what to install.
    """
    if missing := [name for name in packages if find_spec(name) is None]:
        raise UsageError(
            f"{what} needs {', '.join(missing)}: pip install 'secagg[{extras}]' ('.[{extras}]' in a checkout)"
        )
