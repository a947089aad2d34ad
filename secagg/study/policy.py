"""``policy.toml``: what one site insists on, whatever the study or the coordinator says. It stays at the site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocols import ParameterError
from protocols.pairwise import LocalPolicy
from protocols.pairwise.params import Adversary
from secagg.errors import UsageError
from secagg.study import toml
from secagg.study.definition import Study


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
        approved_models: file beside the policy, one SHA-256 a line.
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
        try:
            return LocalPolicy(
                min_clients=self.min_sites,
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

    def allows_model(self, folder: Path, model_hash: bytes) -> bool:
        """Tell whether a person at this site approved the model, where the policy asks for it.

        Raises:
            UsageError: the list cannot be read.
        """
        if self.approve_models == "all":
            return True
        try:
            lines = (folder / self.approved_models).read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise UsageError(f"cannot read {folder / self.approved_models}: {error.strerror or error}") from None
        return model_hash.hex() in lines


def load(path: Path) -> SitePolicy:
    """Read a policy.

    Raises:
        UsageError: what is wrong, with file and line.
    """
    return toml.read(path, SitePolicy)
