"""The pictures of ``secagg bench all``: each a function from the rows of a bench to inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from secagg import theme
from secagg.bench.measure import Row
from secagg.demo.private.result import ARMS
from secagg.demo.private.study_figure import accuracies
from secagg.plots import drawing, svg

Draw = Callable[[Sequence[Row]], str]
WIDTH = 7.4


def masking(rows: Sequence[Row]) -> str:
    """Draw masking against the cipher that it is made of."""
    shown = [row for row in rows if row.get("limit_gbps")]
    with drawing():
        figure = Figure(figsize=(WIDTH, 0.9 + 0.7 * len(shown)))
        axes = figure.subplots()
        for place, row in enumerate(shown):
            axes.barh(place - 0.18, row["gbps"], 0.34, color=theme.BLUE, label=None if place else "masks")
            axes.barh(
                place + 0.18, row["limit_gbps"], 0.34, color=theme.PALE, hatch="//", edgecolor="white",
                label=None if place else "AES-256-CTR alone, one thread",
            )  # fmt: skip
            _beside(axes, row["gbps"], place - 0.18, f"{row['fraction']:.0%}", 10)
        _cases(axes, [row["case"] for row in shown])
        axes.set_xlabel("GiB/s of masks expanded and added")
        axes.set_xlim(0, 1.12 * max(max(row["gbps"], row["limit_gbps"]) for row in shown))
        figure.legend(loc="outside upper right", ncols=2)
        return svg(figure, "masking against the cipher alone")


def memory(rows: Sequence[Row]) -> str:
    """Draw the server's peak memory in packed vectors."""
    with drawing():
        figure = Figure(figsize=(WIDTH, 0.8 + 0.6 * len(rows)))
        axes = figure.subplots()
        for place, row in enumerate(rows):
            axes.barh(place, row["packed_vectors"], 0.5, color=theme.BLUE)
            size = f"{row['packed_vectors']:.2f} vectors, {theme.human_bytes(row['peak_bytes'])}"
            _beside(axes, row["packed_vectors"], place, size, 10)
        axes.axvline(1, color=theme.VERMILION, linestyle="--", linewidth=1)
        _cases(axes, [row["case"] for row in rows])
        axes.set(
            xlabel="peak memory above idle, in packed vectors", xlim=(0, 1.6 * max(r["packed_vectors"] for r in rows))
        )
        return svg(figure, "peak memory of the server")


def peers(rows: Sequence[Row]) -> str:
    """Draw seconds and bytes of each system, one row of panels for each size."""
    sizes = list(dict.fromkeys((row["clients"], row["dim"]) for row in rows))
    with drawing():
        figure = Figure(figsize=(WIDTH, 1.2 + 0.36 * len(rows)))
        heights = [sum((row["clients"], row["dim"]) == size for row in rows) for size in sizes]
        grid = figure.subplots(len(sizes), 3, height_ratios=heights, squeeze=False)
        for line, size in zip(grid, sizes, strict=True):
            _peers_of(line, [row for row in rows if (row["clients"], row["dim"]) == size], size)
        return svg(figure, "a round against peers")


def _peers_of(line: Any, rows: Sequence[Row], size: tuple[int, int]) -> None:
    keys = (("client_seconds", "client, s"), ("server_seconds", "server, s"), ("uplink_bytes", "up, MB"))
    names = [
        row["system"].split(":")[0].split(",")[0] if row["uplink_bytes"] is None else row["system"] for row in rows
    ]
    for axes, (key, label) in zip(line, keys, strict=True):
        for place, row in enumerate(rows):
            value = row[key]
            if value is None:
                axes.text(0.02, place, "not installed", va="center", fontsize=8, transform=axes.get_yaxis_transform())
                continue
            value = value / 1e6 if key == "uplink_bytes" else value
            ours = row["system"].startswith("secagg")
            axes.barh(
                place,
                value,
                0.6,
                color=theme.BLUE if ours else theme.ORANGE,
                hatch="" if ours else "//",
                edgecolor="white",
            )
            _beside(axes, value, place, f"{value:.3g}", 8)
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.set_xlim(low, high * (high / low) ** 0.35)
        axes.set_title(label, fontsize=10)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_yticks(range(len(rows)), names if axes is line[0] else [""] * len(rows), fontsize=8)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(visible=False, axis="y")
    line[0].set_ylabel(f"{size[0]} clients\n{size[1]:,} numbers", fontsize=9)


def growth(rows: Sequence[Row]) -> str:
    """Draw the server's seconds against clients, and both sides' against the length of a vector."""
    by_clients = [row for row in rows if "masks" in row]
    by_dim = [row for row in rows if "dim" in row]
    with drawing():
        figure = Figure(figsize=(WIDTH, 3.2))
        left, right = figure.subplots(1, 2)
        left.plot(
            [row["clients"] for row in by_clients], [row["seconds"] for row in by_clients], marker="o", label="server"
        )
        left.set(xscale="log", yscale="log", xlabel="clients (secagg+, a million numbers)", ylabel="seconds")
        for key, name in (("client_seconds", "one client"), ("server_seconds", "server")):
            right.plot([row["dim"] for row in by_dim], [row[key] for row in by_dim], marker="o", label=name)
        right.set(xscale="log", yscale="log", xlabel="numbers in an update (20 clients)", ylabel="seconds")
        right.legend()
        for axes in (left, right):
            axes.yaxis.set_minor_formatter(NullFormatter())
        drawn = svg(figure, "growth with clients and length")
    uplink = next(row for row in rows if "limit_bytes" in row)
    sent, bare = theme.human_bytes(uplink["bytes"]), theme.human_bytes(uplink["limit_bytes"])
    return f"{drawn}<p>Bytes: {uplink['case']}: {sent} in all, {uplink['ratio']:.3f} of the packed sum's {bare}.</p>"


def error(rows: Sequence[Row]) -> str:
    """Draw the error of a mean against bits on the wire, beside what cannot be summed."""
    wanted = {
        "planned rotation + dither": "rotation + dither",
        "planned rotation + stochastic": "rotation + stochastic",
        "EDEN (not summable)": "EDEN (cannot be summed)",
    }
    data = [
        name
        for name in dict.fromkeys(row["data"] for row in rows)
        if any(r["scheme"] in wanted for r in rows if r["data"] == name)
    ]
    with drawing():
        figure = Figure(figsize=(WIDTH, 3.4))
        for axes, name in zip(figure.subplots(1, len(data), sharey=True, squeeze=False)[0], data, strict=True):
            for (scheme, label), marker in zip(wanted.items(), "os^", strict=True):
                points = [(r["wire_bits"], r["nmse"]) for r in rows if (r["scheme"], r["data"]) == (scheme, name)]
                points = sorted(set(points))
                axes.plot([x for x, _ in points], [y for _, y in points], marker=marker, label=label)
            axes.set(yscale="log", xlabel="bits on the wire", title=f"{name} updates")
        figure.axes[0].set_ylabel("squared error of the mean")
        figure.axes[0].legend(fontsize=9)
        return svg(figure, "error against bits")


def schemes(rows: Sequence[Row]) -> str:
    """Draw the error of every scheme at eight bits on the wire."""
    shown = [row for row in rows if "encode_seconds" in row and row["nmse"] > 0]
    names = list(dict.fromkeys(row["scheme"] for row in shown))
    data = list(dict.fromkeys(row["data"] for row in shown))
    with drawing():
        figure = Figure(figsize=(WIDTH, 0.7 + 0.28 * len(names)))
        axes = figure.subplots()
        for name, marker, colour in zip(data, "os^Dv", theme.COLOURS, strict=False):
            found = {row["scheme"]: row["nmse"] for row in shown if row["data"] == name}
            places = [place for place, scheme in enumerate(names) if scheme in found]
            axes.plot([found[names[p]] for p in places], places, marker=marker, color=colour, linestyle="", label=name)
        axes.set(xscale="log", xlabel="squared error of the mean of 10 updates, 8 bits each on the wire")
        _cases(axes, names)
        figure.legend(loc="outside upper right", ncols=len(data))
        return svg(figure, "error of every scheme")


def mechanism(rows: Sequence[Row]) -> str:
    """Draw the error of a private mean over that of a trusted server, against epsilon."""
    with drawing():
        figure = Figure(figsize=(WIDTH, 3))
        axes = figure.subplots()
        for clients, marker in zip(dict.fromkeys(row["clients"] for row in rows), "os^D", strict=False):
            shown = [row for row in rows if row["clients"] == clients]
            axes.errorbar(
                [row["epsilon"] for row in shown], [row["ratio"] for row in shown],
                yerr=[row["standard_error"] for row in shown], marker=marker, capsize=3, label=f"{clients:,} sites",
            )  # fmt: skip
        axes.axhline(1, color=theme.GREY, linewidth=1, linestyle="-")
        axes.set(xlabel="epsilon", ylabel="squared error over a\ntrusted server's")
        axes.legend()
        return svg(figure, "noise against a trusted server")


def epsilon(rows: Sequence[Row]) -> str:
    """Draw the accuracy of a private model against epsilon."""
    first = rows[0]
    with drawing():
        figure = Figure(figsize=(WIDTH, 3.6))
        axes = figure.subplots()
        accuracies(axes, [row["epsilon"] for row in rows], {arm: [row[arm] for row in rows] for arm in ARMS})
        axes.set(xlabel="epsilon that every patient is promised", ylabel="accuracy on the test set")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=10)
        drawn = svg(figure, "accuracy against epsilon")
    seeds = f"the mean of seeds 0 to {first['seeds'] - 1}" if first["seeds"] > 1 else "seed 0 alone"
    return (
        f"{drawn}<p>{first['sites']} sites, {first['rounds']} rounds, {first['dropped']} sites lost in every one; "
        f"{seeds}.</p>"
    )


def noise(rows: Sequence[Row]) -> str:
    """Draw samples of noise a second."""
    with drawing():
        figure = Figure(figsize=(WIDTH, 3))
        axes = figure.subplots()
        laws = [law for law in dict.fromkeys(row["law"] for row in rows) if sum(row["law"] == law for row in rows) > 1]
        for law, marker in zip(laws, "os^", strict=False):
            shown = [row for row in rows if row["law"] == law]
            axes.plot(
                [row["sigma"] for row in shown], [row["draws_per_second"] for row in shown], marker=marker, label=law
            )
        peer = {row["sigma"]: row["peer_draws_per_second"] for row in rows if row.get("peer_draws_per_second")}
        if peer:
            axes.plot(list(peer), list(peer.values()), marker="D", label="OpenDP")
        axes.set(xscale="log", yscale="log", xlabel="standard deviation", ylabel="exact draws a second, one core")
        axes.legend()
        return svg(figure, "noise draws a second")


def _beside(axes: Axes, end: float, place: float, text: str, size: int) -> None:
    """Write ``text`` a little to the right of a bar's ``end``; blanks before it would vanish in SVG."""
    axes.annotate(text, (end, place), (3, 0), textcoords="offset points", va="center", fontsize=size)


def _cases(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
