"""``policy.toml``: what one site insists on, whatever the study or the coordinator says. It stays at the site."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocols import ParameterError
from protocols.pairwise import LocalPolicy
from protocols.pairwise.params import Adversary
from secagg.errors import UsageError
from secagg.privacy import (
    Budget,
    Ledger,
    LedgerError,
    LocalPrivacyPolicy,
    PrivacyInputError,
    Relation,
    SitePrivacy,
    Unit,
)
from secagg.study import toml
from secagg.study.definition import Study


class PrivacyBudget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[privacy]``: what this site's data may cost, over all studies and for good.

    Attributes:
        cohort: this site's own name for the version of its data that its task uses; every cohort has its own budget.
        epsilon: most that may ever be spent of it.
        delta: at this delta.
        unit: whom the budget protects.
        clip: the only clip that is accepted; absent for that of the study as it was signed.
        max_survivors: most sites that this one believes to be real and to add noise; absent for all of the roster.
        min_colluders: fewest sites that must be assumed to add none.
        ledger: file of the ledger beside the policy. It outlives every study: back it up.
    """

    cohort: Annotated[str, Meta(min_length=1, max_length=200)]
    epsilon: Annotated[float, Meta(gt=0, le=1e6)]
    delta: Annotated[float, Meta(gt=0, lt=1)] = 1e-5
    unit: Literal["patient", "site"] = "patient"
    clip: Annotated[float, Meta(gt=0)] | None = None
    max_survivors: Annotated[int, Meta(ge=2)] | None = None
    min_colluders: Annotated[int, Meta(ge=1)] = 1
    ledger: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")] = "privacy-ledger.db"

    def open(self, folder: Path, study: Study) -> SitePrivacy:
        """Open the ledger beside the policy, made if it is missing, and the budget of this cohort in it.

        Raises:
            UsageError: a ledger that cannot be used, or whose budget for this cohort is another one.
        """
        with _said_of_the_policy():
            rules, budget = self._rules(study), self._budget()
            ledger = Ledger(folder / self.ledger)
            ledger.open_cohort(self.cohort, budget)
        return SitePrivacy(ledger, rules, self.cohort)

    def spent(self, folder: Path, study: Study) -> float:
        """Return the epsilon that this cohort has spent so far; makes no ledger and no budget.

        Raises:
            UsageError: as `open` would.
        """
        path = folder / self.ledger
        with _said_of_the_policy():
            self._rules(study)
            budget = self._budget()
            if not path.exists():
                return 0.0
            with Ledger(path) as ledger:
                if self.cohort not in ledger.cohorts():
                    return 0.0
                ledger.open_cohort(self.cohort, budget)  # known already: refuses another budget, changes nothing
                return ledger.epsilon(self.cohort)

    def _budget(self) -> Budget:
        unit = Unit(self.unit)
        relation = Relation.ADD_REMOVE if unit is Unit.PATIENT else Relation.ZERO_OUT
        return Budget(epsilon=self.epsilon, delta=self.delta, unit=unit, relation=relation)

    def _rules(self, study: Study) -> LocalPrivacyPolicy:
        return LocalPrivacyPolicy(
            max_survivors=self.max_survivors or len(study.site),
            clip=self.clip,
            min_colluders=self.min_colluders,
            max_delta=self.delta,
        )


@contextmanager
def _said_of_the_policy() -> Iterator[None]:
    try:
        yield
    except (LedgerError, PrivacyInputError, sqlite3.Error) as error:
        raise UsageError(f"policy.toml, [privacy]: {error}") from None


class SitePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file.

    Attributes:
        studies: names of studies this site takes part in; absent for any that it approved.
        min_sites: least number of sites invited to a round.
        min_threshold: least number of inputs in an opened sum.
        colluders: how many sites may collude with the coordinator without harm to this one.
        adversary: weakest protection that is accepted.
        suites: accepted cipher suites (code points).
        max_attempts: tries at one round that this site takes part in.
        min_cohort_difference: the same query is not answered over cohorts that differ by fewer sites.
        max_upload_bytes: most bytes of one masked input.
        max_rounds: rounds of one study this site takes part in; absent for no limit.
        approve_models: ``"all"``, or ``"manual"``: train only models whose hash stands in ``approved_models``.
        approved_models: file beside the policy, one SHA-256 a line; ``#`` begins a comment.
        privacy: budget of this site's data; with it, the site takes part in private studies only.
    """

    studies: tuple[str, ...] | None = None
    min_sites: Annotated[int, Meta(ge=1)] = 3
    min_threshold: Annotated[int, Meta(ge=1)] = 3
    colluders: Annotated[int, Meta(ge=0)] = 1
    adversary: Adversary = "active"
    suites: tuple[int, ...] = (1,)
    max_attempts: Annotated[int, Meta(ge=1)] = 4
    min_cohort_difference: Annotated[int, Meta(ge=0)] = 2
    max_upload_bytes: Annotated[int, Meta(ge=1)] = 1 << 33
    max_rounds: Annotated[int, Meta(ge=1)] | None = None
    approve_models: Literal["all", "manual"] = "all"
    approved_models: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")] = "approved-models.txt"
    privacy: PrivacyBudget | None = None

    def for_rounds(self, study: Study) -> LocalPolicy:
        """Return what the protocol machine checks in every round of ``study``.

        Raises:
            UsageError: this policy does not allow the study.
        """
        if self.studies is not None and study.name not in self.studies:
            raise UsageError(f"policy.toml does not allow the study {study.name!r}: add it to studies if you want it")
        if self.adversary == "active" and study.protocol.adversary != "active":
            raise UsageError('policy.toml asks for adversary = "active"; the study offers only "curious"')
        if study.colluders < self.colluders:
            raise UsageError(
                f"policy.toml asks for {self.colluders} tolerated colluders; the study tolerates {study.colluders}"
            )
        if self.privacy is not None and study.privacy is None:
            raise UsageError("policy.toml has a privacy budget; the study adds no noise, so this site takes no part")
        if self.privacy is None and study.privacy is not None:
            raise UsageError("the study spends privacy: say in policy.toml, [privacy], which cohort may spend how much")
        try:
            return LocalPolicy(
                min_clients=max(self.min_sites, study.training.min_sites),  # the coordinator is held to what was signed
                min_threshold=self.min_threshold,
                colluders=self.colluders,
                max_attempts=self.max_attempts,
                min_cohort_difference=self.min_cohort_difference,
                adversary=self.adversary,
                suites=self.suites,
                max_packed_bytes=self.max_upload_bytes,
                roster=study.roster,
                studies=(study.name,),
            )
        except ParameterError as error:
            raise UsageError(f"policy.toml: {error}") from None

    def site_privacy(self, folder: Path, study: Study) -> SitePrivacy | None:
        """Return ledger and rules for a private study, ``None`` for others; see ``PrivacyBudget.open``."""
        return None if self.privacy is None else self.privacy.open(folder, study)

    def allows_model(self, folder: Path, model_hash: bytes) -> bool:
        """Tell whether a person at this site approved the model, where the policy asks for it.

        Raises:
            UsageError: the list cannot be read.
        """
        if self.approve_models == "all":
            return True
        try:
            lines = (folder / self.approved_models).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {folder / self.approved_models}: {error}") from None
        return model_hash.hex() in (line.partition("#")[0].strip().lower() for line in lines)


def load(path: Path) -> SitePolicy:
    """Read a policy.

    Raises:
        UsageError: what is wrong, with file and line.
    """
    return toml.read(path, SitePolicy)
