"""Nothing committed speaks of the machine it was written on or of where packages were fetched from."""

import re
import subprocess

import pytest

from tests.architecture.rules import ROOT

pytestmark = pytest.mark.fast

# Written so that no pattern matches its own text.
BANNED = [
    (re.compile(r"(?<![\w.~$}-])/(?:root|home|Users|work|farm|opt|mnt)/\w"), "a path of one machine"),
    (re.compile(r"\b(?:pypi|pythonhosted|test\.pypi)\.(?:org|io)\b"), "a package registry"),
    (re.compile(r"\bdownload\.(?:pytorch)\.org\b"), "a package registry"),
    (
        re.compile(r"\b(?:registry|conda|deb|proxy)\.(?:npmjs|anaconda|debian|golang)\.org\b"),
        "a package registry",
    ),
    (re.compile(r"--(?:extra-)?index-url[ =]\S"), "the choice of a package registry"),
]


def misplaced_words(text: str) -> list[str]:
    return [
        f"line {number}: {what}: {match.group()!r}"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, what in BANNED
        for match in pattern.finditer(line)
    ]


def files_of_the_project() -> list[str]:
    """Tracked files, and those about to be: everything that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    return sorted({name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()})


def test_files_speak_of_the_project_only():
    names = files_of_the_project()
    assert "pyproject.toml" in names
    found = []
    for name in names:
        text = (ROOT / name).read_bytes().decode("utf-8", errors="replace")
        found += [f"{name} {words}" for words in misplaced_words(text)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "planted",
    [
        "see /" + "root/secagg/notes.md",
        "cd /" + "home/ann/secagg",
        "wheels in /" + "opt/wheels",
        "https://py" + "pi.org/project/secagg",
        "https://files.python" + "hosted.org/packages",
        "pip install torch --index-" + "url https://example.org",
        "https://download." + "pytorch.org/whl/cpu",
    ],
)
def test_planted_words_are_seen(planted):
    assert len(misplaced_words(planted)) == 1


@pytest.mark.parametrize(
    "said", ["ratio of up/down", "https://example.org/work/1", "~/secagg", "server/opt/x", "$HOME/x"]
)
def test_other_words_pass(said):
    assert misplaced_words(said) == []
