"""The page, the metrics and the logs: what people see of a study, and nothing more."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from secagg import cli, theme
from secagg.coordinator.command import page_token
from secagg.coordinator.gate import Gate
from secagg.coordinator.metrics import metrics_route
from secagg.coordinator.page import Page
from secagg.coordinator.web import Web
from secagg.errors import UsageError
from secagg.transport.logs import JsonFormatter
from tests.consortium.test_coming_and_going import Play, play
from tests.support.consortium import known_update

TOKEN = "a-token-for-the-page"
__all__ = ["play"]


def validated(weights, context) -> dict[str, float]:
    del weights
    return {"examples": 10, "correct": 5 + context.round, "loss": 4.0 - context.round}


class Browser:
    """Asks the application without a network, and keeps cookies."""

    def __init__(self, web: Web) -> None:
        transport = httpx.ASGITransport(app=web.app)
        self._client = httpx.AsyncClient(transport=transport, base_url="https://localhost")
        self._loop = asyncio.new_event_loop()

    def get(self, path: str, *, method: str = "GET", **options: object) -> httpx.Response:
        return self._loop.run_until_complete(self._client.request(method, path, **options))

    def close(self) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()


@pytest.fixture
def watched(play: Play) -> Iterator[tuple[Play, Browser]]:
    engine = play.engine
    web = Web(engine, Gate(engine.study, {}), (*Page(engine, TOKEN).routes, metrics_route(engine, TOKEN)))
    browser = Browser(web)
    yield play, browser
    browser.close()


def in_the_middle(play: Play) -> None:
    """Two rounds are over; in the third, masked inputs are coming in."""
    play.join(1, 2, 3, 4, 5, evaluate=validated)
    play.until(2)
    while play.engine.live is None or play.engine.live.status.phase.value != "masked-input":
        play.steps(1)
    play.steps(1, 1, 2, 3)


def test_the_page_needs_its_token(watched) -> None:
    _, client = watched
    assert client.get("/").status_code == 401
    assert client.get("/?token=another").status_code == 401
    entered = client.get(f"/?token={TOKEN}")
    assert entered.status_code == 303
    assert "httponly" in entered.headers["set-cookie"].lower()
    assert TOKEN not in entered.headers["location"]
    assert client.get("/").status_code == 200
    assert client.get("/", method="POST").status_code == 405


def test_the_page_shows_the_study(watched) -> None:
    play, client = watched
    in_the_middle(play)
    page = client.get(f"/?token={TOKEN}", follow_redirects=True).text
    for text in ("trial", "2 of 6", "5 of 5", "Round 3", "masked-input", "hospital 4", "awaited", "60.0 %"):
        assert text in page
    assert page.count("<polyline") == 2
    assert play.engine.masked_words()[1][0] in page
    assert not re.search(r'(?:src|href)="http', page)
    assert "<script" not in page


def test_names_cannot_inject(play: Play) -> None:
    path = play.lab.home / "lead" / "study.toml"
    path.write_text(path.read_text().replace('"hospital 4"', '"<script>alert(1)</script>"'))
    engine = play.engine
    engine.study = play.lab.study
    page = Page(engine, TOKEN).render()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_metrics(watched) -> None:
    play, client = watched
    in_the_middle(play)
    assert client.get("/metrics").status_code == 401
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["secagg_rounds_total", "opened"] == 2
    assert found["secagg_round",] == 3
    assert found["secagg_sites_present",] == 5
    assert found["secagg_validation_accuracy",] == 0.6
    assert found["secagg_phase_sites", "masked-input", "done"] >= 1


def test_the_dashboard_asks_for_metrics_that_exist(watched) -> None:
    play, client = watched
    in_the_middle(play)
    text = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    dashboard = json.loads((Path(__file__).parents[2] / "secagg" / "coordinator" / "grafana.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"secagg_\w+", target["expr"])
    }
    assert asked
    assert asked <= set(re.findall(r"^(secagg_\w+)", text, re.MULTILINE))


@pytest.mark.parametrize(("name", "size"), [("phone", "390,1600"), ("desk", "1200,1400")])
def test_the_page_in_a_browser(play: Play, tmp_path: Path, name: str, size: str) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is not installed: the page was not drawn")
    in_the_middle(play)
    html, picture = tmp_path / "page.html", tmp_path / f"{name}.png"
    html.write_text(Page(play.engine, TOKEN).render())
    base = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path}/p",
    ]
    subprocess.run(
        [*base, f"--window-size={size}", f"--screenshot={picture}", html.as_uri()],
        check=True, capture_output=True, timeout=90,
    )  # fmt: skip
    assert picture.stat().st_size > 10_000
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("text", ["", "0" * 35, "x" * 36])
def test_a_token_that_is_none_opens_nothing(tmp_path: Path, text: str) -> None:
    """Such as the empty file that a full disk leaves: without a cookie, the empty token would do."""
    (tmp_path / "page-token").write_text(text)
    with pytest.raises(UsageError, match="holds no token"):
        page_token(tmp_path)
    (tmp_path / "page-token").unlink()
    assert page_token(tmp_path) == page_token(tmp_path)


@pytest.mark.parametrize("console", [theme.output, theme.notes])
def test_a_terminal_shows_names_and_does_not_obey_them(console, capsys) -> None:
    name = "St. [conceal]evil[/conceal] [/b] :bomb: \x1b[2J\x9b31m \u202egnp"
    console().print(f"site 1  {name}")
    table = theme.table(name, "site")
    table.add_row(name)
    console().print(table)
    shown = "".join(capsys.readouterr())
    assert shown.count("[conceal]evil[/conceal] [/b] :bomb:") == 3
    assert not set(shown) & set("\x1b\x9b\u202e")


def test_errors_do_not_reach_the_terminal_raw(capsys) -> None:
    assert cli._fail(UsageError("the coordinator refuses: \x1b]0;title\x07"), 2) == 2
    assert not set(capsys.readouterr().err) & set("\x1b\x07")


def test_logs_are_json_lines() -> None:
    record = logging.makeLogRecord({"name": "secagg.x", "levelname": "INFO", "msg": "round begins", "round": 3})
    line = json.loads(JsonFormatter().format(record))
    assert (line["event"], line["round"], line["level"]) == ("round begins", 3, "info")


def test_updates_are_not_in_what_people_see(play: Play, caplog) -> None:
    with caplog.at_level(logging.DEBUG, "secagg"):
        in_the_middle(play)
    shown = Page(play.engine, TOKEN).render() + caplog.text
    for site in (1, 2, 3, 4, 5):
        assert f"{known_update(site, 2)['a'][0]:.6f}" not in shown
        assert play.lab.key(site).secret.reveal().hex() not in shown
