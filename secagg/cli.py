"""The command line. Exit codes: 0 success, 1 the protocol refused, 2 bad usage or input (one clear line)."""

from __future__ import annotations

import sys

import typer

from protocols import ParameterError, ProtocolError
from quant import QuantError
from secagg.attack.command import attack_command
from secagg.audit.command import audit_command
from secagg.bench.command import bench_command
from secagg.coordinator.command import serve_command
from secagg.demo.command import demo_command
from secagg.errors import RoundRefused, UsageError
from secagg.plan.command import plan_command
from secagg.simulate.command import simulate_command
from secagg.site.command import check_command, join_command, status_command
from secagg.study.command import keygen_command, study_app

# Usage errors belong to click, which newer versions of typer carry inside instead of depending on it.
_CLICK_ERROR: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

app = typer.Typer(
    name="secagg",
    help="Secure aggregation for federated learning: the server sees only the sum.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo_command)
app.command("simulate")(simulate_command)
app.command("plan")(plan_command)
app.command("bench")(bench_command)
app.add_typer(study_app, name="study")
app.command("keygen")(keygen_command)
app.command("serve")(serve_command)
app.command("join")(join_command)
app.command("check")(check_command)
app.command("status")(status_command)
app.command("audit")(audit_command)
app.command("attack")(attack_command)


@app.callback()
def _root() -> None:
    """Secure aggregation for federated learning: the server sees only the sum."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are one line on standard error.

    Args:
        arguments: as on the command line, without the program's name; ``None`` for those of the process.
    """
    try:
        outcome = app(args=arguments, standalone_mode=False)
    except (UsageError, QuantError, ParameterError) as error:
        return _fail(error, 2)
    except (RoundRefused, ProtocolError) as error:
        return _fail(error, 1)
    except typer.Abort:
        return _fail("interrupted", 130)
    except _CLICK_ERROR as error:
        return _fail(getattr(error, "format_message", error.__str__)(), 2)
    return outcome if isinstance(outcome, int) else 0


def _fail(error: object, code: int) -> int:
    line = " ".join(str(error).split())
    sys.stderr.write(f"secagg: {line}\n")
    return code
