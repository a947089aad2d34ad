"""``secagg join``: take part in a study."""

from __future__ import annotations

import json as jsonlib
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from secagg.errors import UsageError
from secagg.study import approval, definition, identity, policy, task
from secagg.study.command import Json, PassphraseFile, passphrase_for

StudyFile = Annotated[Path, typer.Argument(help="The study file.")]
KeyFile = Annotated[Path, typer.Option(help="This site's secret key.")]
PolicyFile = Annotated[Path | None, typer.Option("--policy", help="What this site insists on.  Default: policy.toml.")]
CaFile = Annotated[Path | None, typer.Option(help="Further authorities to trust (PEM), such as a TLS proxy's.")]
StateFolder = Annotated[Path | None, typer.Option(help="Folder for this site's state.")]


def state_folder(study: Path, site: int, given: Path | None) -> Path:
    """Where a site's state is: the given folder, or one beside the study file."""
    return given or study.parent / f"site-{site}-state"


def software() -> str:
    """Which version speaks."""
    try:
        return f"secagg {version('secagg')}"
    except PackageNotFoundError:
        return "secagg, not installed"


def join_command(
    path: StudyFile = Path("study.toml"),
    key: KeyFile = Path("site.key"),
    spec: Annotated[str, typer.Option("--task", help="Training code, as package.module:function.")] = "task:train",
    policy_file: PolicyFile = None,
    state: StateFolder = None,
    ca_file: CaFile = None,
    passphrase_file: PassphraseFile = None,
    give_up_after: Annotated[float, typer.Option(help="Stop after so many seconds without an answer.")] = 7 * 86400.0,
    json: Json = False,
) -> None:
    """Take part in a study until it is over (every site does this). Started again, it goes on where it was.

    Example: secagg join study.toml --key site.key --task task:train
    """
    missing = [name for name in ("httpx", "safetensors") if find_spec(name) is None]
    if missing:
        raise UsageError(f"secagg join needs {', '.join(missing)}: pip install 'secagg[server]'")
    from secagg.site.display import Display
    from secagg.site.folder_lock import locked
    from secagg.site.link import HttpLink
    from secagg.site.participant import Participant
    from secagg.site.site_round import Member
    from secagg.site.store import SiteStore

    study = definition.load(path)
    definition.check_ready(study)
    rules = policy.load(policy_file or path.parent / "policy.toml")
    owner = identity.load(key, passphrase_for(key, passphrase_file))
    site = approval.site_of(study, owner)
    given = approval.load(study, approval.path_beside(path, site), site)
    code = task.load(spec)
    folder = state_folder(path, site, state)
    with locked(folder):
        store = SiteStore(folder)
        link = HttpLink(study, site, owner, store.next_sequence, ca_file)
        try:
            with Display(study, quiet=json) as display:
                member = Member(study, site, owner, rules.for_rounds(study), code, store)
                rules_folder = (policy_file or path).parent
                participant = Participant(member, given, rules, rules_folder, link, display.observe, give_up_after)
                finished = participant.run(software())
        finally:
            link.close()
            store.close()
    if json:
        facts = {"reason": finished.reason, "model": finished.model.hex(), "best": finished.best.hex()}
        sys.stdout.write(jsonlib.dumps(facts | {"models": str(folder / "models")}) + "\n")
        return
    display.farewell(finished, folder)
