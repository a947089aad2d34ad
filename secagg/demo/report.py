"""``report.html``: one file that opens anywhere, prints well, and links to nothing."""

from html import escape
from string import Template

from secagg import theme
from secagg.demo import figures
from secagg.demo.display import headline, percent
from secagg.demo.result import DemoResult, RoundOutcome

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>secagg demo: $dataset</title>
<style>
$style</style>
</head>
<body>
<h1>$title</h1>
<p class="quiet">$headline. Seed $seed.</p>
<div class="tiles">
$tiles
</div>
<section>
<h2>Accuracy</h2>
<p>Two federations started from the same weights and lost the same sites in the same rounds. One averaged
through the protocol, the other in plain floats.</p>
$accuracy_curve
</section>
<section>
<h2>Bytes</h2>
<p>Everything that a site sends in a round, for the site and round that sent most. Plain FedAvg sends its
update as float32.</p>
$bytes_bar
</section>
<section>
<h2>What the server saw</h2>
<p>How often each integer occurs among $shown coordinates in the last round.</p>
$server_view
</section>
<section class="long">
<h2>Round by round</h2>
<div class="scroll">
<table>
<thead><tr><th>round</th><th>accuracy</th><th>plain<br>FedAvg</th><th class="text">vanished (before completing)</th>
<th>in the<br>sum</th><th>sum<br>exact</th><th>beyond<br>the grid</th>
<th>bits</th><th>error of<br>the mean</th><th>crypto</th><th>training</th></tr></thead>
<tbody>
$rows
</tbody>
</table>
</div>
<p class="quiet">A site that vanishes before completing masked-input, or earlier, is not in the sum. One that
vanishes later has sent its input already, and is.</p>
</section>
<section>
<h2>How to read this</h2>
<ul>
<li>The grid: every coordinate of an update, times the site's examples over the agreed most of $weight_bound, is
rounded ($scheme) to $bits bits on [-r, r]. $range</li>
<li>At least $threshold of $sites sites must stay for a sum to be opened.</li>
<li>Sites sign what they send and the list of survivors, so the server may lie without reading an update; its log
and the receipts of the sites are in transcript.jsonl (secagg audit). Secure aggregation hides the updates in their
sum; it does not hide what the sum says. No noise was added, so no epsilon is claimed. Sums of
rounds with different drop-outs can be compared, and the total number of examples in each is opened with it, so
sizes of sites can be worked out over many rounds.</li>
<li>All sites and the server ran in one process on one machine: bytes are real, network time is not in the
seconds.</li>
</ul>
</section>
</body>
</html>
""")


def report_html(result: DemoResult) -> str:
    """Write the whole report as one HTML page with inline styles and pictures."""
    config = result.config
    return PAGE.substitute(
        dataset=escape(config.dataset),
        style=theme.PAGE_STYLE,
        title=f"{config.sites} hospitals trained a model; the server saw only sums",
        headline=escape(headline(result)),
        seed=config.seed,
        tiles="\n".join(_tile(*tile) for tile in _tiles(result)),
        accuracy_curve=figures.accuracy_curve(result),
        bytes_bar=figures.bytes_bar(result),
        server_view=figures.server_view(result),
        shown=f"{result.view.true.size:,}",
        rows="\n".join(_row(outcome) for outcome in result.rounds),
        weight_bound=f"{result.weight_bound:,}",
        scheme=config.scheme,
        bits=config.adaptive_bits or config.bits,
        range=_range(result),
        threshold=config.threshold,
        sites=config.sites,
    )


def _tiles(result: DemoResult) -> list[tuple[str, str]]:
    survived = sum(result.dropouts_by_phase.values())
    exact = sum(outcome.exact for outcome in result.rounds)
    return [
        (percent(result.accuracy), f"accuracy; plain float FedAvg {percent(result.accuracy_plain)}"),
        (
            f"{result.uplink_bytes / result.float32_bytes:.2f} ×",
            f"of float32: a site sends {theme.human_bytes(result.uplink_bytes)} a round",
        ),
        (str(survived), f"drop-outs survived; {exact} of {len(result.rounds)} sums exact"),
        (
            theme.human_seconds(result.seconds_crypto),
            f"in crypto, beside {theme.human_seconds(result.seconds_training)} of training",
        ),
    ]


def _range(result: DemoResult) -> str:
    """Say where the grid's range came from."""
    if result.config.range is not None:
        return f"r = {result.config.range:g} was chosen by hand; what lay beyond was cut off and is counted above."
    if result.config.adaptive_clip is not None or result.config.updates == "gradient":
        return (
            f"r follows from the clip on the norm of an update ({result.rounds[0].range:.3g} in the first round, "
            f"{result.rounds[-1].range:.3g} in the last)."
        )
    return (
        f"r is the local learning rate times the local steps ({result.rounds[0].range:.3g} in the first round, "
        f"{result.rounds[-1].range:.3g} in the last): the optimiser cannot move a coordinate further, so r is public "
        "and nobody's data was needed to choose it."
    )


def _vanished(outcome: RoundOutcome) -> str:
    """List the drop-outs so that a line may break between two of them, but not inside one."""
    return ", ".join(f"<span>{site} ({escape(phase)})</span>" for site, phase in outcome.dropouts.items()) or "nobody"


def _error(outcome: RoundOutcome) -> str:
    """Say how long the quantization error was, as the sums of the round tell it."""
    seen = outcome.monitoring
    return "" if seen is None or seen.relative_error is None else percent(seen.relative_error**0.5)


def _tile(figure: str, meaning: str) -> str:
    return f'<div class="tile"><b>{escape(figure)}</b><span>{escape(meaning)}</span></div>'


def _row(outcome: RoundOutcome) -> str:
    cells = [
        f"<td>{outcome.round_index + 1}</td>",
        f"<td>{percent(outcome.accuracy)}</td>",
        f"<td>{percent(outcome.accuracy_plain)}</td>",
        f'<td class="text">{_vanished(outcome)}</td>',
        f"<td>{len(outcome.included)}</td>",
        f"<td>{'yes' if outcome.exact else 'NO'}</td>",
        f"<td>{outcome.saturated}</td>",
        f"<td>{outcome.bits}</td>",
        f"<td>{_error(outcome)}</td>",
        f"<td>{theme.human_seconds(outcome.seconds_crypto)}</td>",
        f"<td>{theme.human_seconds(outcome.seconds_training)}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"
