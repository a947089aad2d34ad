"""Writes every vector, or checks that the files are what would be written: ``python -m tests.vectors.gen [--check]``.

With ``--check`` nothing is written; the exit code is 1 and the first difference is named if there is one. Vectors are
made by the library; that they are right is shown by the second implementation in ``tests/reference``, and each negative
one is replayed here, so that what it says is what happens.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.vectors import document as doc
from tests.vectors.cases import (
    bad_answers,
    bad_directory,
    bad_noise,
    bad_proposals,
    bad_shares,
    bad_survivors,
    bad_wire,
    rounds,
)
from tests.vectors.cases.scenes import SCENES, scene_document
from tests.vectors.library import Library
from tests.vectors.replay import replay

NEGATIVE = (bad_wire, bad_proposals, bad_directory, bad_shares, bad_survivors, bad_answers, bad_noise)


def documents() -> Iterator[tuple[str, doc.Document]]:
    """Every vector with the folder that it stands in."""
    for make in rounds.positive().values():
        yield "positive", make()
    for scene in SCENES:
        yield "scenes", scene_document(scene)
    for module in NEGATIVE:
        for case in module.cases():
            yield "negative", case.write()


def files() -> dict[Path, str]:
    """Every file of vectors, by its path."""
    found: dict[Path, str] = {}
    for folder, document in documents():
        path = doc.HERE / folder / f"{document['name']}.json"
        if path in found:
            raise ValueError(f"two vectors are named {document['name']}")
        found[path] = doc.dump(document)
        if folder == "negative":
            scene = json.loads(found[doc.HERE / "scenes" / f"{document['scene']}.json"])
            replay(doc.completed(json.loads(found[path]), scene), Library())
    return found


def first_difference(wanted: dict[Path, str]) -> str | None:
    """Say where the files first differ from ``wanted``; ``None`` if they do not."""
    there = {path for folder in ("positive", "scenes", "negative") for path in doc.paths(folder)}
    for path, text in sorted(wanted.items()):
        name = path.relative_to(doc.HERE)
        if path not in there:
            return f"{name} is missing"
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, (is_there, is_wanted) in enumerate(zip(lines, text.splitlines(), strict=False), 1):
            if is_there != is_wanted:
                return f"{name}, line {number}: {is_there.strip()[:100]} instead of {is_wanted.strip()[:100]}"
        if path.read_text(encoding="utf-8") != text:
            return f"{name} has another length"
    spare = sorted(there - wanted.keys())
    return f"{spare[0].relative_to(doc.HERE)} is no vector of the generator" if spare else None


def write(wanted: dict[Path, str]) -> None:
    for folder in ("positive", "scenes", "negative"):
        (doc.HERE / folder).mkdir(exist_ok=True)
        for path in doc.paths(folder):
            if path not in wanted:
                path.unlink()
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the test vectors.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 at the first difference")
    check = parser.parse_args(arguments).check
    wanted = files()
    if not check:
        write(wanted)
        print(f"{len(wanted)} vectors, {sum(map(len, wanted.values()))} characters")
        return 0
    difference = first_difference(wanted)
    print(difference or f"{len(wanted)} vectors are as generated")
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
