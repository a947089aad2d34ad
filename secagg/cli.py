"""The command line. Exit codes: 0 success, 1 the protocol refused, 2 bad usage or input (one clear line).

A command is a function here that imports its code: the list of commands, and every mistake in naming one, comes at
once, and an auditor's command never loads a coordinator.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import typer
import typer.main
from typer.core import TyperGroup
from typer.models import ArgumentInfo
from typer.utils import get_params_from_function

Code = Callable[..., int | None] | typer.Typer

# Usage errors belong to click, which newer versions of typer carry inside instead of depending on it.
_CLICK_ERROR: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


class Commands(TyperGroup):
    """The commands: what they are called and do is known at once, their code is loaded for the one that is run."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Give the whole command that ``args`` begin with, its name, and what is left of them."""
        self.suggest_commands = False  # click does
        name, entry, rest = super().resolve_command(ctx, args)
        return name, None if entry is None else whole(entry), rest


def whole(entry: Any) -> Any:
    """Return the command, options and all, that an ``entry`` of the list of commands stands for."""
    code: Code = entry.callback()
    if not isinstance(code, typer.Typer):
        alone = typer.Typer(add_completion=False)
        alone.command(entry.name)(code)
        code = alone
    return _explained(typer.main.get_command(code))


def _explained(command: Any) -> Any:
    """Give arguments their help back: click 8.5 takes it from them under typer 0.20, which flwr pins."""
    for inner in getattr(command, "commands", {}).values():
        _explained(inner)
    said = {} if command.callback is None else get_params_from_function(inspect.unwrap(command.callback))
    for parameter in command.params:
        declared = said[parameter.name].default if parameter.name in said else None
        if isinstance(declared, ArgumentInfo):
            parameter.help = declared.help
    return command


app = typer.Typer(
    name="secagg",
    cls=Commands,
    help="Secure aggregation for federated learning: the server sees only the sum.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def demo() -> Code:
    """Train a model in a consortium of in-process hospitals through the real protocol, and measure it."""
    from secagg.demo.command import demo_command

    return demo_command


@app.command()
def simulate() -> Code:
    """Run one round on synthetic vectors through the real protocol, and measure it."""
    from secagg.simulate.command import simulate_command

    return simulate_command


@app.command()
def plan() -> Code:
    """Choose quantization for a cohort from a goal, and show what every alternative would cost."""
    from secagg.plan.command import plan_command

    return plan_command


@app.command()
def bench() -> Code:
    """Measure on this machine, as ratios to its own limits and to peers where they are installed."""
    from secagg.bench.command import bench_command

    return bench_command


@app.command()
def study() -> Code:
    """Set up a study: files, members, signatures."""
    from secagg.study.command import study_app

    return study_app


@app.command()
def keygen() -> Code:
    """Make this site's identity. The secret stays here; the .pub file goes to the lead of the study."""
    from secagg.study.command import keygen_command

    return keygen_command


@app.command()
def serve() -> Code:
    """Run the coordinator of a study (the lead does this). It resumes where it was stopped."""
    from secagg.coordinator.command import serve_command

    return serve_command


@app.command()
def join() -> Code:
    """Take part in a study until it is over (every site does this). Started again, it goes on where it was."""
    from secagg.site.command import join_command

    return join_command


@app.command()
def check() -> Code:
    """Look at everything that a site needs before it joins: files, key, policy, disk, clock, network, TLS."""
    from secagg.site.command import check_command

    return check_command


@app.command()
def status() -> Code:
    """Show what this site has done in a study: rounds, receipts, privacy spent, and whether it is in one now."""
    from secagg.site.command import status_command

    return status_command


@app.command()
def audit() -> Code:
    """Verify a transcript from its public records alone. Exit code 1 if any claim is broken."""
    from secagg.audit.command import audit_command

    return audit_command


@app.command()
def attack() -> Code:
    """Run the catalogue of attacks against a configuration: stopped by which rule, or possible and what to change."""
    from secagg.attack.command import attack_command

    return attack_command


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are one line on standard error.

    Args:
        arguments: as on the command line, without the program's name; ``None`` for those of the process.
    """
    try:
        outcome = app(args=arguments, standalone_mode=False)
    except typer.Abort:
        return _fail("interrupted", 130)
    except _CLICK_ERROR as error:
        return _fail(_with_help(error), 2)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        return _fail(error, code)
    return outcome if isinstance(outcome, int) else 0


def _with_help(error: Any) -> str:
    """Say what was wrong with a command's arguments, and where they are explained."""
    says, context = str(error.format_message()), getattr(error, "ctx", None)
    return f"{says} ({context.command_path} --help)" if says and context is not None else says


def _exit_code(error: Exception) -> int | None:
    """Say which code an error of ours ends with; ``None`` for a fault of the program, which shows its traceback."""
    from protocols import ParameterError, ProtocolError
    from quant import QuantError
    from secagg.errors import RoundRefused, UsageError

    if isinstance(error, UsageError | QuantError | ParameterError):
        return 2
    return 1 if isinstance(error, RoundRefused | ProtocolError) else None


def _fail(error: object, code: int) -> int:
    from secagg.theme import plain

    line = plain(" ".join(str(error).split()))
    if line:  # nothing is said where help has been shown instead
        sys.stderr.write(f"secagg: {line}\n")
    return code
