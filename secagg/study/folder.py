"""The files of a study on disk: made from templates, and edited as text so that comments stay."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from protocols import Entropy
from secagg.errors import UsageError
from secagg.study import certificate, definition, identity, toml, weights
from secagg.study.definition import Study
from secagg.study.identity import PublicIdentity

NO_MODEL = "0" * 64


def template(file: str, /, **values: str) -> str:
    """Fill in one of the templates."""
    text = (resources.files("secagg.study") / "templates" / f"{file}.txt").read_text(encoding="utf-8")
    return Template(text).safe_substitute(values)


def create(folder: Path, name: str, url: str, entropy: Entropy) -> Study:
    """Write a study without members: study file, policy, task, coordinator's identity, certificate and its key.

    Raises:
        UsageError: a name or address that cannot be used, or files that exist already.
    """
    host = urlsplit(url).hostname
    if not host:
        raise UsageError(f"{url!r} is no address: give one such as https://coordinator.example.org:8443")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror or error}") from None
    if any((folder / file).exists() for file in ("study.toml", "coordinator.key", "tls.key")):
        raise UsageError(f"{folder} holds a study already: choose another folder")
    tls, tls_key = certificate.self_signed(host, entropy)
    filled = {"name": name, "url": url, "certificate": tls.decode(), "model": NO_MODEL}
    definition.parse(template("study.toml", coordinator_key=NO_MODEL, **filled))  # refuse before a file is written
    coordinator = identity.create(folder / "coordinator.key", f"coordinator of {name}"[:80], entropy)
    identity.write_new(folder / "tls.key", tls_key, mode=0o600)
    identity.write_new(folder / "tls.crt", tls, mode=0o644)
    for file in ("policy.toml", "task.py"):
        if not (folder / file).exists():
            identity.write_new(folder / file, template(file, **filled).encode(), mode=0o644)
    text = template("study.toml", coordinator_key=coordinator.key, **filled)
    identity.write_new(folder / "study.toml", text.encode(), mode=0o644)
    return definition.load(folder / "study.toml")


def add_site(path: Path, public: PublicIdentity, site: int | None = None) -> int:
    """Append a member to the study file and return its id.

    Raises:
        UsageError: the id, name or key is there already.
    """
    study = definition.load(path)
    chosen = site or max((0, *study.ids)) + 1
    text = path.read_text(encoding="utf-8")
    entry = f'\n[[site]]\nid = {chosen}\nname = "{public.name}"\nkey = "{public.key}"\n'
    _replace(path, text.rstrip("\n") + "\n" + entry)
    return chosen


def remove_site(path: Path, site: int) -> None:
    """Take a member out of the study file.

    Raises:
        UsageError: no such member.
    """
    if definition.load(path).member(site) is None:
        raise UsageError(f"there is no site {site} in {path}")
    text = path.read_text(encoding="utf-8")
    blocks = re.split(r"(?m)^(?=\[\[site\]\])", text)
    kept = [block for block in blocks if not re.search(rf"(?m)\A\[\[site\]\][^\[]*^id\s*=\s*{site}\s*$", block)]
    _replace(path, "".join(kept))


def set_model(path: Path, data: bytes) -> None:
    """Store the initial weights beside the study file and their hash in it.

    Raises:
        UsageError: the study file has no line ``sha256 = ...`` in ``[model]``.
    """
    study = definition.load(path)
    text = path.read_text(encoding="utf-8")
    line = toml.line_of(text, "model.sha256")
    if line is None:
        raise UsageError(f"{path} has no line sha256 in [model]")
    lines = text.splitlines(keepends=True)
    lines[line - 1] = f'sha256 = "{weights.digest(data).hex()}"\n'
    weights.write(path.with_name(study.model.initial), data)
    _replace(path, "".join(lines))


def _replace(path: Path, text: str) -> None:
    """Replace the study file, if the new text is a study."""
    definition.parse(text, str(path))
    try:
        weights.write(path, text.encode())
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
