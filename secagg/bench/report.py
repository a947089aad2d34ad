"""The page of ``secagg bench all``: one HTML file with its pictures inside."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from secagg import theme
from secagg.bench import figures
from secagg.bench.figures import Draw
from secagg.bench.whole import Compared, Run

SECTIONS: tuple[tuple[str, Draw, str, str], ...] = (
    (
        "masking", figures.masking, "Masking against AES",
        "A mask is the output of AES-256-CTR, added to the packed update; nothing can be faster than the cipher alone. "
        "The figure beside a bar is the share of the cipher's own speed.",
    ),
    (
        "memory", figures.memory, "Memory of the server",
        "A thousand clients, a million numbers each. The total itself is one packed vector (the line); masked inputs "
        "and sealed shares wait on disk.",
    ),
    (
        "peers", figures.peers, "A round against peers",
        "Computation only, no transport, the same inputs on the same machine. Shorter is better; scales are "
        "logarithmic.",
    ),
    (
        "scaling", figures.growth, "Growth",
        "Left: the server's end of a large sparse round with 5 % dropped. Right: whole rounds over the complete graph.",
    ),
    (
        "quant", figures.error, "Bits against error",
        "Ten updates on the grid that the planner chose from a public sample. EDEN is as good as a compressor of "
        "single updates gets; its results cannot be added under masks.",
    ),
    (
        "quant", figures.schemes, "Every scheme at eight bits on the wire",
        "Eight bits hold the sum of ten sites. Lossless schemes have no error and are left out.",
    ),
    (
        "mechanism", figures.mechanism, "Noise against a trusted server",
        "Every site adds its share of integer noise. 1 would be a trusted server that adds one Gaussian to the exact "
        "sum.",
    ),
    (
        "epsilon", figures.epsilon, "Epsilon against accuracy",
        "Real digits, read by a model that hospitals train through the real protocol, noise inside the sum. Few runs: "
        "an illustration. The study, with standard errors, is secagg demo --sweep epsilon --dataset digits.",
    ),
    (
        "noise", figures.noise, "Speed of exact noise",
        "Integers drawn exactly from a cryptographic stream, on one core.",
    ),
)  # fmt: skip

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>secagg bench all</title>
<style>
{style}
</style>
</head>
<body>
<h1>secagg, measured</h1>
<p class="quiet">{facts}</p>
{quick}
{sections}
{compared}
<section><h2>What was run</h2>
<p>Each section is one <code>secagg bench NAME</code>, with all of its figures in <code>bench.json</code>.</p>
<table><thead><tr><th class="text">bench</th><th>seconds</th><th>rows</th></tr></thead><tbody>
{benches}
</tbody></table></section>
</body>
</html>
"""


def bench_html(run: Run, compared: Sequence[Compared] = (), against: Run | None = None) -> str:
    """Write the report of a run, compared with an earlier one where it is given."""
    sections = "\n".join(
        f"<section><h2>{escape(title)}</h2><p>{escape(text)}</p>{draw(run['benches'][name]['rows'])}</section>"
        for name, draw, title, text in SECTIONS
        if name in run["benches"]
    )
    benches = "\n".join(
        f'<tr><td class="text">{escape(name)}</td><td>{part["seconds"]:.0f}</td><td>{len(part["rows"])}</td></tr>'
        for name, part in run["benches"].items()
    )
    quick = "<p><b>A quick run: small sizes. It shows the shape, not the figures.</b></p>" if run["quick"] else ""
    return PAGE.format(
        style=theme.PAGE_STYLE,
        facts=escape(facts(run)),
        quick=quick,
        sections=sections,
        compared="" if against is None else _compared(compared, against),
        benches=benches,
    )


def facts(run: Run) -> str:
    """Say where and when in the history a run was made."""
    machine = run["machine"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, {machine['system']}; "
        f"commit {(run['commit'] or 'unknown')[:12]}; {run['seconds'] / 60:.1f} minutes"
    )


def _compared(rows: Sequence[Compared], against: Run) -> str:
    body = "\n".join(
        f'<tr><td class="text">{escape(row.bench)}</td><td class="text">{escape(row.case)}</td>'
        f'<td class="text">{escape(row.figure)}</td><td>{row.before:.3g}</td><td>{row.after:.3g}</td>'
        f"<td>{row.better:.2f}</td></tr>"
        for row in rows
    )
    return (
        f'<section class="long"><h2>Compared</h2><p>With {escape(facts(against))}. Above 1 is better than then.</p>'
        '<table><thead><tr><th class="text">bench</th><th class="text">case</th><th class="text">figure</th>'
        f"<th>then</th><th>now</th><th>better by</th></tr></thead><tbody>{body}</tbody></table></section>"
    )
