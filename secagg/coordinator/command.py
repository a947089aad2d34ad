"""``secagg serve``: run the coordinator of a study."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from protocols import SystemEntropy
from secagg import theme
from secagg.errors import UsageError
from secagg.extras import require
from secagg.study import definition, identity
from secagg.study.command import PassphraseFile, passphrase_for
from secagg.study.definition import Study
from secagg.transport.files import folder_of

FOREVER = 30 * 86400.0


def serve_command(
    path: Annotated[Path, typer.Argument(help="The study file.")] = Path("study.toml"),
    state: Annotated[Path | None, typer.Option(help="Folder for the coordinator's state.")] = None,
    key: Annotated[Path | None, typer.Option(help="The coordinator's key.  Default: coordinator.key.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",
    port: Annotated[int | None, typer.Option(help="Port to listen on.  Default: the study's.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate.  Default: tls.crt.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its PEM key.  Default: tls.key.")] = None,
    behind_proxy: Annotated[bool, typer.Option("--behind-proxy", help="A proxy on this machine does TLS.")] = False,
    transport: Annotated[str, typer.Option(help="https, or folder:PATH for sites with no network.")] = "https",
    until_finished: Annotated[bool, typer.Option("--until-finished", help="Stop when the study is over.")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Run the coordinator of a study (the lead does this). It resumes where it was stopped.

    Example: secagg serve study.toml
    """
    require("secagg serve", "server", "starlette", "uvicorn", "safetensors", "jinja2", "prometheus_client")
    study = definition.load(path)
    definition.check_ready(study)
    beside = path.parent
    secret = key or beside / "coordinator.key"
    coordinator = identity.load(secret, passphrase_for(secret, passphrase_file))
    certificate, its_key = tls_cert or beside / "tls.crt", tls_key or beside / "tls.key"
    folder = folder_of(transport)
    if not behind_proxy and folder is None:
        for file in (certificate, its_key):
            if not file.is_file():
                raise UsageError(f"there is no {file}: name the certificate with --tls-cert and --tls-key")
    address = "127.0.0.1" if behind_proxy and host == "0.0.0.0" else host
    _serve(
        study,
        coordinator,
        initial=_initial(beside / study.model.initial),
        state=state or beside / "coordinator-state",
        host=address,
        port=port or urlsplit(study.study.coordinator).port or 443,
        files=None if behind_proxy else (certificate, its_key),
        folder=folder,
        until_finished=until_finished,
    )


def _initial(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the initial weights {path}: {error.strerror or error}") from None


def page_token(state: Path) -> str:
    """Return the token of the page, made once and kept in the state folder (mode 0600)."""
    path = state / "page-token"
    if not path.exists():
        identity.write_new(path, SystemEntropy().take(18, "page-token").hex().encode(), mode=0o600)
    token = path.read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f]{36}", token):  # such as none at all, after a full disk: it would open to anybody
        raise UsageError(f"{path} holds no token: remove the file, and another one is made")
    return token


def _serve(
    study: Study,
    coordinator: identity.Identity,
    *,
    initial: bytes,
    state: Path,
    host: str,
    port: int,
    files: tuple[Path, Path] | None,
    folder: Path | None,
    until_finished: bool,
) -> None:
    from secagg.coordinator.engine import Engine
    from secagg.coordinator.folder import FolderServer
    from secagg.coordinator.gate import Gate
    from secagg.coordinator.lock import StateLock
    from secagg.coordinator.metrics import metrics_route
    from secagg.coordinator.page import Page
    from secagg.coordinator.server import make_server
    from secagg.coordinator.store import Store
    from secagg.coordinator.web import Web
    from secagg.transport import logs

    logs.to_standard_error()
    with StateLock(state):
        store = Store(state)
        try:
            engine = Engine(study, coordinator, store, initial)
            token, notes = page_token(state), theme.notes()
            routes = (*Page(engine, token).routes, metrics_route(engine, token))
            if folder is not None:
                web = Web(engine, Gate(study, store.sequences(), tolerance=None), poll_seconds=FOREVER)
                notes.print(f"coordinator of {study.name!r} on the folder {folder}; stop it with Ctrl+C")
                asyncio.run(FolderServer(web, folder, until_finished=until_finished).serve())
            else:
                web = Web(engine, Gate(study, store.sequences()), routes)
                secret = f"?token={token}" if notes.is_terminal else f" (its token is in {state / 'page-token'})"
                notes.print(f"page: {study.study.coordinator}/{secret}", soft_wrap=True)  # a log holds no secret
                notes.print(f"coordinator of {study.name!r} on {host}:{port}, state in {state}; stop it with Ctrl+C")
                certificate, key = files or (None, None)
                server = make_server(
                    web, host=host, port=port, certificate=certificate, key=key, until_finished=until_finished
                )
                with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:  # uvloop, where it is
                    runner.run(server.serve())
            outcome = engine.progress.finished or "stopped; secagg serve goes on from here"
            theme.output().print(f"{outcome}; weights and transcript are in {state}")
            if engine.progress.finished:
                transcript = state / "transcript.jsonl"
                theme.output().print(f"next, you: secagg audit {transcript} --roster study.toml", soft_wrap=True)
        finally:
            store.close()
