"""The weights of a study on the coordinator's disk: files named by their hashes, and the last and the best by name."""

from __future__ import annotations

from pathlib import Path

from secagg.study import weights


class Models:
    """A folder of weights.

    Args:
        folder: exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, model: bytes) -> Path:
        """Where the weights with this hash are."""
        return self._folder / f"{model.hex()}.safetensors"

    def keep(self, data: bytes) -> bytes:
        """Store weights durably and return their hash.

        Raises:
            OSError: the disk refuses.
        """
        model = weights.digest(data)
        weights.write(self.path(model), data)
        return model

    def keep_initial(self, data: bytes) -> bytes:
        """Store the weights that the study begins with, under their own name too, and return their hash."""
        weights.write(self._folder / "initial.safetensors", data)
        return self.keep(data)

    def name(self, last: bytes, best: bytes, *, for_good: bool) -> None:
        """Name the last and the best weights, and erase others that no later round needs.

        Args:
            last: hash of the present weights.
            best: hash of those that validated best.
            for_good: the study is over: make the names durable.
        """
        for name, model in (("last", last), ("best", best)):
            weights.name(self.path(model), self._folder / f"{name}.safetensors")
        kept = {self.path(model).name for model in (last, best)}
        kept |= {"initial.safetensors", "last.safetensors", "best.safetensors"}
        for path in self._folder.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)
        if for_good:
            weights.sync_folder(self._folder)
