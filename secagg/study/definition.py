"""``study.toml`` as a typed value: everything that the members of a consortium agree on and sign."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

import quant
from protocols import ParameterError
from protocols.pairwise import Roster, default_threshold
from protocols.pairwise.params import Adversary, Protocol
from secagg import analytics
from secagg.errors import UsageError
from secagg.study import toml
from secagg.study.fingerprint import fingerprint
from secagg.study.identity import HexKey, Name

Seconds = Annotated[float, Meta(gt=0, le=30 * 86400)]
LEAST_SITES = 3


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all tables of the file: closed and immutable."""


class About(Section, frozen=True, kw_only=True):
    """``[study]``: what it is called and where its coordinator is.

    Attributes:
        name: bound into every key and signature of every round.
        coordinator: HTTPS address, with a path if a reverse proxy serves it under one.
        coordinator_key: verification key of the coordinator's answers and receipts.
        certificate: PEM certificate that the coordinator must present; empty for one of a public authority.
        member: id of the site that runs the coordinator, or 0 for a third party.
    """

    name: Name
    coordinator: Annotated[str, Meta(max_length=300)]
    coordinator_key: HexKey
    certificate: Annotated[str, Meta(max_length=20000)] = ""
    member: Annotated[int, Meta(ge=0, lt=1 << 16)] = 0


class Protection(Section, frozen=True, kw_only=True):
    """``[protocol]``: whom the rounds withstand.

    Attributes:
        protocol: ``"secagg"`` (complete graph) or ``"secagg+"`` (sparse graph, for many sites).
        adversary: ``"active"``, the coordinator may deviate from the protocol, or ``"curious"``, it may not.
        colluders: how many sites may collude with the coordinator.
        threshold: least number of sites that must stay in a round; by default as `default_threshold` computes.
    """

    protocol: Protocol = "secagg"
    adversary: Adversary = "active"
    colluders: Annotated[int, Meta(ge=0, le=1 << 14)] = 1
    threshold: Annotated[int, Meta(ge=2, le=1 << 14)] | None = None


class Training(Section, frozen=True, kw_only=True):
    """``[training]``: the loop.

    Attributes:
        rounds: successful rounds until the study is finished.
        max_examples: largest number of examples one site may claim as its weight; absent: all sites weigh the same.
        patience: rounds without improvement after which the study stops; 0 for never.
        watch: what is to improve.
        min_sites: sites that must be there before a round begins.
        attempts: tries at one round before it is given up.
    """

    rounds: Annotated[int, Meta(ge=1, le=1_000_000)]
    max_examples: Annotated[int, Meta(ge=1, le=1 << 32)] | None = None
    patience: Annotated[int, Meta(ge=0)] = 0
    watch: Literal["loss", "accuracy"] = "loss"
    min_sites: Annotated[int, Meta(ge=LEAST_SITES)] = LEAST_SITES
    attempts: Annotated[int, Meta(ge=1, le=64)] = 4


class Privacy(Section, frozen=True, kw_only=True):
    """``[privacy]``: noise inside the sum, so that nobody learns of one patient (or site) by it.

    Grid, field width and noise are then chosen together: there is no ``[quantization]``.

    Attributes:
        epsilon: promised after all releases.
        delta: of the promise.
        unit: whose presence is hidden: every ``"patient"``'s, or every ``"site"``'s.
        clip: Euclidean norm of one patient's (or site's) contribution, model units.
        law: of the noise.
        width: bits of one coordinate on the wire.
        patients: how many the largest site has, a public estimate: it scales the range and the mean (accuracy only).
        releases: rounds in which data are used, lost ones included, after which the study ends; by default
            ``training.rounds``.
    """

    epsilon: Annotated[float, Meta(gt=0, le=1e6)]
    delta: Annotated[float, Meta(gt=0, lt=1)] = 1e-5
    unit: Literal["patient", "site"] = "patient"
    clip: Annotated[float, Meta(gt=0, le=1e9)] = 1.0
    law: Literal["skellam", "discrete gaussian"] = "skellam"
    width: Annotated[int, Meta(ge=2, le=56)] = 16
    patients: Annotated[int, Meta(ge=1, le=1 << 24)] = 100
    releases: Annotated[int, Meta(ge=1, le=1 << 20)] | None = None


class Deadlines(Section, frozen=True, kw_only=True):
    """``[deadlines]``, in seconds.

    Attributes:
        join: how long a round waits, once ``min_sites`` are there, for the others of the roster.
        train: how long sites may train in a round.
        phase: how long each later phase of a round may take.
    """

    join: Seconds = 60.0
    train: Seconds = 3600.0
    phase: Seconds = 60.0


class Model(Section, frozen=True, kw_only=True):
    """``[model]``: the weights that the study begins with.

    Attributes:
        initial: file name, beside the study file, of the initial weights (safetensors).
        sha256: hash of that file. In every round the hash of the weights is bound into masks and signatures.
    """

    initial: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")] = "initial.safetensors"
    sha256: HexKey


class Site(Section, frozen=True, kw_only=True):
    """``[[site]]``: one member."""

    id: Annotated[int, Meta(ge=1, lt=1 << 16)]
    name: Name
    key: HexKey


class Study(Section, frozen=True, kw_only=True, dict=True):
    """The whole file; refused at construction if it makes no study.

    Attributes:
        quantization: keys of ``quant.presets``.
        privacy: noise and budget; none for a study without.
        task: free options that reach every site's ``train`` function, signed with the rest.
        site: the members, at least three once the study runs.
    """

    study: About
    training: Training
    model: Model
    protocol: Protection = Protection()
    quantization: dict[str, Any] = {}
    privacy: Privacy | None = None
    deadlines: Deadlines = Deadlines()
    task: dict[str, Any] = {}
    site: tuple[Site, ...] = ()

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.name

    @property
    def analytics(self) -> bool:
        """Whether the study asks questions instead of training."""
        return self.task.get("kind") == "analytics"

    @property
    def ids(self) -> tuple[int, ...]:
        """The members' ids, ascending."""
        return tuple(sorted(site.id for site in self.site))

    def member(self, site: int) -> Site | None:
        """Return a member by its id."""
        return self._members.get(site)

    @cached_property
    def _members(self) -> dict[int, Site]:
        return {site.id: site for site in self.site}

    @cached_property
    def roster(self) -> Roster:
        """The members' identities as the protocol knows them."""
        return Roster(tuple((site.id, bytes.fromhex(site.key)) for site in sorted(self.site, key=lambda s: s.id)))

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the canonical JSON of all values: comments and order of the file do not matter."""
        text = json.dumps(msgspec.to_builtins(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(b"secagg study 1\0" + text.encode()).digest()

    @property
    def fingerprint(self) -> str:
        """The digits that members compare before they sign: they cover the whole file and every key in it."""
        return fingerprint(self.hash)

    @property
    def colluders(self) -> int:
        """Sites assumed to collude; a coordinator run by a member counts as one of them."""
        return max(self.protocol.colluders, 1 if self.study.member else 0)


def load(path: Path) -> Study:
    """Read and check a study file; it may still lack members (see `check_ready`).

    Raises:
        UsageError: what is wrong, with file and line.
    """
    return parse(toml.text_of(path), str(path))


def parse(text: str, name: str = "study.toml") -> Study:
    """Read and check the text of a study file.

    Raises:
        UsageError: what is wrong, with file and line.
    """
    study = toml.parse(text, Study, name)

    def refuse(path: str, says: str) -> UsageError:
        line = toml.line_of(text, path)
        return UsageError(f"{name}, line {line}: {path}: {says}" if line else f"{name}: {path}: {says}")

    address = urlsplit(study.study.coordinator)
    if address.scheme != "https" or not address.hostname or address.query or address.fragment:
        raise refuse("study.coordinator", "give an address such as https://coordinator.example.org:8443")
    for number, site in enumerate(study.site):
        earlier = study.site[:number]
        if any(site.id == other.id for other in earlier):
            raise refuse(f"site[{number}].id", f"two sites have the id {site.id}")
        if any(site.key == other.key for other in earlier):
            raise refuse(f"site[{number}].key", "two sites have the same key: every site needs its own")
        if any(_alike(site.name) == _alike(other.name) for other in earlier):
            raise refuse(
                f"site[{number}].name", f"two sites are called {site.name!r}, or something that looks the same"
            )
    if study.study.member and study.member(study.study.member) is None and study.site:
        raise refuse("study.member", f"there is no site {study.study.member}; use 0 if a third party coordinates")
    unknown = sorted(set(study.quantization) - set(quant.presets.KEYS))
    if unknown:
        raise refuse(f"quantization.{unknown[0]}", f"unknown; known are {', '.join(quant.presets.KEYS)}")
    for place, says in _contradictions(study):
        raise refuse(place, says)
    try:
        _ = study.roster, study.hash
    except ParameterError as error:
        raise refuse("site", str(error)) from None
    except ValueError:
        raise refuse("task", "not-a-number and infinity cannot be signed") from None
    return study


def _alike(name: str) -> str:
    """Return a name without what people do not see: forms of letters, capitals, spaces, characters of no width."""
    seen = (c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) not in ("Cf", "Zs"))
    return "".join(seen).casefold()


def _contradictions(study: Study) -> Iterator[tuple[str, str]]:
    """Give (key, complaint) of what does not go together."""
    if study.analytics:
        try:
            analytics.from_config(study.task)
        except UsageError as error:
            yield "task.kind", str(error)
        if study.training.rounds != 1 or study.training.max_examples is not None:
            yield "training.rounds", "a study of kind analytics has rounds = 1, and no max_examples"
    if study.privacy is None:
        return
    if study.quantization:
        yield (
            next(iter(f"quantization.{key}" for key in study.quantization)),
            ("with [privacy], grid and noise are chosen together: remove [quantization], and see width"),
        )
    if study.training.max_examples is not None:
        yield "training.max_examples", "with [privacy] no site's number of examples is sent: remove the line"
    if study.training.patience:
        yield "training.patience", "with [privacy] nothing is validated, so nothing can improve: set 0"
    if study.protocol.protocol != "secagg":
        yield "protocol.protocol", 'with [privacy] choose "secagg": its noise is sized for the threshold'
    if study.analytics and study.privacy.unit != "patient":
        yield "privacy.unit", 'analytics protects every "patient"'


def check_ready(study: Study) -> None:
    """Refuse a study that cannot run yet.

    Raises:
        UsageError: too few members for the chosen protection.
    """
    if len(study.site) < max(LEAST_SITES, study.training.min_sites):
        raise UsageError(
            f"study {study.name!r} has {len(study.site)} sites and needs at least {study.training.min_sites}: "
            "secagg study add-site"
        )
    try:
        default_threshold(study.training.min_sites, study.protocol.adversary, study.colluders)
    except ParameterError as error:
        raise UsageError(f"min_sites = {study.training.min_sites} is too few for this protection: {error}") from None
