"""The coordinator's page: rendered on the server, no script, nothing from elsewhere; read-only, behind a token."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from protocols import ParameterError
from protocols.pairwise.params import default_threshold
from secagg import theme
from secagg.coordinator.engine import Engine
from secagg.study.receipt import Receipt
from secagg.study.rounds import Validation

COOKIE = "secagg-token"
ROWS = 200
PHASES = ("advertise-keys", "reveal-randomness", "share-keys", "masked-input", "consistency-check", "unmasking")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class Page:
    """Shows one engine to whoever holds the token.

    Args:
        engine: the study.
        token: what opens the page, once as ``/?token=...`` and then as a cookie.
    """

    def __init__(self, engine: Engine, token: str) -> None:
        self._engine, self._token = engine, token
        loader = jinja2.PackageLoader("secagg.coordinator", "templates")
        self._template = jinja2.Environment(loader=loader, autoescape=True).get_template("page.html")

    @property
    def routes(self) -> tuple[Route, ...]:
        """Where the page is."""
        return (Route("/", self._show),)

    async def _show(self, request: Request) -> Response:
        given = request.query_params.get("token")
        if given is not None and self._opens(given):
            path = request.scope.get("root_path", "") + "/"
            answer: Response = RedirectResponse(path, 303, _HEADERS)
            secure = request.url.scheme == "https"
            answer.set_cookie(COOKIE, given, httponly=True, samesite="strict", secure=secure, max_age=30 * 86400)
            return answer
        if not self._opens(request.cookies.get(COOKIE, "")):
            says = "this page needs its token: open /?token= with what is in the coordinator's page-token\n"
            return PlainTextResponse(says, 401, _HEADERS)
        return HTMLResponse(self.render(), headers=_HEADERS)

    def _opens(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())

    def render(self) -> str:
        """Return the page as it is now."""
        engine = self._engine
        receipts = engine.receipts()
        return self._template.render(
            study=engine.study,
            finished=engine.progress.finished,
            blue=theme.BLUE,
            orange=theme.ORANGE,
            tiles=_tiles(engine, receipts),
            now=_now(engine),
            sites=_sites(engine),
            curves=_curves(receipts),
            seen=_seen(engine),
            least_hidden=_least_hidden(engine),
            privacy=_privacy(engine),
            answers=_answers(receipts),
            rounds=[_row(said) for said in reversed(receipts[-ROWS:])],
        )


def _tiles(engine: Engine, receipts: Sequence[Receipt]) -> list[dict[str, str]]:
    opened = [said for said in receipts if said.outcome == "opened"]
    last = Validation(opened[-1].counters) if opened else None
    missing = sum(len(said.clients) - len(said.included) for said in opened)
    tiles = [
        (f"{engine.progress.opened} of {engine.study.training.rounds}", "rounds summed"),
        (f"{len(engine.present())} of {len(engine.study.site)}", "sites are here"),
        (str(missing), f"drop-outs survived; {len(receipts) - len(opened)} attempts without a sum"),
    ]
    if last is not None and last.accuracy is not None:
        tiles.append((f"{100 * last.accuracy:.1f} %", "accuracy before the last round"))
    if (promised := engine.study.privacy) is not None:
        meaning = f"of epsilon {promised.epsilon:g} spent (delta {promised.delta:g}, unit {promised.unit})"
        tiles.append((f"{engine.spent:.3f}", meaning))
    return [{"figure": figure, "meaning": meaning} for figure, meaning in tiles]


def _now(engine: Engine) -> dict[str, Any]:
    live = engine.live
    if live is None:
        return {"title": engine.progress.finished or f"Waiting for sites to begin round {engine.progress.round + 1}"}
    left_out = set() if live.config.adversary == "active" else {"consistency-check"}
    if not live.config.params.sparse:
        left_out.add("reveal-randomness")
    phase = live.status.phase
    return {
        "title": f"Round {live.opening.round + 1}" + (f", try {live.opening.attempt + 1}" * bool(live.opening.attempt)),
        "phases": [name for name in PHASES if name not in left_out],
        "phase": phase.value if phase else "",
    }


def _sites(engine: Engine) -> list[dict[str, str]]:
    now, live = engine.clock(), engine.live
    rows = []
    for site in engine.study.site:
        phase = "not invited" if live is not None else ""
        if live is not None and site.id in live.opening.clients:
            status = live.status
            phase = "done" if site.id in status.have else "awaited" if site.id in status.pending else "dropped out"
        seen = engine.seen.get(site.id)
        fraction = engine.training.get(site.id)
        rows.append(
            {
                "id": str(site.id),
                "name": site.name,
                "phase": phase,
                "training": "" if fraction is None else f"{100 * fraction:.0f} %",
                "seen": "never" if seen is None else f"{now - seen:.0f} s ago",
                "sent": theme.human_bytes(live.uplink_bytes.get(site.id, 0)) if live is not None else "",
            }
        )
    return rows


def _seen(engine: Engine) -> dict[str, str] | None:
    """Return the beginning of one masked input that is held now."""
    found = engine.masked_words()
    return None if found is None else {"site": str(found[0]), "words": " ".join(found[1])}


def _privacy(engine: Engine) -> str:
    promised = engine.study.privacy
    if promised is None:
        return "this study adds no noise and claims no epsilon"
    return (
        f"every {promised.unit} is protected by epsilon {promised.epsilon:g} at delta {promised.delta:g}, of which "
        f"{engine.spent:.3f} is spent; {promised.law} noise is in every sum, and each site's own ledger decides"
    )


def _answers(receipts: Sequence[Receipt]) -> list[dict[str, str]]:
    """Return the lines of what a study of kind analytics found."""
    found = next((said.answers for said in reversed(receipts) if said.answers), {})
    return [
        {"question": answer["name"], "what": label, "value": _estimate(value)}
        for answer in found.get("answers", ())
        for label, value in answer["values"].items()
    ]


def _estimate(value: dict[str, float | None]) -> str:
    if value["value"] is None:
        return "withheld"
    text = f"{value['value']:.6g}"
    bounded = value["deviation"] and value["low"] is not None and value["high"] is not None
    return f"{text} ({value['low']:.6g} to {value['high']:.6g})" if bounded else text


def _least_hidden(engine: Engine) -> str:
    protection = engine.study.protocol
    try:
        least = default_threshold(engine.study.training.min_sites, protection.adversary, engine.study.colluders)
    except ParameterError:
        return "none"
    return str(least - max(1, engine.study.colluders))


def _row(said: Receipt) -> dict[str, str]:
    judged = Validation(said.counters)
    return {
        "round": str(said.round + 1),
        "outcome": said.outcome if said.outcome == "opened" else f"{said.outcome}, try {said.attempt + 1}",
        "included": str(len(said.included)),
        "missing": ", ".join(map(str, sorted(set(said.clients) - set(said.included)))),
        "accuracy": "" if judged.accuracy is None else f"{judged.accuracy:.4f}",
        "loss": "" if judged.loss is None else f"{judged.loss:.4f}",
        "reason": said.reason,
    }


def _curves(receipts: Sequence[Receipt]) -> list[Markup]:
    judged = [(said.round + 1, Validation(said.counters)) for said in receipts if said.outcome == "opened"]
    accuracy = [(number, one.accuracy) for number, one in judged if one.accuracy is not None]
    loss = [(number, one.loss) for number, one in judged if one.loss is not None]
    return [_curve(*series) for series in (("accuracy", accuracy), ("loss", loss)) if series[1]]


def _curve(name: str, points: list[tuple[int, float]]) -> Markup:
    """Draw one curve as an inline picture: a line, its two ends in numbers, and a text for who cannot see it."""
    width, height, pad = 320.0, 150.0, 28.0
    xs, ys = [float(x) for x, _ in points], [y for _, y in points]
    low, high = min(ys), max(ys)
    across, up = max(xs[-1] - xs[0], 1.0), max(high - low, 1e-12)
    path = " ".join(
        f"{pad + (x - xs[0]) / across * (width - 2 * pad):.1f},{height - pad - (y - low) / up * (height - 2 * pad):.1f}"
        for x, y in zip(xs, ys, strict=True)
    )
    says = f"{name} from {ys[0]:.4f} in round {xs[0]:.0f} to {ys[-1]:.4f} in round {xs[-1]:.0f}"
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="{says}"><title>{says}</title>'
        '<polyline points="{path}" fill="none" stroke="{blue}" stroke-width="2"/>'
        '<text x="{pad}" y="14">{name}</text><text x="{pad}" y="{bottom}">round {first:.0f}: {begin:.4f}</text>'
        '<text x="{right}" y="{bottom}" text-anchor="end">round {last:.0f}: {end:.4f}</text></svg>'
    ).format(
        w=width, h=height, says=says, path=path, blue=theme.BLUE, pad=pad, name=name, bottom=height - 8,
        first=xs[0], begin=ys[0], right=width - pad, last=xs[-1], end=ys[-1],
    )  # fmt: skip
