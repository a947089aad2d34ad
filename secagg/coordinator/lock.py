"""One coordinator per state folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from secagg.errors import UsageError


class StateLock:
    """Holds an advisory lock on ``folder`` for as long as the process lives; the kernel frees it when it dies.

    Raises:
        UsageError: another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UsageError(f"cannot use the state folder {folder}: {error.strerror or error}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise UsageError(
                f"another process works on {folder}: stop it first, two would contradict each other"
            ) from None

    def __enter__(self) -> StateLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let another process have the folder."""
        os.close(self._descriptor)
