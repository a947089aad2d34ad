"""Where a site's state is, for one process at a time: two would say things twice."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from secagg.errors import UsageError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder``, which is made if it is missing, for this process alone.

    Raises:
        UsageError: another process holds it, or it cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(f"cannot use the state folder {folder}: {error.strerror or error}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another process works on {folder}: this site is running already") from None
        yield
    finally:
        os.close(descriptor)


def state_folder(study: Path, site: int, given: Path | None) -> Path:
    """Where a site's state is: the given folder, or one beside the study file."""
    return given or study.parent / f"site-{site}-state"
