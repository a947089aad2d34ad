"""What ``secagg demo --epsilon`` shows on a terminal, and, without bars and colours, in a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from secagg import theme
from secagg.demo.display import lost, percent
from secagg.demo.private.result import ARMS, PrivateResult, PrivateRound
from secagg.demo.private.setting import CLIP, PrivateConfig

SHOWN_ROUNDS = 6


@contextmanager
def watching(config: PrivateConfig, *, quiet: bool) -> Iterator[Callable[[PrivateRound], None]]:
    """Give what to call after every round: a live bar on a terminal, one line a round elsewhere."""
    notes = theme.notes()
    with theme.progress(shown=notes.is_terminal and not quiet) as bar:
        task = bar.add_task("dealing out the patients", total=config.rounds)

        def show(outcome: PrivateRound) -> None:
            accuracy = percent(outcome.accuracy["distributed"])
            line = f"epsilon {outcome.epsilon:.3f}, accuracy {accuracy}, {lost(outcome.dropouts)}"
            bar.update(task, advance=1, description=line)
            if not notes.is_terminal and not quiet:
                notes.print(f"round {outcome.round_index + 1} of {config.rounds}: {line}", soft_wrap=True)

        yield show


def show_result(result: PrivateResult, console: Console) -> None:
    """Print the comparison, what was spent, and what the promise says."""
    config = result.config
    console.print(
        f"{config.sites} sites trained on {config.dataset} ({sum(result.examples.values()):,} patients, skew "
        f"{config.skew}) for {config.rounds} rounds: {result.parameters} parameters, {config.bits} bits each in fields "
        f"of {result.fitted.width}"
    )
    _compare(result, console)
    _spent(result, console)
    fitted = result.fitted
    console.print(
        f"Noise: {fitted.privacy.law}, sigma {fitted.sigma:.4g} in the sum of gradients clipped to {CLIP:g} (a trusted "
        f"server needs {config.central_sigma:.4g}); sized for {fitted.privacy.least_survivors} survivors, "
        f"{config.colluders} of them colluding, who add none"
    )
    console.print(
        f"Privacy: {result.claim}. It holds against the server, {config.colluders} colluding "
        f"{'site' if config.colluders == 1 else 'sites'}, and whoever sees the model."
    )


def _compare(result: PrivateResult, console: Console) -> None:
    trusted = result.accuracy["trusted"]
    rows = theme.table("", "", "epsilon", "accuracy", "against the trusted server")
    for arm, what in ARMS.items():
        rows.add_row(
            what,
            "none" if arm == "open" else f"{result.config.epsilon:g}",
            percent(result.accuracy[arm]),
            "" if arm == "trusted" else f"{100 * (result.accuracy[arm] - trusted):+.1f} points",
            style="bold" if arm == "distributed" else None,
        )
    console.print(rows)


def _spent(result: PrivateResult, console: Console) -> None:
    """Print epsilon by round: what a patient spent who was in every sum, and what the sites' ledgers say."""
    rows = theme.table("", "after round", "epsilon spent", "by the sites' own ledgers", "in the sum", "noise / trusted")
    last = len(result.rounds)
    shown = sorted({round(1 + (last - 1) * place / (SHOWN_ROUNDS - 1)) for place in range(SHOWN_ROUNDS)})
    for outcome in (result.rounds[number - 1] for number in shown):
        ledgers = outcome.ledgers.values()
        rows.add_row(
            str(outcome.round_index + 1),
            f"{outcome.epsilon:.4f}",
            f"{min(ledgers):.4f} to {max(ledgers):.4f}",
            f"{len(outcome.included)} of {result.config.sites}",
            f"{outcome.noise:.3f}",
        )
    console.print(rows)
