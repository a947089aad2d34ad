"""What ``secagg demo`` shows on a terminal, and, without bars and colours, in a pipe."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from secagg import theme
from secagg.demo.config import DemoConfig
from secagg.demo.result import DemoResult, RoundOutcome
from secagg.simulate.display import histogram


@contextmanager
def watching(config: DemoConfig, *, quiet: bool) -> Iterator[Callable[[RoundOutcome], None]]:
    """Give what to call after every round: a live bar on a terminal, one line a round elsewhere.

    Both go to standard error, so that results can be piped; ``quiet`` leaves the lines out.
    """
    notes = theme.notes()
    with theme.progress(shown=notes.is_terminal) as bar:
        task = bar.add_task("loading PyTorch", total=config.rounds)

        def show(outcome: RoundOutcome) -> None:
            line = f"accuracy {percent(outcome.accuracy)}, {lost(outcome.dropouts)}"
            bar.update(task, advance=1, description=line)
            if not notes.is_terminal and not quiet:
                notes.print(f"round {outcome.round_index + 1} of {config.rounds}: {line}", soft_wrap=True)
                if outcome.monitoring is not None:
                    notes.print(f"  {outcome.monitoring.line()}", soft_wrap=True)
            if not quiet:
                for warning in outcome.warnings:
                    notes.print(f"warning, round {outcome.round_index + 1}: {warning}", soft_wrap=True)

        yield show


def show_result(result: DemoResult, console: Console) -> None:
    """Print the final table and what the server saw of one site."""
    console.print(headline(result))
    console.print(_table(result))
    _show_devices(result, console)
    _show_monitoring(result, console)
    _show_view(result, console)
    console.print(
        "Privacy: each update is hidden in the sum. The sum itself carries no noise, so no epsilon is claimed."
    )


def headline(result: DemoResult) -> str:
    """Say in one sentence what was run."""
    config = result.config
    bits = f"{config.bits} bits each" if config.adaptive_bits is None else f"bits by {config.adaptive_bits}"
    return (
        f"{config.sites} sites trained on {config.dataset} ({result.enrolment:,} examples, skew {config.skew}) for "
        f"{config.rounds} rounds: {result.parameters:,} parameters, {bits}"
    )


def percent(share: float) -> str:
    """Write a share of 1 as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def lost(dropouts: Mapping[int, str]) -> str:
    """Say which sites vanished, and where: ``lost 3 (share-keys), 7 (unmasking)``."""
    return "lost " + ", ".join(f"{site} ({phase})" for site, phase in dropouts.items()) if dropouts else "none lost"


def _table(result: DemoResult) -> Table:
    sent, plain = result.uplink_bytes, result.float32_bytes
    survived = result.dropouts_by_phase
    exact = sum(outcome.exact for outcome in result.rounds)
    rows = theme.table("", "", "secagg", "plain FedAvg")
    rows.add_row("accuracy on the test set", percent(result.accuracy), percent(result.accuracy_plain))
    rows.add_row("a site sends per round, all told", theme.human_bytes(sent), theme.human_bytes(plain))
    for phase, count in result.uplink_by_phase.items():
        rows.add_row(f"  {phase}", theme.human_bytes(count), "")
    rows.add_row("share of float32", f"{sent / plain:.2f}", "1.00")
    received = theme.human_bytes(result.downlink_bytes)
    rows.add_row("a site receives per round, all told", received, theme.human_bytes(plain), end_section=True)
    rows.add_row("drop-outs survived", str(sum(survived.values())), "")
    for phase, count in survived.items():
        rows.add_row(f"  before completing {phase}", str(count), "")
    if result.attempts > len(result.rounds):
        rows.add_row("attempts, for rounds without a joint seed", str(result.attempts), "")
    rows.add_row("sums that are exact", f"{exact} of {len(result.rounds)}", "")
    rows.add_row("coordinates beyond the grid", str(result.saturated), "", end_section=True)
    rows.add_row("time in training, all sites", theme.human_seconds(result.seconds_training), "")
    rows.add_row("time in crypto, all sites and server", theme.human_seconds(result.seconds_crypto), "")
    return rows


def _show_devices(result: DemoResult, console: Console) -> None:
    """Print what sites of different kinds saved and took, if there are several."""
    if not result.savings:
        return
    devices, seconds = result.config.devices, result.device_seconds()
    rows = theme.table("", "device", "sites", "bits", "sends, in one sum", "in a sum of its own", "seconds a round")
    for group in result.savings:
        names = {device.name for device in devices.values() if device.shift == group.shift}
        rows.add_row(
            ", ".join(sorted(names)),
            str(group.clients),
            str(result.rounds[-1].bits - group.shift),
            theme.human_bytes(group.together_bytes),
            theme.human_bytes(group.apart_bytes),
            theme.human_seconds(max(seconds[name] for name in names & seconds.keys())),
        )
    console.print(rows)
    console.print(
        "Seconds were measured here and divided by the speed of the device. Coarser devices save bytes only in a sum "
        "of their own, which hides them among fewer."
    )


def _show_monitoring(result: DemoResult, console: Console) -> None:
    """Print what the last round's sums told, and every kind of warning once."""
    last = result.rounds[-1]
    if last.monitoring is None:
        console.print("Monitoring is off.")
        return
    console.print(f"Monitoring, last round ({last.bits} bits, range {last.range:.3g}): {last.monitoring.line()}")
    for warning, rounds in result.warned.items():
        console.print(f"warning in {len(rounds)} of {len(result.rounds)} rounds: {warning}", style="bold")


def _show_view(result: DemoResult, console: Console) -> None:
    view = result.view
    console.print(
        f"What the server saw in the last round ({view.true.size:,} coordinates, how often each value occurs):"
    )
    for name, values, low, high in (
        (f"site {view.client}'s update", view.true, *reach(view.true)),
        ("what left the site", view.sent, 0, 2**result.field_bits - 1),
        ("the sum", view.total, *reach(view.total)),
    ):
        console.print(f"  {name:18} {low:6} {histogram(values - values.dtype.type(low), high - low)} {high}")


def reach(values: NDArray[np.int64]) -> tuple[int, int]:
    """Give the smallest and the largest of some integers, at least 1 apart."""
    low, high = int(values.min()), int(values.max())
    return low, max(high, low + 1)
