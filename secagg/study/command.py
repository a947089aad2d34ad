"""``secagg study`` and ``secagg keygen``: the ceremony before a study runs. Every command prints the next one."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from protocols import SystemEntropy
from secagg import theme
from secagg.errors import UsageError
from secagg.extras import require
from secagg.study import approval, definition, folder, identity, task, weights
from secagg.study import cohort as cohorts
from secagg.study.definition import Study

study_app = typer.Typer(help="Set up a study: files, members, signatures.", no_args_is_help=True, add_completion=False)

StudyFile = Annotated[Path, typer.Argument(help="The study file.")]
PassphraseFile = Annotated[Path | None, typer.Option(help="File with the key's passphrase on its first line.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DEFAULT_FILE = Path("study.toml")


def passphrase_for(key: Path, file: Path | None, *, ask: bool = True) -> bytes | None:
    """Return the passphrase of ``key``, from ``file`` or from the person at the terminal; ``None`` if it has none.

    Raises:
        UsageError: there is one, and no way to get at it.
    """
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").split("\n")[0].encode()
        except OSError as error:
            raise UsageError(f"cannot read {file}: {error.strerror or error}") from None
    if not identity.is_locked(key):
        return None
    if not ask or not sys.stdin.isatty():
        raise UsageError(f"{key} is locked with a passphrase: give it with --passphrase-file")
    typed: str = typer.prompt(f"passphrase of {key}", hide_input=True, err=True)
    return typed.encode()


def keygen_command(
    path: Annotated[Path, typer.Argument(help="Where the secret key goes.")] = Path("site.key"),
    name: Annotated[str, typer.Option(help="What the site is called, such as your hospital's name.")] = "",
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Lock the key; asks for a passphrase.")] = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Make this site's identity. The secret stays here; the .pub file goes to the lead of the study.

    Example: secagg keygen site.key --name "St. Anna Hospital"
    """
    if not name:
        raise UsageError('say what the site is called: --name "St. Anna Hospital"')
    phrase = None
    if passphrase_file is not None:
        phrase = passphrase_for(path, passphrase_file)
    elif passphrase:
        phrase = str(typer.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True)).encode()
    public = identity.create(path, name, SystemEntropy(), phrase)
    beside = identity.public_path(path)
    if json:
        _print_json(name=public.name, key=public.key, fingerprint=public.fingerprint, public=str(beside))
        return
    console = theme.output()
    console.print(f"secret key   {path} (never send it, never copy it off this machine)")
    console.print(f"public key   {beside}")
    console.print(f"fingerprint  {public.fingerprint}")
    _next(console, f"you: send {beside} to the lead, and read the fingerprint to them by telephone")
    _next(console, f"the lead: secagg study add-site study.toml {beside.name}")


@study_app.command("new")
def new_command(
    where: Annotated[Path, typer.Argument(help="Folder of the study, made if it is missing.")],
    name: Annotated[str, typer.Option(help="What the study is called.")] = "example study",
    coordinator: Annotated[str, typer.Option(help="HTTPS address of the coordinator.")] = "https://localhost:8443",
    json: Json = False,
) -> None:
    """Write a commented study.toml, a policy.toml for the sites and a task.py that works as it is (the lead does this).

    Example: secagg study new tumours --name "Tumours 2027" --coordinator https://coordinator.example.org:8443
    """
    require("secagg study new", "server", "safetensors")
    folder.create(where, name, coordinator, SystemEntropy())
    _initial_weights(where / "study.toml", "task:initial", where)
    if json:
        _print_json(study=str(where / "study.toml"))
        return
    console = theme.output()
    console.print(f"{where}/study.toml       the study: edit it now, before anybody signs")
    console.print(
        f"{where}/task.py          training code that works as it is; after a change of its weights, secagg study model"
    )
    console.print(f"{where}/policy.toml      what a site insists on: each site edits its own copy")
    console.print(f"{where}/coordinator.key  and tls.key: secret, for the coordinator's machine only")
    _show_tolerances(console, "active", 1)
    _next(console, f"you: cd {where}, and settle study.toml")
    _next(console, 'every site: secagg keygen site.key --name "St. Anna Hospital"')


@study_app.command("model")
def model_command(
    path: StudyFile = DEFAULT_FILE,
    source: Annotated[str, typer.Option("--task", help="Function that makes the initial weights.")] = "task:initial",
) -> None:
    """Make the initial weights again, after a change of task.py, and store their hash in the study.

    Example: secagg study model study.toml --task task:initial
    """
    require("secagg study model", "server", "safetensors")
    _initial_weights(path, source, path.parent)
    study = definition.load(path)
    console = theme.output()
    console.print(f"{path.with_name(study.model.initial)}: SHA-256 {study.model.sha256}")
    _next(console, "the lead: secagg study show, then send study.toml to every site; all sign (again)")


@study_app.command("add-site")
def add_site_command(
    path: StudyFile,
    public: Annotated[Path, typer.Argument(help="The site's .pub file.")],
    site: Annotated[int | None, typer.Option("--id", help="Its number; the next free one by default.")] = None,
) -> None:
    """Put a site on the roster (the lead does this, with the .pub file that the site sent).

    Example: secagg study add-site study.toml st-anna.pub
    """
    known = identity.load_public(public)
    chosen = folder.add_site(path, known, site)
    console = theme.output()
    console.print(f"site {chosen}: {known.name}")
    console.print(f"fingerprint of its key  {known.fingerprint}")
    count = len(definition.load(path).site)
    _next(console, f"you: have {known.name} read their fingerprint to you by telephone; it must be the one above")
    if count < definition.LEAST_SITES:
        _next(console, f"you: add the other sites ({count} so far, at least {definition.LEAST_SITES})")
    else:
        _next(console, f"you, when all {count} are there: send {path.name}, policy.toml and task.py to every site")
        _next(console, f"every site: secagg study sign {path.name} --key site.key")


@study_app.command("remove-site")
def remove_site_command(path: StudyFile, site: Annotated[int, typer.Argument(help="Its id.")]) -> None:
    """Take a site off the roster. Everybody signs again; the study goes on from the round where it is.

    Example: secagg study remove-site study.toml 4
    """
    folder.remove_site(path, site)
    console = theme.output()
    console.print(f"site {site} is no longer on the roster of {path}")
    _next(console, f"the lead: stop the coordinator, send {path.name} to the remaining sites")
    _next(console, f"every remaining site: secagg study sign {path.name} --key site.key")
    _next(console, f"the lead: secagg serve {path.name}")


@study_app.command("sign")
def sign_command(
    path: StudyFile = DEFAULT_FILE,
    key: Annotated[Path, typer.Option(help="This site's secret key.")] = Path("site.key"),
    yes: Annotated[bool, typer.Option("--yes", help="The fingerprint has been compared already.")] = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Approve the study as it is (every site does this). This site takes part in no other.

    Example: secagg study sign study.toml --key site.key
    """
    study = definition.load(path)
    definition.check_ready(study)
    owner = identity.load(key, passphrase_for(key, passphrase_file))
    signed = approval.sign(study, owner)
    console = theme.output()
    if not json:
        _show_study(console, study)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody is here to confirm the fingerprint: compare it by telephone, then add --yes")
        typer.confirm("do the other sites have the same fingerprint?", abort=True, err=True)
    beside = approval.path_beside(path, signed.site)
    weights.write(beside, msgspec.json.encode(signed) + b"\n")
    if json:
        _print_json(site=signed.site, study=signed.study, fingerprint=study.fingerprint, approval=str(beside))
        return
    console.print(f"signed as site {signed.site}: {beside}")
    _next(console, f"the lead, once: secagg serve {path.name}")
    _next(console, f"you: secagg check {path.name} --key {key.name}")


@study_app.command("show")
def show_command(path: StudyFile = DEFAULT_FILE, json: Json = False) -> None:
    """Show who is in a study, its fingerprint, and what cohorts of 3 to 20 sites tolerate.

    Example: secagg study show study.toml
    """
    study = definition.load(path)
    rows = {sites: cohorts.tolerance(sites, study.protocol.adversary, study.colluders) for sites in cohorts.COHORTS}
    if json:
        _print_json(
            name=study.name,
            hash=study.hash.hex(),
            fingerprint=study.fingerprint,
            roster=study.roster.hash().hex(),
            sites={site.id: site.name for site in study.site},
            tolerance={
                sites: None
                if row is None
                else {"threshold": row.threshold, "dropouts": row.dropouts, "hidden": row.hidden}
                for sites, row in rows.items()
            },
        )
        return
    console = theme.output()
    _show_study(console, study)
    _show_tolerances(console, study.protocol.adversary, study.colluders)
    if study.study.member:
        console.print(f"site {study.study.member} runs the coordinator and counts as colluding with it.")
    definition.check_ready(study)
    _next(
        console, f"every site: compare the fingerprint by telephone, then secagg study sign {path.name} --key site.key"
    )


def _initial_weights(path: Path, source: str, home: Path) -> None:
    """Run the task's ``initial`` and store what it returns."""
    study = definition.load(path)
    module, _, name = source.partition(":")
    made = task.call_initial(f"{module}:{name or 'initial'}", home, study.task)
    folder.set_model(path, weights.encode(made))


def _show_study(console: Console, study: Study) -> None:
    protection = study.protocol
    console.print(f"study        {study.name}", style="bold")
    console.print(f"coordinator  {study.study.coordinator}")
    console.print(
        f"protection   {protection.protocol}, coordinator assumed {protection.adversary}, "
        f"{study.colluders} colluding site{'s' * (study.colluders != 1)}"
    )
    console.print(f"training     {study.training.rounds} rounds, from model {study.model.sha256[:16]}")
    for site in study.site:
        console.print(f"site {site.id:>3}     {site.name}")
    console.print(f"fingerprint  {study.fingerprint}", style="bold")


def _show_tolerances(console: Console, adversary: str, colluders: int) -> None:
    title = f"What a cohort tolerates ({adversary} coordinator, {colluders} colluding)"
    table = theme.table(title, "sites in the round", "must stay", "may drop out", "inputs hidden in the sum")
    for sites in cohorts.COHORTS:
        row = cohorts.tolerance(sites, "active" if adversary == "active" else "curious", colluders)
        if row is None:
            table.add_row(str(sites), "too few", "-", "-")
        else:
            table.add_row(str(sites), str(row.threshold), str(row.dropouts), str(row.hidden))
    console.print(table)


def _next(console: Console, says: str) -> None:
    console.print(f"next, {says}")


def _print_json(**values: object) -> None:
    sys.stdout.write(jsonlib.dumps(values) + "\n")
