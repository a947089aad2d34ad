"""``secagg join``: take part in a study."""

from __future__ import annotations

import json as jsonlib
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from secagg import theme
from secagg.errors import UsageError
from secagg.extras import require
from secagg.site.folder_lock import locked, state_folder
from secagg.study import approval, definition, identity, policy, task
from secagg.study.command import Json, PassphraseFile, passphrase_for
from secagg.transport.files import folder_of

StudyFile = Annotated[Path, typer.Argument(help="The study file.")]
KeyFile = Annotated[Path, typer.Option(help="This site's secret key.")]
PolicyFile = Annotated[Path | None, typer.Option("--policy", help="What this site insists on.  Default: policy.toml.")]
CaFile = Annotated[Path | None, typer.Option(help="Further authorities to trust (PEM), such as a TLS proxy's.")]
StateFolder = Annotated[Path | None, typer.Option(help="Folder for this site's state.")]


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
    transport: Annotated[str, typer.Option(help="https, or folder:PATH for a site with no network.")] = "https",
    restored: Annotated[
        bool, typer.Option("--restored", help="The state folder was restored from a backup: leave out one round.")
    ] = False,
    give_up_after: Annotated[float, typer.Option(help="Stop after so many seconds without an answer.")] = 7 * 86400.0,
    json: Json = False,
) -> None:
    """Take part in a study until it is over (every site does this). Started again, it goes on where it was.

    Example: secagg join study.toml --key site.key --task task:train
    """
    require("secagg join", "server", "safetensors")
    from secagg.site.display import Display
    from secagg.site.link import FolderLink, HttpLink
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
        link: FolderLink | HttpLink
        if (carried := folder_of(transport)) is not None:
            link = FolderLink(study, site, owner, store.next_sequence, carried)
        else:
            link = HttpLink(study, site, owner, store.next_sequence, ca_file)
        try:
            with Display(study, quiet=json) as display:
                rules_folder = (policy_file or path).parent
                limits, privacy = rules.for_rounds(study), rules.site_privacy(rules_folder, study)
                member = Member(study, site, owner, limits, code, store, privacy)
                participant = Participant(
                    member, given, rules, rules_folder, link, display.observe, give_up_after, restored
                )
                finished = participant.run(software())
        finally:
            link.close()
            store.close()
    if json:
        facts = {"reason": finished.reason, "model": finished.model.hex(), "best": finished.best.hex()}
        sys.stdout.write(jsonlib.dumps(facts | {"models": str(folder / "models")}) + "\n")
        return
    display.farewell(finished, folder, f"secagg status {path.name} --key {key.name}")


def check_command(
    path: StudyFile = Path("study.toml"),
    key: KeyFile = Path("site.key"),
    spec: Annotated[str, typer.Option("--task", help="Training code, as package.module:function.")] = "task:train",
    policy_file: PolicyFile = None,
    state: StateFolder = None,
    ca_file: CaFile = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Look at everything that a site needs before it joins: files, key, policy, disk, clock, network, TLS.

    Example: secagg check study.toml --key site.key
    """
    require("secagg check", "server", "safetensors")
    from secagg.site.preflight import Preflight

    phrase = passphrase_for(key, passphrase_file) if key.is_file() else None
    rules = policy_file or path.parent / "policy.toml"
    findings = list(Preflight(path, key, phrase, rules, spec, state, ca_file).findings())
    good = all(finding.good for finding in findings)
    if json:
        rows = [{"what": finding.what, "good": finding.good, "says": finding.says} for finding in findings]
        sys.stdout.write(jsonlib.dumps({"good": good, "findings": rows}) + "\n")
    else:
        console = theme.output()
        for finding in findings:
            mark = "ok   " if finding.good else "WRONG"
            console.print(f"{mark}  {finding.what:<12} {finding.says}", style="" if finding.good else theme.VERMILION)
        if good:
            console.print(f"next, you: secagg join {path.name} --key {key.name} --task {spec}")
    if not good:
        raise UsageError("this site is not ready: see what is marked WRONG")


def status_command(
    path: StudyFile = Path("study.toml"),
    key: KeyFile = Path("site.key"),
    state: StateFolder = None,
    policy_file: PolicyFile = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Show what this site has done in a study: rounds, receipts, privacy spent, and whether it is in one now.

    Example: secagg status study.toml --key site.key
    """
    from secagg.site.history import history, show

    study = definition.load(path)
    site = approval.site_of(study, identity.load(key, passphrase_for(key, passphrase_file)))
    folder = state_folder(path, site, state)
    if not (folder / "site.db").exists():
        raise UsageError(f"this site has not taken part yet: there is nothing in {folder}")
    rules = policy_file or path.parent / "policy.toml"
    budget = policy.load(rules).privacy if rules.is_file() else None
    told = history(study, site, folder, budget, rules.parent)
    if json:
        sys.stdout.write(jsonlib.dumps(told) + "\n")
    else:
        show(told, theme.output())
