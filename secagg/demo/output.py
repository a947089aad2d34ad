"""Files that are either whole or absent, in a folder that was tried before the work began."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from secagg.errors import UsageError


def check_writable(folder: Path) -> None:
    """Find out, leaving nothing behind, whether files can be written to ``folder`` (made later if it is missing).

    Raises:
        UsageError: they cannot; the text says why and what to do.
    """
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise UsageError(_refusal(folder, error)) from None


def write_whole(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write ``files`` (name to text, in UTF-8, or bytes) to ``folder``, making it if need be.

    All of them are on disk under temporary names before the first takes its own: a full disk or an interruption
    leaves files of an earlier run as they were, and nothing half-written.

    Raises:
        UsageError: the folder cannot be written to.
    """
    waiting: dict[Path, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}-", delete=False) as part:
                waiting[Path(part.name)] = folder / name
                part.write(content.encode() if isinstance(content, str) else content)
                part.flush()
                os.fsync(part.fileno())
        mode = 0o666 & ~_umask()
        for part_path, path in waiting.items():
            part_path.chmod(mode)  # temporary files are private; a report is as readable as any other file
            part_path.replace(path)
    except OSError as error:
        raise UsageError(_refusal(folder, error)) from None
    finally:
        for part_path in waiting:
            part_path.unlink(missing_ok=True)


@contextmanager
def staged(folder: Path | None, name: str) -> Iterator[Path | None]:
    """Give the path of a file to write while work goes on; it takes its name in ``folder`` when all went well.

    Gives ``None`` for no folder. After an error nothing is left behind.

    Raises:
        UsageError: the folder cannot be written to.
    """
    if folder is None:
        yield None
        return
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{name}-{os.getpid()}"
        part.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(_refusal(folder, error)) from None
    try:
        yield part
        part.replace(folder / name)
    finally:
        part.unlink(missing_ok=True)
        if made and not any(folder.iterdir()):
            folder.rmdir()


def _refusal(folder: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"cannot write to {str(folder)!r} ({reason}): name a folder that can be written to with --out"


def _umask() -> int:
    """Read the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
