"""``secagg check``: everything a site can find out before it joins, in one table."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from secagg.errors import UsageError
from secagg.site.folder_lock import locked, state_folder
from secagg.site.link import HttpLink, Refusal, Unreachable
from secagg.site.store import SiteStore
from secagg.study import approval, definition, identity, policy, task
from secagg.study.definition import Study
from secagg.transport.authentication import CLOCK_TOLERANCE
from secagg.transport.messages import Hello

T = TypeVar("T")

LEAST_FREE_BYTES = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        what: what was looked at.
        good: whether it is in order; ``None`` if it could not be looked at.
        says: what was found, or what to do.
    """

    what: str
    good: bool | None
    says: str


@dataclass
class Preflight:
    """Looks at one site's files and its way to the coordinator.

    It changes nothing but the number of messages that this site has sent, and makes the state folder that counts them.

    Attributes:
        path: the study file.
        key: the site's key.
        passphrase: of the key.
        policy_file: the site's policy.
        spec: the task, as ``package.module:function``.
        state: the site's state folder, or ``None`` for the usual one.
        ca_file: further authorities to trust.
    """

    path: Path
    key: Path
    passphrase: bytes | None
    policy_file: Path
    spec: str
    state: Path | None
    ca_file: Path | None

    def findings(self) -> Iterator[Finding]:
        """Look at one thing after the other; what depends on something that is wrong is left out."""
        yield Finding("python", sys.version_info >= (3, 11), sys.version.split()[0])
        study, finding = _tried("study", self._study)
        yield finding
        _, finding = _tried("policy", lambda: self._policy(study))
        yield finding
        _, finding = _tried("task", lambda: (task.load(self.spec), f"{self.spec} can be called"))
        yield finding
        yield self._disk()
        owner, finding = _tried("key", self._key)
        yield finding
        if study is None or owner is None:
            return
        site, finding = _tried("roster", lambda: self._on_roster(study, owner))
        yield finding
        if site is None:
            return
        given, finding = _tried("approval", lambda: self._approval(study, site))
        yield finding
        yield from self._network(study, owner, site, given)

    def _study(self) -> tuple[Study, str]:
        study = definition.load(self.path)
        definition.check_ready(study)
        return study, f"{study.name}, {len(study.site)} sites, fingerprint {study.fingerprint}"

    def _policy(self, study: Study | None) -> tuple[policy.SitePolicy, str]:
        rules = policy.load(self.policy_file)
        if study is not None:
            rules.for_rounds(study)
            if (budget := rules.privacy) is not None:
                spent = budget.spent(self.policy_file.parent, study)
                told = f"epsilon {spent:.3f} of {budget.epsilon:g} of cohort {budget.cohort!r} is spent"
                return rules, f"{self.policy_file} allows the study; {told}"
        return rules, f"{self.policy_file} allows the study"

    def _key(self) -> tuple[identity.Identity, str]:
        return identity.load(self.key, self.passphrase), f"{self.key} opens, and only its owner can read it"

    @staticmethod
    def _on_roster(study: Study, owner: identity.Identity) -> tuple[int, str]:
        site = approval.site_of(study, owner)
        member = study.member(site)
        return site, f"site {site}, {member.name if member else ''}"

    def _approval(self, study: Study, site: int) -> tuple[approval.Approval, str]:
        given = approval.load(study, approval.path_beside(self.path, site), site)
        return given, "this site signed exactly this study"

    def _disk(self) -> Finding:
        folder = self.state or self.path.parent
        existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        free = shutil.disk_usage(existing).free
        return Finding("disk", free >= LEAST_FREE_BYTES, f"{free / 1e9:.1f} GB free for this site's state")

    def _network(
        self, study: Study, owner: identity.Identity, site: int, given: approval.Approval | None
    ) -> Iterator[Finding]:
        host = urlsplit(study.study.coordinator).netloc
        if given is None:
            return
        sequence, finding = _tried("state", lambda: (self._sequence(site), "this site's state can be used"))
        yield finding
        if sequence is None:
            return
        link = HttpLink(study, site, owner, sequence, self.ca_file)
        try:
            welcome = link.hello(Hello(given, "secagg check"))
        except Unreachable as error:
            yield Finding("coordinator", False, str(error))
            return
        except Refusal as refusal:
            yield Finding("coordinator", False, f"{host} refuses: {refusal}")
            return
        finally:
            link.close()
        yield Finding("coordinator", True, f"{host} answers, its certificate and signature are the study's")
        skew = abs(welcome.time - time.time())
        yield Finding("clock", skew < CLOCK_TOLERANCE / 2, f"{skew:.1f} s from the coordinator's")
        yield Finding("members", True, f"{welcome.members} of {len(study.site)} have signed in")

    def _sequence(self, site: int) -> Callable[[], int]:
        """Take a sequence number from the site's own store, so that the site can go on above it."""
        folder = state_folder(self.path, site, self.state)
        with locked(folder):
            store = SiteStore(folder)
            number = store.next_sequence()
            store.close()
        return lambda: number


def _tried(what: str, look: Callable[[], tuple[T, str]]) -> tuple[T | None, Finding]:
    try:
        found, says = look()
    except UsageError as error:
        return None, Finding(what, False, str(error))
    return found, Finding(what, True, says)
