"""A member's signature on the study: everyone signs the same hash, and takes part in no other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from protocols.suites import CLASSICAL
from secagg.errors import UsageError
from secagg.study.definition import Study
from secagg.study.identity import HexKey, Identity

USAGE = "study-approval"


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One signature, as it is stored and sent.

    Attributes:
        site: the member's id.
        study: hash of the study, hexadecimal.
        signature: Ed25519, hexadecimal, over study hash and roster hash.
    """

    site: Annotated[int, Meta(ge=1, lt=1 << 16)]
    study: HexKey
    signature: Annotated[str, Meta(pattern="^[0-9a-f]{128}$")]


def path_beside(study: Path, site: int) -> Path:
    """Where the approval of ``site`` lies: beside the study file."""
    return study.with_name(f"approval-{site}.json")


def site_of(study: Study, identity: Identity) -> int:
    """Return the id under which the owner of ``identity`` stands in the roster.

    Raises:
        UsageError: it does not.
    """
    for site in study.site:
        if bytes.fromhex(site.key) == identity.public:
            return site.id
    raise UsageError(f"this key is not in the roster of study {study.name!r}: send its .pub file to the lead")


def sign(study: Study, identity: Identity) -> Approval:
    """Approve the study.

    Raises:
        UsageError: the key is not in the roster.
    """
    site = site_of(study, identity)
    signature = identity.sign(USAGE, study.hash, study.roster.hash())
    return Approval(site, study.hash.hex(), signature.hex())


def is_valid(study: Study, approval: Approval) -> bool:
    """Tell whether ``approval`` is its member's signature on exactly this study."""
    key = study.roster.key(approval.site)
    if key is None or approval.study != study.hash.hex():
        return False
    statement = (study.hash, study.roster.hash())
    return CLASSICAL.verify(key, bytes.fromhex(approval.signature), USAGE, *statement)


def load(study: Study, path: Path, site: int) -> Approval:
    """Read the approval of ``site``, given on this machine.

    Raises:
        UsageError: there is none, or it approves another study.
    """
    try:
        approval = msgspec.json.decode(path.read_bytes(), type=Approval)
    except FileNotFoundError:
        raise UsageError(
            f"this site has not approved the study: compare it, then run secagg study sign ({path})"
        ) from None
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"cannot read the approval {path}: {error}") from None
    if approval.study != study.hash.hex():
        raise UsageError(
            f"the study is not the one that this site approved ({path}): its fingerprint is now {study.fingerprint}; "
            "compare it with the others by telephone, then run secagg study sign again"
        )
    if approval.site != site or not is_valid(study, approval):
        raise UsageError(f"{path} is not this site's signature: run secagg study sign again")
    return approval
